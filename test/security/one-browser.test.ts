import assert from "node:assert/strict";
import { purge } from "../../src/jobs/purge.ts";
import { errorOf, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** What one browser began, no other goes on with, and nothing of it is left when somebody signs out. */
describe("a sign-in belongs to one browser", () => {
  let server: TestServer;
  let user: { id: string; email: string };
  let app: RelyingParty;
  before(async () => {
    server = await aServer();
    user = await aUser(server);
    app = new RelyingParty(server, await aClient(server));
  });
  after(() => server.stop());

  const rowsOf = async (sql: string): Promise<Record<string, unknown>[]> =>
    (await server.database.knex.raw(sql)).rows;

  it("is not planted in another browser by its cookies, as a sibling's subdomain could write them (T-44)", async () => {
    const attacker = new WebBrowser(server);
    const page = await walk(server, attacker, app.authorization());
    assert.equal(page.page, "login");
    const victim = new WebBrowser(server);
    await victim.open(app.authorization());
    for (const { name, value, path } of attacker.jar.values())
      if (name.startsWith("lintel_interaction")) victim.put(name, value, path);
    const shown = await victim.open(page.url.pathname);
    assert.equal(shown.page, "stale");
    const sent = await victim.submit(page.url.pathname, {
      username: user.email,
      password: PASSWORD,
    });
    assert.equal(sent.page, "stale");
  });

  it("is spent once, however often its browser comes back at the same moment", async () => {
    const browser = new WebBrowser(server);
    const page = await walk(server, browser, app.authorization(), {
      email: user.email,
      until: "consent",
    });
    const allowed = await browser.submit(page.url.pathname, { decision: "allow", scope: "openid" });
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => browser.copy().open(allowed.location ?? "")),
    );
    const codes = answers.filter(({ location }) => location?.includes("code="));
    assert.equal(codes.length, 1);
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([303, 400]));
  });

  it("leaves no half of a sign-in behind for whoever uses the browser next", async () => {
    const browser = new WebBrowser(server);
    const client = new RelyingParty(server, await aClient(server));
    const waiting = await walk(server, browser, client.authorization(), {
      email: user.email,
      until: "consent",
    });
    const own = new RelyingParty(server, await aClient(server, { first_party: true }));
    await walk(server, browser, own.authorization(), user);
    const page = await browser.open("/session/end");
    const [, xsrf = ""] = /name="xsrf" value="([^"]+)"/.exec(page.text) ?? [];
    const out = await browser.submit("/session/end/confirm", { xsrf, logout: "yes" });
    assert.equal(out.status, 303);
    const answer = await browser.submit(waiting.url.pathname, {
      decision: "allow",
      scope: "openid",
    });
    assert.equal(answer.page, "stale");
  });

  it("forgets what was typed when it has run out, and still explains its address", async () => {
    await walk(server, new WebBrowser(server), app.authorization());
    await server.database.knex.raw(
      `UPDATE oauth_interactions SET expires_at = now() - interval '1 minute', gc_at = now() - interval '1 minute' + interval '30 days'
       WHERE finished_at IS NULL`,
    );
    await purge(server.database.knex, new Date());
    const kept = await rowsOf(`SELECT payload_enc IS NULL AS forgotten FROM oauth_interactions`);
    assert.ok(kept.length > 0 && kept.every(({ forgotten }) => forgotten));
  });

  it("asks every time for a client that proves nothing and lives on this device, whatever it calls itself (RFC 8252 §8.6)", async () => {
    const local = new RelyingParty(
      server,
      await aClient(server, {
        token_endpoint_auth_method: "none",
        redirect_uris: ["http://127.0.0.1:9876/cb"],
      }),
    );
    const browser = new WebBrowser(server);
    assert.ok(response(await walk(server, browser, local.authorization(), user))["code"]);
    assert.equal((await walk(server, browser, local.authorization())).page, "consent");
    assert.match(
      errorOf(await browser.open(local.authorization({ prompt: "none" }))) ?? "",
      /interaction_required|consent_required/,
    );
  });

  it("refuses a NUL character wherever it is said, before anything is looked up (T-08)", async () => {
    const nul = "a\0b";
    const asked = [
      await send(server, { path: "/auth?client_id=%00" }),
      await send(server, { path: "/session/end?client_id=%00" }),
      await send(server, { path: app.authorization({ nonce: nul }) }),
      await send(server, { path: "/token", fields: { grant_type: "x", client_id: nul } }),
      await app.post("/request", app.parameters({ nonce: nul })),
    ];
    for (const { status, url } of asked) assert.ok(status >= 400 && status < 500, url.href);
  });

  it("does not tell by a block which names are of one account (T-62)", async () => {
    const named = await aUser(server);
    await server.database
      .knex("users")
      .where({ id: named.id })
      .update({ username: "ada.l", username_norm: "ada.l" });
    const guess = async (username: string) => {
      const browser = new WebBrowser(server);
      const page = await walk(server, browser, app.authorization());
      const sent = await browser.submit(page.url.pathname, { username, password: "wrong one" });
      return sent.status;
    };
    for (let tries = 0; tries < 6; tries += 1) await guess(named.email);
    assert.equal(await guess(named.email), 429);
    assert.equal(await guess("ada.l"), 401);
    assert.equal(await guess("nobody.at.all"), 401);
  });
});
