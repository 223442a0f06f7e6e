import assert from "node:assert/strict";
import { aMachine } from "../support/api.ts";
import { errorOf, send } from "../support/rp.ts";
import { aServer, type TestServer } from "../support/server.ts";

describe("a database that keeps a token waiting", function () {
  this.timeout(20_000);
  let server: TestServer;
  before(async () => {
    server = await aServer({ REGISTRATION: "open" });
  });
  after(() => server.stop());

  it("is answered with 503 and when to try again, and keeps nobody waiting afterwards", async () => {
    const app = await aMachine(server);
    const ask = { grant_type: "client_credentials" };
    assert.equal((await app.token(ask)).status, 200);
    const holder = await server.database.knex.transaction();
    await holder.raw("LOCK TABLE oidc_artifacts IN SHARE MODE");
    try {
      const answers = await Promise.all([1, 2, 3, 4].map(() => app.token(ask)));
      for (const answer of answers) {
        assert.equal(answer.status, 503);
        assert.equal(answer.headers["retry-after"], "1");
        assert.equal(answer.headers["cache-control"], "no-store");
      }
    } finally {
      await holder.rollback();
    }
    assert.equal((await app.token(ask)).status, 200);
  });

  it("is not called a mistake of whoever registers then (RFC 7591 §3.2.2)", async () => {
    const { knex } = server.database;
    const holder = await knex.transaction();
    await holder.raw("LOCK TABLE oauth_clients IN SHARE MODE");
    const body = JSON.stringify({ redirect_uris: ["https://rp.example/callback"] });
    const headers = { "content-type": "application/json", "content-length": String(body.length) };
    const answer = send(server, { path: "/reg", method: "POST", body, headers });
    // What a statement that takes too long comes to.
    const cancelled = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    while ((await knex.raw(cancelled)).rows.length === 0);
    await holder.rollback();
    assert.equal(errorOf(await answer), "temporarily_unavailable");
    assert.equal((await answer).status, 503);
  });
});
