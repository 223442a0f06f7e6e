import assert from "node:assert/strict";
import { aMachine } from "../support/api.ts";
import { aServer, type TestServer } from "../support/server.ts";

describe("a database that keeps a token waiting", function () {
  this.timeout(20_000);
  let server: TestServer;
  before(async () => {
    server = await aServer();
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
});
