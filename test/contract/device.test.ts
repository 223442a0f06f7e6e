import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { DECOUPLED_GRANTS } from "../../src/issuers.ts";
import { sha256 } from "../../src/lib/secret.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { DecoupledAuthorization } from "../../src/models/decoupled-authorization.ts";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { Session } from "../../src/models/session.ts";
import { purge } from "../../src/jobs/purge.ts";
import { disableUser } from "../../src/users/users.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
  xsrfOf,
} from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

const GRANT = DECOUPLED_GRANTS.device;

/** What a device was told to show. */
interface Shown {
  readonly device_code: string;
  readonly user_code: string;
  readonly verification_uri: string;
  readonly verification_uri_complete: string;
  readonly expires_in: number;
  readonly interval: number;
}

/** OAuth 2.0 Device Authorization Grant (RFC 8628). */
describe("device authorization grant", () => {
  let server: TestServer;
  let tv: RelyingParty;
  let user: { id: string; email: string };

  before(async () => {
    server = await aServer();
    user = await aUser(server);
    tv = await aDevice();
  });
  after(() => server.stop());

  /** A public client without redirect URIs, as devices are. */
  async function aDevice(metadata: Record<string, unknown> = {}): Promise<RelyingParty> {
    const client = await aClient(server, {
      client_name: "Acme TV",
      application_type: "native",
      redirect_uris: [],
      post_logout_redirect_uris: [],
      grant_types: [GRANT, "refresh_token"],
      token_endpoint_auth_method: "none",
      ...metadata,
    });
    return new RelyingParty(server, client);
  }

  async function start(device = tv, fields: Fields = { scope: "openid email" }): Promise<Shown> {
    const answer = await device.post("/device/auth", fields);
    assert.equal(answer.status, 200, answer.text);
    return json(answer) as unknown as Shown;
  }

  const poll = (code: string, device = tv, fields: Fields = {}) =>
    device.token({ grant_type: GRANT, device_code: code, ...fields });

  /** Types a code on the page and sees what comes. */
  async function type(browser: WebBrowser, userCode: string): Promise<Answer> {
    const page = await browser.open("/device");
    assert.equal(page.page, "device-input");
    return browser.submit("/device", { xsrf: xsrfOf(page), user_code: userCode });
  }

  /** Goes on from the page that compares codes. */
  async function decide(
    browser: WebBrowser,
    page: Answer,
    decision: "confirm" | "abort",
    person: Parameters<typeof walk>[3] = user,
  ): Promise<Answer> {
    assert.equal(page.page, "device-confirm", page.text);
    const user_code = /name="user_code" value="([^"]+)"/.exec(page.text)?.[1];
    const next = await browser.submit("/device", {
      xsrf: xsrfOf(page),
      user_code,
      [decision]: "yes",
    });
    return next.location === undefined ? next : walk(server, browser, next.location, person);
  }

  async function approve(shown: Shown, browser = new WebBrowser(server)): Promise<Answer> {
    return decide(browser, await type(browser, shown.user_code), "confirm");
  }

  const rowOf = async (shown: Shown) => {
    const found = await DecoupledAuthorization.query(server.database.knex).findOne({
      codeHash: sha256(shown.device_code),
    });
    assert.ok(found);
    return found;
  };
  const expire = async (shown: Shown) => {
    const { id } = await rowOf(shown);
    const past = new Date(Date.now() - 1000);
    await DecoupledAuthorization.query(server.database.knex)
      .findById(id)
      .patch({ expiresAt: past });
  };

  describe("the device’s request", () => {
    it("is answered with device_code, user_code, verification_uri and expires_in (RFC 8628 §3.2)", async () => {
      const shown = await start();
      assert.ok(shown.device_code.length >= 32);
      assert.equal(shown.verification_uri, `${server.issuer}/device`);
      assert.equal(shown.expires_in, 600);
      assert.equal(shown.interval, 5);
    });

    it("is answered with JSON that nobody keeps (RFC 8628 §3.2)", async () => {
      const answer = await tv.post("/device/auth", { scope: "openid" });
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    });

    it("gets a user code of eight consonants in two groups, each time another (RFC 8628 §6.1)", async () => {
      const codes = await Promise.all([start(), start(), start()]);
      for (const { user_code: code } of codes)
        assert.match(code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
      assert.equal(new Set(codes.map(({ user_code: code }) => code)).size, 3);
    });

    it("gets a verification_uri_complete that carries the user code (RFC 8628 §3.2, §3.3.1)", async () => {
      const shown = await start();
      const url = new URL(shown.verification_uri_complete);
      assert.equal(url.searchParams.get("user_code"), shown.user_code);
    });

    it("needs no redirect URI and no secret (RFC 8628 §3.1)", async () => {
      const device = await aDevice({ grant_types: [GRANT] });
      assert.ok((await start(device)).device_code);
    });

    it("needs a client_id (RFC 8628 §3.1)", async () => {
      const answer = await send(server, { path: "/device/auth", fields: { scope: "openid" } });
      assert.equal(answer.status, 400);
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("is refused to clients that nobody knows (RFC 8628 §3.1)", async () => {
      const answer = await tv.post("/device/auth", { client_id: "nobody" });
      assert.equal(answer.status, 401);
      assert.equal(errorOf(answer), "invalid_client");
    });

    it("is refused to clients that did not register the grant (RFC 8628 §3.1)", async () => {
      const web = new RelyingParty(server, await aClient(server));
      const answer = await web.post("/device/auth", { scope: "openid" });
      assert.equal(answer.status, 400);
      assert.equal(errorOf(answer), "unauthorized_client");
    });

    it("needs the secret of a client that has one (RFC 8628 §3.1)", async () => {
      const box = await aDevice({
        token_endpoint_auth_method: "client_secret_basic",
        application_type: "web",
      });
      assert.ok((await start(box)).device_code);
      const { clientId } = box.credentials;
      const answer = await send(server, { path: "/device/auth", fields: { client_id: clientId } });
      assert.equal(errorOf(answer), "invalid_client");
    });

    it("is refused where it names a parameter twice (RFC 8628 §3.1)", async () => {
      const answer = await tv.post("/device/auth", { scope: ["openid", "email"] });
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("is refused for a scope that the client may not ask for (RFC 8628 §3.1)", async () => {
      const narrow = await aDevice({ scope: "openid" });
      const answer = await narrow.post("/device/auth", { scope: "openid offline_access" });
      assert.equal(errorOf(answer), "invalid_scope");
    });

    it("is advertised with its endpoint and its grant (RFC 8628 §4)", async () => {
      const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
      assert.equal(metadata["device_authorization_endpoint"], `${server.issuer}/device/auth`);
      assert.ok((metadata["grant_types_supported"] as string[]).includes(GRANT));
    });
  });

  describe("the device’s questions", () => {
    it("are answered with authorization_pending until the person decides (RFC 8628 §3.5)", async () => {
      const { device_code: code } = await start();
      const answer = await poll(code);
      assert.equal(answer.status, 400);
      assert.equal(errorOf(answer), "authorization_pending");
    });

    it("are answered with slow_down where they come too fast (RFC 8628 §3.5)", async () => {
      const { device_code: code } = await start();
      assert.equal(errorOf(await poll(code)), "authorization_pending");
      assert.equal(errorOf(await poll(code)), "slow_down");
    });

    it("must leave five seconds more after each slow_down, from then on (RFC 8628 §3.5)", async () => {
      const shown = await start();
      const { device_code: code } = shown;
      for (const expected of [5, 10, 15]) {
        await poll(code);
        assert.equal((await rowOf(shown)).pollInterval, expected);
      }
      const { id } = await rowOf(shown);
      const since = (seconds: number) =>
        DecoupledAuthorization.query(server.database.knex)
          .findById(id)
          .patch({ lastPolledAt: new Date(Date.now() - seconds * 1000) });
      await since(14);
      assert.equal(errorOf(await poll(code)), "slow_down");
      await since(21);
      assert.equal(errorOf(await poll(code)), "authorization_pending");
    });

    it("count on every node together: of parallel ones only the first is in time (RFC 8628 §3.5)", async () => {
      const other = await server.another();
      const there = new RelyingParty(
        { issuer: server.issuer, port: Number(new URL(other.origin).port) },
        tv.credentials,
      );
      const { device_code: code } = await start();
      const answers = await Promise.all([
        poll(code),
        poll(code, there),
        poll(code),
        poll(code, there),
      ]);
      const errors = answers.map(errorOf).sort();
      assert.deepEqual(errors, ["authorization_pending", "slow_down", "slow_down", "slow_down"]);
    });

    it("are answered with access_denied when the person said no (RFC 8628 §3.5)", async () => {
      const shown = await start();
      const browser = new WebBrowser(server);
      const end = await decide(browser, await type(browser, shown.user_code), "abort");
      assert.match(end.text, /data-outcome="denied"/);
      assert.equal(errorOf(await poll(shown.device_code)), "access_denied");
    });

    it("are answered with access_denied when the person refuses consent (RFC 8628 §3.5)", async () => {
      const shown = await start();
      const browser = new WebBrowser(server);
      const page = await decide(browser, await type(browser, shown.user_code), "confirm", {
        ...user,
        until: "consent",
      });
      const back = await browser.submit(page.url.href, { decision: "deny" });
      const end = await walk(server, browser, back.location ?? "");
      assert.match(end.text, /data-outcome="denied"/);
      assert.equal(errorOf(await poll(shown.device_code)), "access_denied");
    });

    it("are answered with expired_token when the code has expired (RFC 8628 §3.5)", async () => {
      const shown = await start();
      await expire(shown);
      assert.equal(errorOf(await poll(shown.device_code)), "expired_token");
    });

    it("are answered with tokens when the person said yes (RFC 8628 §3.5)", async () => {
      const shown = await start();
      assert.match((await approve(shown)).text, /data-outcome="approved"/);
      const answer = await poll(shown.device_code);
      assert.equal(answer.status, 200, answer.text);
      const tokens = json(answer);
      assert.equal(tokens["token_type"], "Bearer");
      assert.equal(decodeJwt(String(tokens["id_token"])).sub, user.id);
      assert.equal((await tv.userinfo(String(tokens["access_token"]))).status, 200);
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    });

    it("are never told to slow down once there is an answer (RFC 8628 §3.5)", async () => {
      const shown = await start();
      await poll(shown.device_code);
      await approve(shown);
      assert.equal((await poll(shown.device_code)).status, 200);
    });

    it("need the device_code (RFC 8628 §3.4)", async () => {
      assert.equal(errorOf(await tv.token({ grant_type: GRANT })), "invalid_request");
    });

    it("are answered with invalid_grant for a code that nobody has (RFC 8628 §3.5)", async () => {
      assert.equal(errorOf(await poll("there-is-no-such-code")), "invalid_grant");
    });

    it("give refresh tokens to a client that registered them (RFC 8628 §3.5)", async () => {
      const shown = await start(tv, { scope: "openid offline_access" });
      await approve(shown);
      const tokens = json(await poll(shown.device_code));
      const again = await tv.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      });
      assert.equal(again.status, 200, again.text);
    });

    it("give no more scopes than were asked for and allowed (RFC 8628 §3.1, T-18)", async () => {
      const shown = await start(tv, { scope: "openid email" });
      const browser = new WebBrowser(server);
      const page = await type(browser, shown.user_code);
      await decide(browser, page, "confirm", { ...user, scopes: [] });
      const tokens = json(await poll(shown.device_code, tv, { scope: "openid email profile" }));
      assert.equal(tokens["scope"], "openid");
    });
  });

  describe("the page", () => {
    it("takes the code in small letters, with spaces or without a dash (RFC 8628 §6.1)", async () => {
      const { user_code: code } = await start();
      const browser = new WebBrowser(server);
      for (const typed of [
        code.toLowerCase(),
        code.replace("-", ""),
        ` ${code.replace("-", " ")} `,
        code.split("").join("."),
      ])
        assert.equal((await type(browser, typed)).page, "device-confirm", typed);
    });

    it("shows the code, who asks, for what, and a warning before anything is decided (RFC 8628 §3.3, §5.4)", async () => {
      const shown = await start();
      const page = await type(new WebBrowser(server), shown.user_code.toLowerCase());
      assert.match(page.text, new RegExp(`id="user-code"[^>]*>${shown.user_code}<`));
      assert.match(page.text, /Acme TV/);
      assert.match(page.text, /id="device-warning"/);
      assert.match(page.text, /See your email address/);
      assert.equal((await rowOf(shown)).status, "pending");
    });

    it("shows the code for comparison and asks for a click though the address carries it (RFC 8628 §3.3.1)", async () => {
      const shown = await start();
      const browser = new WebBrowser(server);
      const opened = await browser.open(shown.verification_uri_complete);
      const carried = /name="user_code" value="([^"]+)"/.exec(opened.text)?.[1];
      const page = await browser.submit("/device", {
        xsrf: xsrfOf(opened),
        user_code: carried,
      });
      assert.equal(page.page, "device-confirm");
      assert.equal((await rowOf(shown)).status, "pending");
    });

    it("asks somebody who is signed in and has consented before, too (RFC 8628 §3.3.1, §5.4)", async () => {
      const browser = new WebBrowser(server);
      const device = await aDevice({ first_party: true });
      await approve(await start(device), browser);
      const second = await start(device);
      const page = await type(browser, second.user_code);
      assert.equal(page.page, "device-confirm");
      assert.match(page.text, /id="who">Ada Lovelace</);
      assert.equal((await decide(browser, page, "confirm")).page, "device-done");
    });

    it("says that it does not know a code, and works on from there (RFC 8628 §3.3)", async () => {
      const browser = new WebBrowser(server);
      const shown = await start();
      const wrong = await type(browser, "BBBB-BBBB");
      assert.equal(wrong.status, 422);
      assert.equal(wrong.page, "device-input");
      const right = await browser.submit("/device", {
        xsrf: xsrfOf(wrong),
        user_code: shown.user_code,
      });
      assert.equal(right.page, "device-confirm");
    });

    it("tells whoever comes without a session what to do, at each of its addresses", async () => {
      const browser = new WebBrowser(server);
      const lost = await browser.open("/device/no-such-decision");
      const sent = await browser.submit("/device", { xsrf: "", user_code: "BBBB-BBBB" });
      assert.deepEqual([lost.status, lost.page], [400, "stale"]);
      assert.deepEqual([sent.status, sent.page], [400, "error"]);
    });

    it("says that a code has expired (RFC 8628 §3.3)", async () => {
      const shown = await start();
      await expire(shown);
      const page = await type(new WebBrowser(server), shown.user_code);
      assert.equal(page.status, 422);
      assert.match(page.text, /has expired/);
    });

    it("says that a code was used, whatever was decided (RFC 8628 §3.3)", async () => {
      const shown = await start();
      await approve(shown);
      const page = await type(new WebBrowser(server), shown.user_code);
      assert.match(page.text, /was already used/);
      assert.equal(page.page, "device-input");
    });

    it("says that there was no code", async () => {
      assert.match((await type(new WebBrowser(server), "")).text, /Type the code that your device/);
    });
  });

  describe("attacks", () => {
    it("a code is spent once: the second time ends what the first one got (RFC 8628 §3.5, T-17)", async () => {
      const shown = await start();
      await approve(shown);
      const tokens = json(await poll(shown.device_code));
      assert.equal(errorOf(await poll(shown.device_code)), "invalid_grant");
      assert.equal((await tv.userinfo(String(tokens["access_token"]))).status, 401);
    });

    it("of parallel questions for one decision at most one gets tokens (T-17)", async () => {
      const shown = await start();
      await approve(shown);
      const answers = await Promise.all(Array.from({ length: 5 }, () => poll(shown.device_code)));
      assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    });

    it("of parallel decisions in two browsers one counts (T-17)", async () => {
      const shown = await start();
      const browsers = [new WebBrowser(server), new WebBrowser(server)];
      const pages = await Promise.all(browsers.map((each) => type(each, shown.user_code)));
      const next = await Promise.all(
        browsers.map((browser, index) => {
          const page = pages[index] as Answer;
          return browser.submit("/device", {
            xsrf: xsrfOf(page),
            user_code: shown.user_code,
            confirm: "yes",
          });
        }),
      );
      assert.deepEqual(
        next.map(({ status }) => status).sort((a, b) => a - b),
        [303, 422],
      );
    });

    it("another client’s code is of no use, and asking does not slow its owner down (RFC 8628 §5.2)", async () => {
      const thief = await aDevice();
      const shown = await start();
      assert.equal(errorOf(await poll(shown.device_code, thief)), "invalid_grant");
      assert.equal(errorOf(await poll(shown.device_code)), "authorization_pending");
      await approve(shown);
      assert.equal(errorOf(await poll(shown.device_code, thief)), "invalid_grant");
      assert.equal((await poll(shown.device_code)).status, 200);
    });

    it("a user code is not a device code (RFC 8628 §5.1)", async () => {
      const shown = await start();
      await approve(shown);
      for (const code of [shown.user_code, shown.user_code.replace("-", "")])
        assert.equal(errorOf(await poll(code)), "invalid_grant");
    });

    it("guessing user codes is stopped after five, and says when to come back (RFC 8628 §5.1)", async () => {
      const browser = new WebBrowser(server);
      for (let tries = 0; tries < 5; tries += 1)
        assert.equal((await type(browser, `BBBB-BBB${"BCDFG"[tries]}`)).status, 422);
      const stopped = await type(browser, "BBBB-BBBH");
      assert.equal(stopped.status, 429);
      assert.ok(Number(stopped.headers["retry-after"]) > 0);
      const { user_code: right } = await start();
      assert.equal((await type(browser, right)).status, 429, "not even the right one is looked up");
      await LoginThrottle.query(server.database.knex).delete();
    });

    it("a new session for each guess is no way around: the network is counted too (RFC 8628 §5.1)", async () => {
      let last: Answer | undefined;
      for (let tries = 0; tries < 51; tries += 1)
        last = await type(new WebBrowser(server), "BBBB-BBBB");
      assert.equal(last?.status, 429);
      await LoginThrottle.query(server.database.knex).delete();
    });

    it("typing right codes in between does not forgive wrong ones (RFC 8628 §5.1)", async () => {
      const browser = new WebBrowser(server);
      const { user_code: own } = await start();
      let last: Answer | undefined;
      for (let tries = 0; tries < 6; tries += 1) {
        if (tries < 5) assert.equal((await type(browser, own)).status, 200);
        last = await type(browser, "BBBB-BBBB");
      }
      assert.equal(last?.status, 429);
      await LoginThrottle.query(server.database.knex).delete();
    });

    it("another site cannot send the form (RFC 8628 §5.4, CSRF)", async () => {
      const shown = await start();
      const browser = new WebBrowser(server);
      const page = await type(browser, shown.user_code);
      const fields = { xsrf: xsrfOf(page), user_code: shown.user_code, confirm: "yes" };
      const headers = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
      assert.equal((await browser.submit("/device", fields, headers)).status, 403);
      assert.equal((await rowOf(shown)).status, "pending");
    });

    it("a form without the secret of this session decides nothing (RFC 8628 §5.4, CSRF)", async () => {
      const shown = await start();
      const [browser, attacker] = [new WebBrowser(server), new WebBrowser(server)];
      const theirs = await type(attacker, shown.user_code);
      await type(browser, shown.user_code);
      for (const xsrf of ["", "x", xsrfOf(theirs)]) {
        const fields = { xsrf, user_code: shown.user_code, confirm: "yes" };
        assert.equal((await browser.submit("/device", fields)).status, 400);
      }
      assert.equal((await rowOf(shown)).status, "pending");
    });

    it("the page that compares codes cannot be skipped (RFC 8628 §3.3.1, §5.4)", async () => {
      const shown = await start();
      const browser = new WebBrowser(server);
      const page = await browser.open("/device");
      const fields = { xsrf: xsrfOf(page), user_code: shown.user_code, confirm: "yes" };
      const answer = await browser.submit("/device", fields);
      assert.equal(answer.page, "device-input");
      assert.equal((await rowOf(shown)).status, "pending");
    });

    it("a browser that saw one code’s page cannot decide about another (T-17)", async () => {
      const [own, other] = [await start(), await start()];
      const browser = new WebBrowser(server);
      const page = await type(browser, own.user_code);
      for (const decision of ["confirm", "abort"]) {
        const fields = { xsrf: xsrfOf(page), user_code: other.user_code, [decision]: "yes" };
        await browser.submit("/device", fields);
      }
      assert.equal((await rowOf(other)).status, "pending");
    });

    it("another browser cannot go on with a sign-in that this one began (T-17)", async () => {
      const shown = await start();
      const browser = new WebBrowser(server);
      const page = await decide(browser, await type(browser, shown.user_code), "confirm", {
        ...user,
        until: "login",
      });
      const thief = browser.copy();
      for (const [key, { name }] of thief.jar) if (name === "lintel_browser") thief.jar.delete(key);
      assert.equal((await thief.open(page.url.href)).page, "stale");
    });

    it("the page cannot be framed (RFC 8628 §5.4)", async () => {
      const page = await new WebBrowser(server).open("/device");
      assert.match(String(page.headers["content-security-policy"]), /frame-ancestors 'none'/);
    });

    it("neither code is stored in a form that is good for anything (RFC 8628 §5.2, T-64)", async () => {
      const shown = await start();
      const { rows } = await server.database.knex.raw(
        "SELECT to_jsonb(t)::text AS row FROM decoupled_authorizations t UNION ALL SELECT to_jsonb(s)::text FROM sessions s",
      );
      await type(new WebBrowser(server), shown.user_code);
      for (const { row } of rows as { row: string }[])
        for (const code of [shown.device_code, shown.user_code, shown.user_code.replace("-", "")]) {
          assert.ok(!row.includes(code));
          assert.ok(!row.includes(Buffer.from(code).toString("hex")));
        }
    });
  });

  describe("afterwards", () => {
    it("who approved and who refused is in the audit, without the code", async () => {
      const { knex } = server.database;
      const [yes, no] = [await start(), await start()];
      await approve(yes);
      const browser = new WebBrowser(server);
      await decide(browser, await type(browser, no.user_code), "abort");
      const about = async (shown: Shown) =>
        AuditEvent.query(knex)
          .where({ targetId: (await rowOf(shown)).id })
          .first();
      const [approved, denied] = [await about(yes), await about(no)];
      assert.equal(approved?.type, "device.approved");
      assert.equal(approved?.userId, user.id);
      assert.equal(denied?.type, "device.denied");
      assert.ok(!JSON.stringify([approved, denied]).includes(yes.user_code));
    });

    it("a decision that nobody fetched is void when the grant is revoked", async () => {
      const device = await aDevice({ first_party: true });
      const [first, second] = [await start(device), await start(device)];
      const browser = new WebBrowser(server);
      await approve(first, browser);
      const tokens = json(await poll(first.device_code, device));
      await approve(second, browser);
      await device.post("/token/revocation", { token: String(tokens["access_token"]) });
      assert.equal(errorOf(await poll(second.device_code, device)), "invalid_grant");
    });

    it("a decision that nobody fetched is void when the user is disabled (T-30)", async () => {
      const other = await aUser(server);
      const shown = await start();
      const browser = new WebBrowser(server);
      await decide(browser, await type(browser, shown.user_code), "confirm", other);
      await server.database.knex.transaction((trx) => disableUser(trx, other.id, {}, new Date()));
      assert.equal(errorOf(await poll(shown.device_code)), "invalid_grant");
    });

    it("tokens without offline access end with the session that approved", async () => {
      const shown = await start();
      const browser = new WebBrowser(server);
      await approve(shown, browser);
      const tokens = json(await poll(shown.device_code));
      const page = await browser.open("/session/end");
      await browser.submit("/session/end/confirm", { xsrf: xsrfOf(page), logout: "yes" });
      assert.equal((await tv.userinfo(String(tokens["access_token"]))).status, 401);
    });

    it("what has ended is kept for a day, so that it can be explained, and then purged", async () => {
      const { knex } = server.database;
      const shown = await start();
      const { id, expiresAt } = await rowOf(shown);
      const at = (hours: number) => new Date(expiresAt.getTime() + hours * 3_600_000);
      await purge(knex, at(23));
      assert.ok(await DecoupledAuthorization.query(knex).findById(id));
      await purge(knex, at(25));
      assert.equal(await DecoupledAuthorization.query(knex).findById(id), undefined);
    });

    it("somebody else may sign in on the way, and the device is theirs", async () => {
      const device = await aDevice({ first_party: true });
      const browser = new WebBrowser(server);
      await approve(await start(device), browser);
      const shown = await start(device, { scope: "openid", max_age: "60" });
      await Session.query(server.database.knex)
        .where({ userId: user.id })
        .patch({ loggedInAt: new Date(Date.now() - 3_600_000) });
      const other = await aUser(server);
      const asked = await decide(browser, await type(browser, shown.user_code), "confirm", {
        ...user,
        until: "password",
      });
      const here = asked.url.href.replace(/\/password$/, "");
      const named = await browser.submit(here, { username: other.email, password: PASSWORD });
      const end = await walk(server, browser, named.location ?? "", other);
      assert.match(end.text, /data-outcome="approved"/);
      const tokens = json(await poll(shown.device_code, device));
      assert.equal(decodeJwt(String(tokens["id_token"])).sub, other.id);
    });

    it("the browser’s session is an ordinary one: other apps need no password", async () => {
      const shown = await start();
      const browser = new WebBrowser(server);
      await approve(shown, browser);
      const web = new RelyingParty(server, await aClient(server, { first_party: true }));
      assert.ok(response(await browser.open(web.authorization()))["code"]);
    });
  });
});
