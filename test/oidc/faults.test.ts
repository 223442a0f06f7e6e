import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Answer,
  type Credentials,
} from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** Each statement that a token request writes. */
const WRITES = {
  code: ["UPDATE ON oauth_authorizations", "INSERT ON oidc_artifacts", "INSERT ON refresh_tokens"],
  refresh: ["UPDATE ON refresh_tokens", "INSERT ON oidc_artifacts"],
} as const;

/** How a write fails: refused, refused when everything is committed, or with the connection that it came on. */
const WAYS = ["at once", "at the commit", "with its connection"] as const;
type Way = (typeof WAYS)[number];

/** A connection that is lost may be there again in a moment; what is refused is our mistake. */
const statusOf = (way: Way): number => (way === "with its connection" ? 503 : 500);

/** A database that refuses a write in the middle of a request: nothing is lost, and nothing is issued twice. */
describe("faults at POST /token (R-03)", () => {
  let server: TestServer;
  before(async () => {
    server = await aServer();
    await server.database.knex.raw(`
      CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'injected'; END $$;
      CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$`);
  });
  after(() => server.stop());

  const raw = (sql: string) => server.database.knex.raw(sql);

  /** Runs `request` while a write fails, and takes the fault away. */
  async function during(write: string, way: Way, request: () => Promise<Answer>): Promise<Answer> {
    const table = write.split(" ").at(-1);
    await raw(
      way === "at the commit"
        ? `CREATE CONSTRAINT TRIGGER fault AFTER ${write} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`
        : `CREATE TRIGGER fault BEFORE ${write} FOR EACH ROW EXECUTE FUNCTION ${way === "at once" ? "fail" : "die"}()`,
    );
    try {
      return await request();
    } finally {
      await raw(`DROP TRIGGER fault ON ${table}`);
    }
  }

  async function aCode(client: Credentials): Promise<string> {
    const user = await aUser(server);
    const app = new RelyingParty(server, client);
    const answer = await walk(server, new WebBrowser(server), app.authorization(), user);
    return response(answer)["code"] ?? "";
  }

  const rowsOf = async (table: string): Promise<number> =>
    (await raw(`SELECT count(*)::int AS n FROM ${table}`)).rows[0].n;

  it("these are all the writes there are", async () => {
    const seen = new Set<string>();
    const look = ({ sql }: { sql: string }) => {
      const [, verb, table] =
        /^\s*(insert|update|delete)(?: into| from)? "?([a-z_]+)/i.exec(sql) ?? [];
      if (verb !== undefined) seen.add(`${verb.toUpperCase()} ON ${table}`);
    };
    const client = await aClient(server);
    const app = new RelyingParty(server, client);
    const code = await aCode(client);
    const { knex } = server.deps;
    knex.on("query", look);
    const { refresh_token: token } = json(await app.redeem(code));
    assert.deepEqual([...seen].toSorted(), WRITES.code.toSorted());
    seen.clear();
    await app.token({ grant_type: "refresh_token", refresh_token: String(token) });
    assert.deepEqual([...seen].toSorted(), WRITES.refresh.toSorted());
    knex.removeListener("query", look);
  });

  for (const way of WAYS) {
    for (const write of WRITES.code) {
      it(`leave the code as it was when ${write} fails ${way}`, async () => {
        const client = await aClient(server);
        const app = new RelyingParty(server, client);
        const code = await aCode(client);
        const before = [await rowsOf("oidc_artifacts"), await rowsOf("refresh_tokens")];

        const failed = await during(write, way, () => app.redeem(code));
        assert.equal(failed.status, statusOf(way));
        assert.equal(
          errorOf(failed),
          failed.status === 503 ? "temporarily_unavailable" : "server_error",
        );
        assert.doesNotMatch(failed.text, /injected/);
        assert.deepEqual([await rowsOf("oidc_artifacts"), await rowsOf("refresh_tokens")], before);

        const answer = await app.redeem(code);
        assert.equal(answer.status, 200);
        const { access_token: accessToken } = json(answer);
        assert.equal((await app.userinfo(String(accessToken))).status, 200);
        assert.deepEqual(
          [await rowsOf("oidc_artifacts"), await rowsOf("refresh_tokens")],
          before.map((rows) => rows + 1),
        );
        assert.equal(errorOf(await app.redeem(code)), "invalid_grant");
      });
    }

    for (const write of WRITES.refresh) {
      it(`leave the refresh token as it was when ${write} fails ${way}`, async () => {
        const client = await aClient(server, { refresh_reuse_interval: 0 });
        const app = new RelyingParty(server, client);
        const { refresh_token: token } = json(await app.redeem(await aCode(client)));
        const refresh = () =>
          app.token({ grant_type: "refresh_token", refresh_token: String(token) });
        const before = await rowsOf("oidc_artifacts");

        const failed = await during(write, way, refresh);
        assert.equal(failed.status, statusOf(way));
        assert.equal(await rowsOf("oidc_artifacts"), before);

        const answer = await refresh();
        assert.equal(answer.status, 200);
        assert.notEqual(json(answer)["refresh_token"], token);
        assert.equal(await rowsOf("oidc_artifacts"), before + 1);
      });
    }
  }

  for (const way of WAYS) {
    it(`leave a client assertion as it was when INSERT ON replay_guards fails ${way}`, async () => {
      const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
      const client = await aClient(server, {
        token_endpoint_auth_method: "private_key_jwt",
        jwks: { keys: [{ ...(await exportJWK(publicKey)), alg: "ES256", use: "sig", kid: "k" }] },
      });
      const assertion = await new SignJWT({ jti: randomUUID() })
        .setProtectedHeader({ alg: "ES256", kid: "k" })
        .setIssuer(client.clientId)
        .setSubject(client.clientId)
        .setAudience(server.issuer)
        .setIssuedAt()
        .setExpirationTime("1m")
        .sign(privateKey);
      const app = new RelyingParty(server, client);
      const code = await aCode(client);
      const redeem = () =>
        app.redeem(
          code,
          {
            client_id: client.clientId,
            client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion: assertion,
          },
          {},
        );
      assert.equal((await during("INSERT ON replay_guards", way, redeem)).status, statusOf(way));
      // The very same request, as a library sends it again: what failed later does not spend the assertion either.
      assert.equal((await during("INSERT ON refresh_tokens", way, redeem)).status, statusOf(way));
      assert.equal((await redeem()).status, 200);
      assert.equal((await redeem()).status, 401);
    });

    it(`never answer a replay without writing it down, when INSERT ON audit_events fails ${way}`, async () => {
      const client = await aClient(server);
      const app = new RelyingParty(server, client);
      const code = await aCode(client);
      const { access_token: accessToken } = json(await app.redeem(code));
      const replays = `audit_events WHERE type = 'token.code_reused'`;
      const before = await rowsOf(replays);
      const failed = await during("INSERT ON audit_events", way, () => app.redeem(code));
      assert.equal(failed.status, statusOf(way));
      assert.equal(await rowsOf(replays), before);
      assert.equal(errorOf(await app.redeem(code)), "invalid_grant");
      assert.equal(await rowsOf(replays), before + 1);
      assert.equal((await app.userinfo(String(accessToken))).status, 401);
    });
  }

  it("never call a revocation done that was not (T-27)", async () => {
    const client = await aClient(server);
    const app = new RelyingParty(server, client);
    const { refresh_token: token } = json(await app.redeem(await aCode(client)));
    const revoke = () => app.post("/token/revocation", { token: String(token) });
    const failed = await during("UPDATE ON oauth_grants", "at the commit", revoke);
    assert.equal(failed.status, 500);
    const refreshed = await app.token({
      grant_type: "refresh_token",
      refresh_token: String(token),
    });
    assert.equal(refreshed.status, 200, "what was not revoked still works");
    const { refresh_token: next } = json(refreshed);
    assert.equal((await app.post("/token/revocation", { token: String(next) })).status, 200);
    const afterwards = await app.token({
      grant_type: "refresh_token",
      refresh_token: String(next),
    });
    assert.equal(errorOf(afterwards), "invalid_grant");
  });

  for (const way of WAYS)
    it(`never call a sign-out done that was not, ${way} (T-27)`, async () => {
      const client = await aClient(server, { first_party: true });
      const app = new RelyingParty(server, client);
      const browser = new WebBrowser(server);
      await walk(server, browser, app.authorization(), await aUser(server));
      const page = await browser.open("/session/end");
      const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? "";
      const signOut = () => browser.submit("/session/end/confirm", { xsrf, logout: "yes" });
      const failed = await during("UPDATE ON sessions", way, signOut);
      assert.equal(failed.status, statusOf(way));
      assert.ok(response(await browser.copy().open(app.authorization({ prompt: "none" })))["code"]);
      assert.equal((await signOut()).status, 303);
      const answer = await browser.open(app.authorization({ prompt: "none" }));
      assert.equal(response(answer)["error"], "login_required");
    });

  it("never send the cookie of a session that was not kept, nor take away the one before (T-12)", async () => {
    const app = new RelyingParty(server, await aClient(server));
    const browser = new WebBrowser(server);
    const user = await aUser(server);
    assert.ok(response(await walk(server, browser, app.authorization(), user))["code"]);
    const page = await walk(server, browser, app.authorization({ prompt: "login" }), {
      ...user,
      until: "password",
    });
    const { location = "" } = await browser.submit(page.url.href, { password: PASSWORD });
    // What is to be made anew now waits for a lock, and loses its connection there.
    await raw(`UPDATE oauth_grants SET revoked_at = now() WHERE user_id = '${user.id}'`);
    const held = browser.cookie("lintel_session");
    const other = await server.database.knex.transaction();
    await other.raw(`SELECT FROM sessions WHERE user_id = '${user.id}' FOR UPDATE`);
    const request = browser.open(location);
    const cut = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    while ((await raw(cut)).rowCount === 0) await delay(5);
    const failed = await request;
    await other.rollback();
    assert.equal(response(failed)["error"], "temporarily_unavailable");
    assert.deepEqual(failed.setCookies, []);
    assert.equal(browser.cookie("lintel_session"), held);
    assert.ok(response(await browser.open(location))["code"]);
  });
});
