import assert from "node:assert/strict";
import { json, RelyingParty, response, send, VERIFIER, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** What a thief of the database or of the log gets: nothing that signs anybody in. */
describe("at rest", () => {
  let server: TestServer;
  const secrets = new Map<string, string>();
  let email: string;
  let app: RelyingParty;

  before(async () => {
    server = await aServer();
    const client = await aClient(server);
    app = new RelyingParty(server, client);
    const user = await aUser(server, { email: "somebody.in.particular@example.com" });
    ({ email } = user);
    const browser = new WebBrowser(server);
    const keep = (name: string, value: unknown) => secrets.set(name, String(value));
    keep("password", PASSWORD);
    keep("client secret", client.clientSecret);
    keep("code verifier", VERIFIER);

    await walk(server, new WebBrowser(server), app.authorization(), {
      email,
      password: "a wrong one",
    });
    const page = await walk(
      server,
      browser,
      app.authorization({
        scope: "openid email offline_access",
        prompt: "consent",
        login_hint: "a.hint@example.com",
        state: "the-state-of-the-app",
      }),
      { email, until: "consent" },
    );
    keep("interaction", page.url.pathname.split("/")[2]);
    const answer = await walk(server, browser, page.url.href, { email });
    keep("code", response(answer)["code"]);
    keep("session cookie", browser.cookie("lintel_session"));
    const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
    for (const name of ["access_token", "refresh_token", "id_token"]) keep(name, tokens[name]);
    const refreshed = json(
      await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      }),
    );
    keep("second refresh token", refreshed["refresh_token"]);
    await app.userinfo(String(refreshed["access_token"]));
    const pushed = json(await app.post("/request", app.parameters()));
    keep("pushed request", String(pushed["request_uri"]).split(":").at(-1));
    await send(server, { path: `/nowhere?token=${secrets.get("access_token")}` });
  });
  after(() => server.stop());

  /** Every row of every table, as text. */
  async function dump(): Promise<{ table: string; row: string }[]> {
    const { knex } = server.database;
    const { rows: tables }: { rows: { name: string }[] } = await knex.raw(`
      SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND n.nspname NOT LIKE 'pg\\_toast%'`);
    const found: { table: string; row: string }[] = [];
    for (const { name } of tables) {
      const { rows }: { rows: { row: string }[] } = await knex.raw(
        `SELECT to_jsonb(t)::text AS row FROM ${name} t`,
      );
      for (const { row } of rows) found.push({ table: name, row });
    }
    return found;
  }

  it("holds no password, token, code, cookie or secret in any column of any table (T-64)", async () => {
    const rows = await dump();
    assert.ok(rows.length > 20);
    for (const { table, row } of rows) {
      for (const [what, value] of secrets) {
        const bytes = Buffer.from(value);
        const forms = [
          value,
          ...(["hex", "base64", "base64url"] as const).map((as) => bytes.toString(as)),
        ];
        for (const form of forms) assert.ok(!row.includes(form), `${table} holds the ${what}`);
      }
      assert.ok(!row.includes("a.hint@example.com"), `${table} holds what an interaction was told`);
    }
  });

  it("holds nothing that is good for anything: no value of any column is a token (T-64)", async () => {
    const values = new Set<string>();
    for (const { row } of await dump()) {
      for (const [, text = ""] of row.matchAll(/"((?:[^"\\]|\\.){16,})"/g)) {
        const value = JSON.parse(`"${text}"`) as string;
        if (!/^\\x[0-9a-f]+$/.test(value)) values.add(value);
        else
          for (const as of ["hex", "base64url"] as const)
            values.add(Buffer.from(value.slice(2), "hex").toString(as));
      }
    }
    assert.ok(values.size > 50);
    for (const value of values) {
      if (/[^\x21-\x7e]/.test(value) || value.length > 2000) continue;
      assert.equal((await app.userinfo(value)).status, 401);
      const refreshed = await app.token({ grant_type: "refresh_token", refresh_token: value });
      assert.equal(refreshed.status, 400);
      const redeemed = await app.redeem(value);
      assert.equal(redeemed.status, 400);
    }
  });

  it("logs none of them, and nobody’s address (T-118)", () => {
    const log = server.logged();
    assert.match(log, /"msg":"request"/);
    for (const [what, value] of secrets) assert.ok(!log.includes(value), `the log has the ${what}`);
    assert.ok(!log.includes(email));
    assert.ok(!log.includes("a.hint@example.com"));
    assert.ok(!log.includes("127.0.0.1"));
    assert.ok(!log.includes("the-state-of-the-app"));
    for (const line of log.trim().split("\n")) assert.doesNotThrow(() => JSON.parse(line));
  });
});
