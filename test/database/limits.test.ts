import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import { runInUnitOfWork, writer } from "../../src/database/transaction.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aDatabaseProxy, type DatabaseProxy } from "../support/database-proxy.ts";

const LIMIT = 300;
/** Soon, on a machine that has other work too. */
const SOON = 3000;
const busy = { code: "temporarily_unavailable", status: 503, retryAfter: 1 };

describe("a pool of one connection with a limit", function () {
  this.timeout(20_000);
  let database: TestDatabase;
  before(async () => {
    database = await testDatabase({ empty: true });
    await database.knex.raw("CREATE TABLE things (id integer PRIMARY KEY)");
  });
  after(() => database.drop());

  for (const isPooler of [false, true]) {
    describe(isPooler ? "behind a pooling proxy" : "to PostgreSQL itself", () => {
      let proxy: DatabaseProxy;
      let knex: Knex;
      beforeEach(async () => {
        proxy = await aDatabaseProxy(database.url, { isPooler });
        knex = connect({
          url: proxy.url,
          applicationName: "lintel test",
          poolMax: 1,
          statementTimeout: LIMIT,
        });
        await knex.raw("SELECT 1");
      });
      afterEach(async () => {
        await knex.destroy();
        proxy.close();
        await database.knex("things").delete();
      });

      /** The connection is there for others, and nothing was kept. */
      async function isFreeAgain(): Promise<void> {
        const begin = Date.now();
        assert.deepEqual(await knex("things"), []);
        assert.ok(Date.now() - begin < SOON);
      }

      it("takes the connection from a unit of work that does nothing with it", async () => {
        let isOver = false;
        const idle = runInUnitOfWork(knex, async () => {
          const db = await writer(knex);
          await db.raw("INSERT INTO things VALUES (1)");
          while (!isOver) await delay(10);
          await db.raw("INSERT INTO things VALUES (2)");
        });
        await delay(LIMIT * 2);
        isOver = true;
        await assert.rejects(idle, busy);
        await isFreeAgain();
      });

      it("gives up a statement of a unit of work that takes too long", async () => {
        const slow = runInUnitOfWork(knex, async () =>
          (await writer(knex)).raw("SELECT pg_sleep(9)"),
        );
        await assert.rejects(slow, busy);
        await isFreeAgain();
      });

      it("gives up waiting for a row that somebody else holds", async () => {
        const holder = await database.knex.transaction();
        await holder.raw("INSERT INTO things VALUES (1)");
        const begin = Date.now();
        const waiting = runInUnitOfWork(knex, async () =>
          (await writer(knex)).raw("INSERT INTO things VALUES (1)"),
        );
        await assert.rejects(waiting, busy);
        assert.ok(Date.now() - begin < SOON);
        await holder.rollback();
        await isFreeAgain();
      });

      it("gives up where nobody answers, in a unit of work and in a plain read", async () => {
        proxy.freeze();
        const read = async () => knex("things");
        await assert.rejects(read, busy);
        await knex.raw("SELECT 1");
        const unit = runInUnitOfWork(knex, async () => {
          const db = await writer(knex);
          proxy.freeze();
          await db.raw("INSERT INTO things VALUES (1)");
        });
        await assert.rejects(unit, busy);
        await isFreeAgain();
      });

      it("leaves what is within it alone", async () => {
        await runInUnitOfWork(knex, async () => {
          const db = await writer(knex);
          for (const id of [1, 2, 3]) {
            await delay(LIMIT / 3);
            await db.raw("INSERT INTO things VALUES (?)", [id]);
          }
        });
        assert.equal((await knex("things")).length, 3);
      });
    });
  }

  it("gives up a plain read that takes too long, on a connection to PostgreSQL itself", async () => {
    const knex = connect({
      url: database.url,
      applicationName: "lintel test",
      poolMax: 1,
      statementTimeout: LIMIT,
    });
    try {
      await assert.rejects(async () => knex.raw("SELECT pg_sleep(9)"), busy);
      await knex.raw("SELECT 1");
    } finally {
      await knex.destroy();
    }
  });
});
