import assert from "node:assert/strict";
import { mock } from "node:test";
import { ensurePartitions } from "../../src/database/partitions.ts";
import { disableUser, enableUser } from "../../src/users/users.ts";
import { aClient, aUser, PASSWORD, type TestServer } from "../support/server.ts";
import {
  aProductionServer,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Person,
} from "../support/rp.ts";

const SESSION = "__Host-lintel_session";
const DAY = 24 * 3600 * 1000;
/** Clocks may differ: what ends at a moment is refused that much later (15 s), and a second. */
const TOLERANCE = 16_000;

describe("sessions", () => {
  let server: TestServer;
  let app: RelyingParty;
  let thirdParty: RelyingParty;
  const answers: Answer[] = [];

  before(async () => {
    server = await aProductionServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
    thirdParty = new RelyingParty(server, await aClient(server));
  });
  after(async () => {
    await server?.stop();
  });

  async function signIn(browser: WebBrowser, person: Person): Promise<Answer> {
    const answer = await walk(server, browser, app.authorization(), person);
    response(answer);
    answers.push(answer);
    return answer;
  }

  const silently = async (browser: WebBrowser) =>
    response(await browser.open(app.authorization({ prompt: "none" })));
  const isSignedIn = async (browser: WebBrowser) => (await silently(browser))["code"] !== undefined;

  async function tokensOf(answer: Answer): Promise<Record<string, string>> {
    return json(await app.redeem(response(answer)["code"] ?? "")) as Record<string, string>;
  }
  const refresh = (token: string | undefined) =>
    app.token({ grant_type: "refresh_token", refresh_token: token });

  describe("T-28: how long one lasts", () => {
    /** Another day for the whole process, server and all. */
    async function travel(milliseconds: number): Promise<void> {
      mock.timers.setTime(Date.now() + milliseconds);
      await ensurePartitions(server.database.knex, new Date());
    }
    beforeEach(() => {
      mock.timers.enable({ apis: ["Date"], now: Date.now() });
    });
    afterEach(() => {
      mock.timers.reset();
    });

    it("14 days without use end it, where it is kept", async () => {
      const person = { ...(await aUser(server)), remember: true };
      const [used, unused] = [new WebBrowser(server), new WebBrowser(server)];
      await signIn(used, person);
      await signIn(unused, person);
      await travel(14 * DAY - 60_000);
      assert.equal(await isSignedIn(used), true);
      await travel(60_000 + TOLERANCE);
      assert.equal((await silently(unused))["error"], "login_required");
      assert.equal((await walk(server, unused, app.authorization())).page, "login");
      assert.equal((await unused.open("/")).text.includes("Ada Lovelace"), false);
      assert.equal(await isSignedIn(used), true, "the one that was used goes on");
    });

    it("30 days end it, however much it is used", async () => {
      const browser = new WebBrowser(server);
      await signIn(browser, { ...(await aUser(server)), remember: true });
      for (const days of [10, 10, 9.99]) {
        await travel(days * DAY);
        assert.equal(await isSignedIn(browser), true);
      }
      await travel(0.02 * DAY);
      assert.equal((await silently(browser))["error"], "login_required");
    });

    it("what was issued under it ends with it", async () => {
      const browser = new WebBrowser(server);
      const tokens = await tokensOf(await signIn(browser, await aUser(server)));
      await travel(14 * DAY + TOLERANCE);
      assert.equal(errorOf(await refresh(tokens["refresh_token"])), "invalid_grant");
    });

    it("it is the row that counts, not the cookie", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      await signIn(browser, { ...person, remember: true });
      await server.database
        .knex("sessions")
        .where({ user_id: person.id })
        .update({ expires_at: new Date(Date.now() - TOLERANCE) });
      assert.equal((await silently(browser))["error"], "login_required");
    });

    it("an interaction lasts 30 minutes, an access token ten", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      const tokens = await tokensOf(await signIn(browser, person));
      const visitor = new WebBrowser(server);
      const { location = "" } = await visitor.open(app.authorization());
      await travel(10 * 60_000 + TOLERANCE);
      assert.equal((await app.userinfo(tokens["access_token"] ?? "")).status, 401);
      await travel(20 * 60_000);
      const late = await visitor.submit(location, { username: person.email, password: PASSWORD });
      assert.equal(late.status, 410);
    });
  });

  describe("T-28: what it was read with", () => {
    it("a grant that was revoked gives nothing more: what comes next has another", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      const before = await tokensOf(await signIn(browser, person));
      const ofPerson = server.database.knex("oauth_grants").where({ user_id: person.id });
      await ofPerson.clone().update({ revoked_at: new Date(), tokens_valid_after: new Date() });
      const { code = "" } = await silently(browser);
      const after = json(await app.redeem(code)) as Record<string, string>;
      assert.equal((await app.userinfo(before["access_token"] ?? "")).status, 401);
      assert.equal((await app.userinfo(after["access_token"] ?? "")).status, 200);
      assert.equal((await ofPerson.clone().whereNull("revoked_at")).length, 1);
    });

    it("an identifier that no client can have is refused as any unknown one is", async () => {
      const browser = new WebBrowser(server);
      await signIn(browser, await aUser(server));
      for (const odd of ["\0", "a b", "ü", "x".repeat(600), "unknown"]) {
        const answer = await browser.open(app.authorization({ client_id: odd }));
        assert.ok(answer.status === 400 || answer.status === 401, `${odd}: ${answer.status}`);
      }
    });
  });

  describe("T-29: cookies", () => {
    it("a cookie planted before the sign-in is replaced, and the old value is nobody", async () => {
      const attacker = new WebBrowser(server);
      await attacker.open("/session/end");
      const planted = attacker.cookie(SESSION) ?? "";
      assert.notEqual(planted, "", "there is something to plant");
      const victim = attacker.copy();
      await signIn(victim, await aUser(server));
      assert.notEqual(victim.cookie(SESSION), planted);
      assert.equal(await isSignedIn(victim), true);
      assert.equal((await silently(attacker))["error"], "login_required");
      assert.ok(!(await attacker.open("/")).text.includes("Ada Lovelace"));
    });

    it("signing in again changes it, and at once the one before is nobody else’s", async () => {
      const browser = new WebBrowser(server);
      const person = await aUser(server);
      await signIn(browser, person);
      const before = browser.cookie(SESSION);
      response(await walk(server, browser, app.authorization({ prompt: "login" }), person));
      assert.notEqual(browser.cookie(SESSION), before);
    });

    it("the one before works for 30 s, for the tab that did not hear of it, and not longer", async () => {
      const browser = new WebBrowser(server);
      const person = await aUser(server);
      await signIn(browser, person);
      const old = browser.copy();
      response(await walk(server, browser, app.authorization({ prompt: "login" }), person));
      assert.equal(await isSignedIn(old.copy()), true);
      mock.timers.enable({ apis: ["Date"], now: Date.now() + 31_000 });
      try {
        assert.equal((await silently(old))["error"], "login_required");
        assert.equal(await isSignedIn(browser), true);
      } finally {
        mock.timers.reset();
      }
    });

    it("names without our prefix, as another host of the domain could set them, are not read", async () => {
      const browser = new WebBrowser(server);
      await signIn(browser, await aUser(server));
      const tossed = new WebBrowser(server);
      for (const name of [SESSION, `${SESSION}.sig`]) {
        const value = browser.cookie(name) ?? "";
        tossed.put(name.replace("__Host-", ""), value);
        tossed.put(name.replace("__Host-lintel", ""), value);
      }
      assert.equal((await silently(tossed))["error"], "login_required");
    });

    it("in the database there is only its hash", async () => {
      const browser = new WebBrowser(server);
      const person = await aUser(server);
      await signIn(browser, person);
      const rows = await server.database.knex("sessions").where({ user_id: person.id });
      assert.equal(rows.length, 1);
      const stored = JSON.stringify(rows, (_key, value: unknown) =>
        isBuffer(value) ? Buffer.from(value.data).toString("latin1") : value,
      );
      const value = browser.cookie(SESSION) ?? "";
      assert.ok(value.length > 30 && !stored.includes(value));
      assert.doesNotMatch(server.logged(), new RegExp(value));
    });

    it("every one that was ever set is on the list, with its attributes, and small", async () => {
      const browser = new WebBrowser(server);
      const person = await aUser(server);
      const seen: Answer[] = [...answers];
      seen.push(await browser.open("/?ui_lang=de"));
      const begun = await browser.open(thirdParty.authorization());
      seen.push(begun, await browser.open(`${begun.location}?ui_lang=de`));
      seen.push(await walk(server, browser, begun.location ?? "", { ...person, remember: true }));
      const page = await browser.open("/session/end");
      const [, xsrf = ""] = /name="xsrf" value="([^"]+)"/.exec(page.text) ?? [];
      seen.push(page, await browser.submit("/session/end/confirm", { xsrf, logout: "yes" }));
      for (const path of ["/", "/nowhere", "/jwks", "/auth", "/me", "/token", "/interaction/x"]) {
        seen.push(await send(server, { path, headers: { accept: "text/html" } }));
      }
      const allowed: Record<string, RegExp> = {
        [SESSION]: /^\/$/,
        "__Secure-lintel_interaction": /^\/interaction\/[\w-]+$/,
        "__Secure-lintel_resume": /^\/auth\/[\w-]+$/,
        // By which a browser is known again; its value stands for nobody.
        "__Host-lintel_browser": /^\/$/,
        // A language: nobody gains by setting it.
        lintel_lang: /^\/$/,
        lintel_lang_here: /^\/interaction\/[\w-]+$/,
      };
      const lines = seen.flatMap(({ setCookies }) => setCookies);
      assert.ok(lines.length > 10);
      for (const line of lines) {
        const [name = ""] = line.replace(/\.sig=/, "=").split("=");
        const path = /; path=([^;]+)/i.exec(line)?.[1] ?? "";
        assert.match(path, allowed[name] ?? /not on the list/, line);
        assert.match(line, /; secure(;|$)/i, line);
        assert.match(line, /; httponly(;|$)/i, line);
        assert.match(line, /; samesite=lax(;|$)/i, line);
        assert.doesNotMatch(line, /; domain=/i, line);
        assert.ok(line.length < 4_096);
      }
    });

    it("a session that is not to be remembered ends with the browser", async () => {
      const [kept, not] = [new WebBrowser(server), new WebBrowser(server)];
      const expiry = ({ setCookies }: Answer) =>
        setCookies.find((line) => line.startsWith(`${SESSION}=`))?.match(/expires=([^;]+)/)?.[1];
      assert.equal(expiry(await signIn(not, await aUser(server))), undefined);
      const until = expiry(await signIn(kept, { ...(await aUser(server)), remember: true }));
      assert.ok(Date.parse(until ?? "") - Date.now() <= 14 * DAY);
    });
  });

  describe("T-30: a user who is disabled", () => {
    const disable = (id: string) =>
      server.database.knex.transaction((trx) => disableUser(trx, id, {}, new Date()));
    const enable = (id: string) =>
      server.database.knex.transaction((trx) => enableUser(trx, id, {}, new Date()));

    it("loses everything at once: refresh, access, session, and stays nobody", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      const scope = "openid offline_access";
      const answer = await walk(
        server,
        browser,
        app.authorization({ scope, prompt: "consent" }),
        person,
      );
      const tokens = await tokensOf(answer);
      const unused = response(await browser.open(app.authorization()))["code"] ?? "";
      assert.equal((await app.userinfo(tokens["access_token"] ?? "")).status, 200);
      await disable(person.id);
      assert.equal(errorOf(await refresh(tokens["refresh_token"])), "invalid_grant");
      assert.equal((await app.userinfo(tokens["access_token"] ?? "")).status, 401);
      const known = await app.post("/token/introspection", { token: tokens["access_token"] });
      assert.deepEqual(json(known), { active: false });
      assert.equal(errorOf(await app.redeem(unused)), "invalid_grant");
      assert.equal((await silently(browser))["error"], "login_required");
      assert.equal((await walk(server, browser, app.authorization())).page, "login");
      assert.ok(!(await browser.open("/")).text.includes("Ada Lovelace"));
      const { knex } = server.database;
      for (const [table, ended] of Object.entries({
        sessions: "ended_at",
        oauth_grants: "revoked_at",
      })) {
        assert.deepEqual(
          await knex(table).where({ user_id: person.id }).whereNull(ended),
          [],
          table,
        );
      }
    });

    it("cannot sign in, and only who knows the password learns why", async () => {
      const person = await aUser(server);
      await disable(person.id);
      const attempt = async (password: string) => {
        const browser = new WebBrowser(server);
        const { location = "" } = await browser.open(app.authorization());
        return browser.submit(location, { username: person.email, password });
      };
      const wrong = await attempt("wrong wrong wrong");
      assert.equal(wrong.status, 401);
      assert.doesNotMatch(wrong.text, /disabled/i);
      const right = await attempt(PASSWORD);
      assert.equal(right.status, 403);
      assert.equal(right.location, undefined);
    });

    it("cannot finish in an open tab what was begun before: not on the consent page", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      const page = await walk(server, browser, thirdParty.authorization(), {
        ...person,
        until: "consent",
      });
      assert.equal(page.page, "consent");
      await disable(person.id);
      const answer = await browser.submit(page.url.href, { decision: "allow", scope: "openid" });
      const end = await walk(server, browser, answer.location ?? page.url.href);
      assert.match(end.page ?? "", /^(login|password)$/, "as if nobody had signed in");
      assert.equal(browser.cookie(SESSION), undefined);
      assert.deepEqual(
        await server.database.knex("oauth_consents").where({ user_id: person.id }),
        [],
      );
    });

    it("nor when the tab is opened again after the user was enabled", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      const page = await walk(server, browser, thirdParty.authorization(), {
        ...person,
        until: "consent",
      });
      await disable(person.id);
      await enable(person.id);
      const answer = await browser.submit(page.url.href, { decision: "allow", scope: "openid" });
      const end = await walk(server, browser, answer.location ?? page.url.href);
      assert.match(end.page ?? "", /^(login|password)$/);
    });

    it("nor between the password and the way back", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      const { location = "" } = await browser.open(app.authorization());
      const { location: back = "" } = await browser.submit(location, {
        username: person.email,
        password: PASSWORD,
      });
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await disable(person.id);
      const answer = await walk(server, browser, back);
      assert.doesNotMatch(answer.location ?? "", /code=/);
      await enable(person.id);
      assert.equal(
        (await silently(browser))["error"],
        "login_required",
        "no session outlives it either",
      );
    });

    it("is nobody even where only the row says so, and everything they have is still there", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      const tokens = await tokensOf(await signIn(browser, person));
      const status = (value: string) =>
        server.database.knex("users").where({ id: person.id }).update({ status: value });
      await status("deactivated");
      assert.equal((await silently(browser))["error"], "login_required");
      assert.equal((await app.userinfo(tokens["access_token"] ?? "")).status, 401);
      assert.equal(errorOf(await refresh(tokens["refresh_token"])), "invalid_grant");
    });

    it("is let in again with a new sign-in, and nothing old comes back", async () => {
      const person = await aUser(server);
      const browser = new WebBrowser(server);
      const tokens = await tokensOf(await signIn(browser, person));
      await disable(person.id);
      await enable(person.id);
      assert.equal((await silently(browser))["error"], "login_required");
      assert.equal(errorOf(await refresh(tokens["refresh_token"])), "invalid_grant");
      assert.equal((await app.userinfo(tokens["access_token"] ?? "")).status, 401);
      await signIn(browser, person);
      assert.equal(await isSignedIn(browser), true);
    });
  });
});

function isBuffer(value: unknown): value is { data: number[] } {
  return typeof value === "object" && value !== null && "type" in value && value.type === "Buffer";
}
