import assert from "node:assert/strict";
import { LogoutNotice } from "../../src/models/logout-notice.ts";
import { runCli } from "../support/cli.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aClient, aUser } from "../support/server.ts";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { createLogger } from "../../src/lib/log.ts";

describe("lintel logout-notice", () => {
  let database: TestDatabase;
  before(async () => {
    database = await testDatabase();
    await migrateJobs(database.url, createLogger({ level: "silent" }));
  });
  after(() => database.drop());

  it("lists what a client was told, the latest first, page by page", async () => {
    const { clientId } = await aClient({ database });
    const { id: userId } = await aUser({ database });
    const { knex } = database;
    const row = await knex("oauth_clients").where({ client_id: clientId }).first("id");
    for (const [index, sid] of ["first", "second", "third"].entries()) {
      const now = new Date(Date.now() + index * 1000);
      await LogoutNotice.queue(knex, { clientId: row.id, userId, sid, now });
    }
    await LogoutNotice.query(knex)
      .where({ sid: "second" })
      .patch({ status: "failed", attempts: 8, lastError: "503 from the client" });

    const key = Buffer.from(Array.from({ length: 32 }, (_, n) => n * 5)).toString("base64");
    const environment = { DATABASE_URL: database.url, ENCRYPTION_KEY: key };
    const list = async (...args: string[]) => {
      const all = ["logout-notice", "list", clientId, "--json", ...args];
      const { code, out, err } = await runCli(all, environment);
      assert.equal(code, 0, err);
      return JSON.parse(out) as Record<string, unknown>[];
    };
    const [latest, failed, ...rest] = await list();
    assert.equal(latest?.["sid"], "third");
    assert.equal(failed?.["last_error"], "503 from the client");
    assert.equal(rest.length, 1);
    const page = await list("--after", String(failed?.["id"]));
    assert.deepEqual(
      page.map(({ sid }) => sid),
      ["first"],
    );
    const wrong = await runCli(["logout-notice", "list", clientId, "--after", "x"], environment);
    assert.equal(wrong.code, 2);
  });
});
