import assert from "node:assert/strict";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
} from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** A request is answered 503 and told when to come back, never 500, and what it would have spent is not spent. */
describe("a server without a connection to the database", function () {
  this.timeout(60_000);
  let server: TestServer;
  let app: RelyingParty;
  let browser: WebBrowser;
  let tokens: Record<string, unknown>;

  before(async () => {
    server = await aServer({ DATABASE_POOL: "2" });
    app = new RelyingParty(server, await aClient(server));
    browser = new WebBrowser(server);
    const code = await aCode();
    tokens = json(await app.redeem(code));
  });
  after(() => server.stop());

  async function aCode(): Promise<string> {
    const user = await aUser(server);
    browser = new WebBrowser(server);
    return response(await walk(server, browser, app.authorization(), user))["code"] ?? "";
  }

  function isForMachines(answer: Answer): void {
    assert.equal(answer.status, 503, answer.text);
    assert.equal(answer.headers["retry-after"], "1");
    assert.equal(errorOf(answer), "temporarily_unavailable");
    assert.match(answer.headers["content-type"] ?? "", /json/);
    assert.match(answer.headers["cache-control"] ?? "", /no-store/);
  }

  function isForPeople(answer: Answer, heading: RegExp): void {
    assert.equal(answer.status, 503, answer.text);
    assert.equal(answer.headers["retry-after"], "1");
    assert.equal(answer.page, "error");
    assert.match(answer.text, heading);
    assert.match(answer.text, /<code id="error-code">temporarily_unavailable<\/code>/);
  }

  interface Readied {
    readonly code: string;
    /** Somebody who is signed in. */
    readonly member: WebBrowser;
    /** Somebody who looks at the login page. */
    readonly visitor: WebBrowser;
    readonly loginPage: string;
  }

  async function ready(): Promise<Readied> {
    const code = await aCode();
    const visitor = new WebBrowser(server, { "accept-language": "ja" });
    const { url, page } = await walk(server, visitor, app.authorization());
    assert.equal(page, "login");
    return { code, member: browser, visitor, loginPage: url.href };
  }

  /** Everything that clients and people ask for, all at once. */
  async function check({ code, member, visitor, loginPage }: Readied): Promise<void> {
    const accessToken = String(tokens["access_token"]);
    const [redeemed, refreshed, userinfo, introspected, revoked, pushed, page, login, silent] =
      await Promise.all([
        app.redeem(code),
        app.token({ grant_type: "refresh_token", refresh_token: String(tokens["refresh_token"]) }),
        app.userinfo(accessToken),
        app.post("/token/introspection", { token: accessToken }),
        app.post("/token/revocation", { token: accessToken }),
        app.post("/request", app.parameters()),
        member.copy().open("/account"),
        visitor.copy().submit(loginPage, { username: "ada@example.com", password: PASSWORD }),
        member.copy().open(app.authorization({ prompt: "none" })),
      ]);
    for (const answer of [redeemed, refreshed, userinfo, introspected, revoked, pushed])
      isForMachines(answer);
    isForPeople(page, /<h1>Wait a moment<\/h1>/);
    isForPeople(login, /<html lang="ja"/);
    // RFC 6749 §4.1.2.1: a status cannot be sent to the client by a redirect, a code can.
    assert.equal(silent.status, 303, silent.text);
    assert.equal(response(silent)["error"], "temporarily_unavailable");
    assert.equal(response(silent)["state"], "a-state");
    assert.equal(response(silent)["code"], undefined);
  }

  async function isWellAgain({ code, member }: Readied): Promise<void> {
    const accessToken = String(tokens["access_token"]);
    assert.equal((await app.userinfo(accessToken)).status, 200, "what was not revoked still works");
    const redeemed = await app.redeem(code);
    assert.equal(redeemed.status, 200, "the code was not spent");
    assert.ok(response(await member.open(app.authorization({ prompt: "none" })))["code"]);
    const { refresh_token: token } = tokens;
    const refreshed = await app.token({
      grant_type: "refresh_token",
      refresh_token: String(token),
    });
    assert.equal(refreshed.status, 200);
    tokens = json(refreshed);
  }

  it("because others hold all of its pool: answers within seconds, and spends nothing (RFC 9110 §15.6.4, RFC 6749 §4.1.2.1)", async () => {
    const readied = await ready();
    const holders = [await server.deps.knex.transaction(), await server.deps.knex.transaction()];
    try {
      const begin = Date.now();
      await check(readied);
      assert.ok(Date.now() - begin < 9000);
    } finally {
      for (const holder of holders) await holder.rollback();
    }
    await isWellAgain(readied);
  });

  it("because PostgreSQL takes none: answers at once, and goes on when it does again", async () => {
    const readied = await ready();
    const elsewhere = besides(server.database.url);
    const name = new URL(server.database.url).pathname.slice(1);
    try {
      await elsewhere.raw("ALTER DATABASE ?? WITH ALLOW_CONNECTIONS false", [name]);
      await elsewhere.raw(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ?",
        [name],
      );
      const begin = Date.now();
      await check(readied);
      assert.ok(Date.now() - begin < 4000);
      const ready = await send(server, { path: "/readyz" });
      assert.equal(ready.status, 503);
      assert.equal((await send(server, { path: "/healthz" })).status, 200);
    } finally {
      await elsewhere.raw("ALTER DATABASE ?? WITH ALLOW_CONNECTIONS true", [name]);
      await elsewhere.destroy();
    }
    await isWellAgain(readied);
    assert.match(
      server.logged(),
      /not currently accepting connections/,
      "the operator is told why",
    );
  });
});

/** Another database of the same server. */
function besides(url: string): Knex {
  const other = new URL(url);
  other.pathname = "/postgres";
  return connect({ url: other.href, applicationName: "lintel test", poolMax: 1 });
}
