import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { LogoutNotice } from "../../src/models/logout-notice.ts";
import { Session } from "../../src/models/session.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  xsrfOf,
} from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

describe("prompt=select_account", () => {
  let server: TestServer;
  let app: RelyingParty;
  let ada: { id: string; email: string };
  let grace: { id: string; email: string };
  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
    ada = await aUser(server, { displayName: "Ada Lovelace" });
    grace = await aUser(server, { displayName: "Grace Hopper" });
  });
  after(() => server.stop());

  async function signedIn(): Promise<WebBrowser> {
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), ada);
    return browser;
  }
  const choosing = (changes = {}) => app.authorization({ prompt: "select_account", ...changes });
  const open = (browser: WebBrowser, path = choosing()) => walk(server, browser, path);
  async function choose(browser: WebBrowser, account: string, path = choosing()) {
    const page = await open(browser, path);
    assert.equal(page.page, "accounts");
    return browser.submit(page.url.href, { account });
  }
  async function subjectOf(answer: Awaited<ReturnType<typeof open>>): Promise<unknown> {
    const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
    return decodeJwt(String(tokens["id_token"])).sub;
  }

  it("asks whoever is signed in which account to use (OIDC Core §3.1.2.1)", async () => {
    const page = await open(await signedIn());
    assert.equal(page.page, "accounts");
    assert.match(page.text, /Ada Lovelace/);
  });

  it("goes on as the account that was chosen, without a password (OIDC Core §3.1.2.1)", async () => {
    const browser = await signedIn();
    const chosen = await choose(browser, "current");
    const answer = await walk(server, browser, chosen.location ?? "");
    assert.equal(await subjectOf(answer), ada.id);
  });

  it("lets somebody else sign in instead (OIDC Core §3.1.2.1)", async () => {
    const browser = await signedIn();
    const chosen = await choose(browser, "another");
    const answer = await walk(server, browser, chosen.location ?? "", grace);
    assert.equal(await subjectOf(answer), grace.id);
  });

  describe("with several people signed in on one browser", () => {
    /** Ada, and then Grace, whose session is in use. */
    async function both(): Promise<WebBrowser> {
      const browser = await signedIn();
      const chosen = await choose(browser, "another");
      await walk(server, browser, chosen.location ?? "", grace);
      return browser;
    }
    const valueOf = (html: string, name: string) =>
      new RegExp(`value="([^"]+)" type="submit"><strong><bdi>${name}`).exec(html)?.[1] ?? "";

    it("lists them all, and goes on as any of them without a password (OIDC Core §3.1.2.1)", async () => {
      const browser = await both();
      const page = await open(browser);
      assert.match(page.text, /Grace Hopper/);
      const chosen = await browser.submit(page.url.href, {
        account: valueOf(page.text, "Ada Lovelace"),
      });
      const answer = await walk(server, browser, chosen.location ?? "");
      assert.equal(await subjectOf(answer), ada.id);
      assert.equal(await subjectOf(await open(browser, app.authorization())), ada.id);
      const again = await open(browser);
      assert.equal(valueOf(again.text, "Ada Lovelace"), "current");
      assert.equal(valueOf(again.text, "Grace Hopper"), grace.id);
    });

    it("keeps each session with what began in it: tokens of both go on", async () => {
      const browser = await signedIn();
      const { code = "" } = response(await open(browser, app.authorization()));
      const before = String(json(await app.redeem(code))["access_token"]);
      const chosen = await choose(browser, "another");
      await walk(server, browser, chosen.location ?? "", grace);
      assert.equal((await app.userinfo(before)).status, 200);
    });

    it("asks which where nobody’s session is in use any more", async () => {
      const browser = await both();
      browser.jar.delete("/ lintel_session");
      const page = await open(browser, app.authorization());
      assert.equal(page.page, "accounts");
      const chosen = await browser.submit(page.url.href, { account: ada.id });
      const answer = await walk(server, browser, chosen.location ?? "");
      assert.equal(await subjectOf(answer), ada.id);
    });

    it("asks for the password of whoever was chosen where the client wants it (OIDC Core §3.1.2.1)", async () => {
      for (const changes of [{ prompt: "select_account login" }, { max_age: "0" }]) {
        const browser = await both();
        const page = await open(browser, choosing(changes));
        const chosen = await browser.submit(page.url.href, { account: ada.id });
        assert.equal((await walk(server, browser, chosen.location ?? "")).page, "password");
      }
    });

    it("lists nobody whose session was ended, who was disabled, or who is signed in elsewhere (T-30)", async () => {
      const browser = await both();
      const other = await aUser(server);
      const values = [other.id, ada.id];
      const page = await open(browser);
      await Session.query(server.database.knex)
        .where({ userId: ada.id })
        .patch({ endedAt: new Date() });
      for (const account of values)
        assert.equal((await browser.submit(page.url.href, { account })).status, 400);
      assert.ok(!(await open(browser)).text.includes("Ada Lovelace"));
    });

    it("takes no cookie that it did not make (T-29)", async () => {
      const browser = await both();
      const stranger = new WebBrowser(server);
      const stolen = browser.cookie("lintel_session.1") ?? "";
      stranger.put("lintel_session.1", stolen);
      stranger.put("lintel_session.1.sig", "A".repeat(27));
      assert.equal((await open(stranger, app.authorization())).page, "login");
    });

    it("says in the audit who took whose place (ASVS 16.3.1)", async () => {
      const browser = await both();
      const chosen = await choose(browser, ada.id);
      assert.equal(chosen.status, 303);
      const [event] = await AuditEvent.query(server.database.knex)
        .where({ type: "session.switched", userId: ada.id })
        .orderBy("id", "desc");
      const session = await Session.query(server.database.knex).findById(event?.sessionUid ?? "");
      assert.equal(session?.userId, ada.id);
    });

    describe("signing out", () => {
      const live = (userId: string) =>
        Session.liveOf(server.database.knex, userId, new Date()).resultSize();
      async function signOut(browser: WebBrowser, logout: string, xsrf?: string) {
        const page = await browser.open("/session/end");
        const answer = await browser.submit("/session/end/confirm", {
          xsrf: xsrf ?? xsrfOf(page),
          logout,
        });
        return { page, answer };
      }
      beforeEach(() =>
        Session.query(server.database.knex)
          .patch({ endedAt: new Date() })
          .whereIn("userId", [ada.id, grace.id]),
      );

      it("says who else is signed in on this browser (ux.md P16)", async () => {
        const browser = await both();
        const { page, answer } = await signOut(browser, "yes");
        assert.match(page.text, /id="others">\s*<li><bdi>Ada Lovelace</);
        const done = await browser.open(answer.location ?? "");
        assert.match(done.text, /Ada Lovelace/);
        assert.deepEqual([await live(ada.id), await live(grace.id)], [1, 0]);
      });

      it("says nothing of others where there are none", async () => {
        const { page } = await signOut(await signedIn(), "yes");
        assert.doesNotMatch(page.text, /id="others"|id="logout-everybody"/);
      });

      it("everybody ends the sessions of all, with a word to their clients (OIDC Back-Channel Logout §2)", async () => {
        const client = { first_party: true, backchannel_logout_uri: "https://rp.example/logout" };
        const told = new RelyingParty(server, await aClient(server, client));
        const browser = new WebBrowser(server);
        await walk(server, browser, told.authorization(), ada);
        const chosen = await choose(browser, "another");
        await walk(server, browser, chosen.location ?? "", grace);
        const { answer } = await signOut(browser, "everybody");
        assert.equal(answer.status, 303);
        assert.deepEqual([await live(ada.id), await live(grace.id)], [0, 0]);
        const notices = await LogoutNotice.query(server.database.knex).where({ userId: ada.id });
        assert.equal(notices.length, 1);
        assert.equal(browser.cookie("lintel_session.1"), undefined);
        const events = await AuditEvent.query(server.database.knex)
          .where({ type: "session.revoked", userId: ada.id })
          .orderBy("id", "desc");
        assert.equal(events[0]?.actorId, grace.id);
        assert.deepEqual(events[0]?.details, { reason: "logout", count: 1 });
      });

      it("everybody leaves what goes on without anybody: offline access (OIDC Core §11)", async () => {
        const browser = new WebBrowser(server);
        const path = app.authorization({ scope: "openid offline_access", prompt: "consent" });
        const { code = "" } = response(await walk(server, browser, path, ada));
        const tokens = json(await app.redeem(code));
        const chosen = await choose(browser, "another");
        await walk(server, browser, chosen.location ?? "", grace);
        await signOut(browser, "everybody");
        const refreshed = await app.token({
          grant_type: "refresh_token",
          refresh_token: String(tokens["refresh_token"]),
        });
        assert.equal(refreshed.status, 200, refreshed.text);
      });

      it("everybody is for nobody who was not shown the page (T-15, T-40)", async () => {
        const browser = await both();
        await signOut(browser, "everybody", "x".repeat(48));
        assert.deepEqual([await live(ada.id), await live(grace.id)], [1, 1]);
      });
    });

    it("keeps four beside the one in use, and ends the session of one that makes room", async () => {
      const browser = await both();
      for (let more = 0; more < 4; more += 1) {
        const chosen = await choose(browser, "another");
        await walk(server, browser, chosen.location ?? "", await aUser(server));
      }
      const page = await open(browser);
      assert.equal(page.text.match(/name="account" value/g)?.length, 6);
      const { rows } = await server.database.knex.raw(
        "SELECT count(*)::int AS n FROM sessions WHERE end_reason = 'superseded'",
      );
      assert.equal(rows[0].n, 1);
    });

    it("tells the clients of the one that makes room (OIDC Back-Channel Logout §2)", async () => {
      const told = new RelyingParty(
        server,
        await aClient(server, {
          first_party: true,
          backchannel_logout_uri: "https://rp.example/logout",
        }),
      );
      const first = await aUser(server);
      const browser = new WebBrowser(server);
      await walk(server, browser, told.authorization(), first);
      const notices = () =>
        LogoutNotice.query(server.database.knex).where({ userId: first.id }).resultSize();
      for (let more = 0; more < 4; more += 1) {
        const chosen = await choose(browser, "another");
        await walk(server, browser, chosen.location ?? "", await aUser(server));
      }
      assert.equal(await notices(), 0);
      const chosen = await choose(browser, "another");
      await walk(server, browser, chosen.location ?? "", await aUser(server));
      assert.equal(await notices(), 1);
    });
  });

  it("asks for the password of the account where prompt has login as well (OIDC Core §3.1.2.1)", async () => {
    const browser = await signedIn();
    const path = choosing({ prompt: "select_account login" });
    const chosen = await choose(browser, "current", path);
    const next = await walk(server, browser, chosen.location ?? "");
    assert.equal(next.page, "password");
  });

  it("is the sign-in page where nobody is signed in (OIDC Core §3.1.2.1)", async () => {
    assert.equal((await open(new WebBrowser(server))).page, "login");
  });

  it("signs in whoever was not signed in, in one go (OIDC Core §3.1.2.1)", async () => {
    const answer = await walk(server, new WebBrowser(server), choosing(), ada);
    assert.equal(await subjectOf(answer), ada.id);
  });

  it("does not go with prompt=none (OIDC Core §3.1.2.1)", async () => {
    const answer = await open(await signedIn(), choosing({ prompt: "none select_account" }));
    assert.equal(errorOf(answer), "invalid_request");
  });

  it("is in discovery (OIDC Prompt Create §5)", async () => {
    const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    const values = metadata["prompt_values_supported"];
    assert.deepEqual((values as string[]).toSorted(), [
      "consent",
      "create",
      "login",
      "none",
      "select_account",
    ]);
  });

  it("takes no answer but its own (T-51)", async () => {
    const browser = await signedIn();
    for (const account of [grace.id, "x", ""])
      assert.equal((await choose(browser, account)).status, 400);
  });

  it("cannot be skipped by going to another step (T-14)", async () => {
    const browser = await signedIn();
    const page = await open(browser);
    for (const step of ["", "/password", "/consent"]) {
      const here = page.url.href.replace("/accounts", step);
      assert.equal((await browser.open(here)).location, page.url.href);
    }
  });
});
