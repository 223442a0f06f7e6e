import assert from "node:assert/strict";

import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";

import { connect } from "../../src/database/connect.ts";
import { onCommit, reader, runInUnitOfWork, writer } from "../../src/database/transaction.ts";
import { testDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

describe("a unit of work", function () {
  this.timeout(20_000);
  let database: TestDatabase;
  let knex: Knex;

  before(async () => {
    database = await testDatabase({ empty: true });
    knex = database.knex;
    await knex.raw("CREATE TABLE t (id integer PRIMARY KEY DEFERRABLE INITIALLY IMMEDIATE)");
  });

  beforeEach(() => knex("t").delete());

  after(() => database.drop());

  async function ids(): Promise<number[]> {
    return knex("t").orderBy("id").pluck("id");
  }

  it("holds no connection as long as it only reads", async () => {
    await runInUnitOfWork(knex, async () => {
      assert.equal(reader(knex), knex);
      assert.deepEqual(await reader(knex).table("t"), []);
      assert.equal(reader(knex), knex);
    });
  });

  it("opens its transaction at the first write, and shows it to others only when it is done", async () => {
    const result = await runInUnitOfWork(knex, async () => {
      await insert(await writer(knex), 1);
      assert.deepEqual(await reader(knex).table("t").pluck("id"), [1]);
      assert.deepEqual(await ids(), []);
      return "done";
    });
    assert.equal(result, "done");
    assert.deepEqual(await ids(), [1]);
  });

  it("gives concurrent writers the same transaction", async () => {
    await runInUnitOfWork(knex, async () => {
      const writers = await Promise.all([writer(knex), writer(knex), writer(knex)]);
      assert.equal(new Set(writers).size, 1);
      assert.equal(reader(knex), writers[0]);
      for (const [index, db] of writers.entries()) await insert(db, index);
    });
    assert.deepEqual(await ids(), [0, 1, 2]);
  });

  it("rolls everything back when its function throws, and throws the same", async () => {
    const failure = new Error("after the first of two writes");
    const unit = runInUnitOfWork(knex, async () => {
      await insert(await writer(knex), 1);
      throw failure;
    });
    await assert.rejects(unit, failure);
    assert.deepEqual(await ids(), []);
  });

  it("rolls back when the outcome says so (R-03), and returns the outcome", async () => {
    for (const status of [503, 400]) {
      const unit = runInUnitOfWork(
        knex,
        async () => {
          await insert(await writer(knex), status);
          return status;
        },
        (result) => result < 500,
      );
      assert.equal(await unit, status);
    }
    assert.deepEqual(await ids(), [400]);
  });

  it("lets an inner unit join the outer one, whose end decides", async () => {
    const unit = runInUnitOfWork(knex, async () => {
      await runInUnitOfWork(knex, async () => insert(await writer(knex), 1));
      assert.deepEqual(await ids(), []);
      throw new Error("outer");
    });
    await assert.rejects(unit, /outer/);
    assert.deepEqual(await ids(), []);
  });

  it("keeps parallel units apart", async () => {
    const transactions = new Set<TransactionOrKnex>();
    const units = [1, 2, 3, 4].map((id) =>
      runInUnitOfWork(knex, async () => {
        transactions.add(await writer(knex));
        await insert(await writer(knex), id);
        if (id % 2 === 1) throw new Error("odd");
      }),
    );
    await Promise.allSettled(units);
    assert.equal(transactions.size, 4);
    assert.deepEqual(await ids(), [2, 4]);
  });

  it("fails, and does not pretend to commit, when a failed statement was ignored", async () => {
    const unit = runInUnitOfWork(knex, async () => {
      const db = await writer(knex);
      await insert(db, 1);
      await insert(db, 1).catch(() => undefined);
      return "all is well";
    });
    await assert.rejects(unit, /rolled it back/);
    assert.deepEqual(await ids(), []);
  });

  it("commits when the failed statement was in a savepoint", async () => {
    await runInUnitOfWork(knex, async () => {
      const db = await writer(knex);
      await insert(db, 1);
      await db.transaction((savepoint) => insert(savepoint, 1)).catch(() => undefined);
      await insert(db, 2);
    });
    assert.deepEqual(await ids(), [1, 2]);
  });

  it("fails when the commit itself fails", async () => {
    const unit = runInUnitOfWork(knex, async () => {
      const db = await writer(knex);
      await db.raw("SET CONSTRAINTS ALL DEFERRED");
      await insert(db, 1, 1);
    });
    await assert.rejects(unit, { code: "23505" });
    assert.deepEqual(await ids(), []);
  });

  it("fails when its connection is lost before the commit, and the pool goes on", async () => {
    const unit = runInUnitOfWork(knex, async () => {
      const db = await writer(knex);
      await insert(db, 1);
      const { rows } = await db.raw<{ rows: { pid: number }[] }>("SELECT pg_backend_pid() AS pid");
      await knex.raw("SELECT pg_terminate_backend(?, 5000)", [rows[0]?.pid ?? 0]);
    });
    await assert.rejects(unit);
    assert.deepEqual(await ids(), []);
  });

  it("gives every connection back, whatever the end", async () => {
    const small = connect({ url: database.url, applicationName: "lintel test", poolMax: 2 });
    try {
      const unit = (id: number): Promise<void> =>
        runInUnitOfWork(
          small,
          async () => {
            await insert(await writer(small), id);
            if (id % 3 === 0) throw new Error("third");
          },
          () => id % 3 === 1,
        );
      await Promise.allSettled(Array.from({ length: 30 }, (_, index) => unit(index)));
      assert.equal((await ids()).length, 10);
      const [a, b] = await Promise.all([small.transaction(), small.transaction()]);
      await Promise.all([a.rollback(), b.rollback()]);
    } finally {
      await small.destroy();
    }
  });

  it("does not reach what outlives it: a late write stands alone", async () => {
    const late = Promise.withResolvers<void>();
    let written: Promise<void> | undefined;
    await runInUnitOfWork(knex, async () => {
      await insert(await writer(knex), 1);
      written = late.promise.then(async () => insert(await writer(knex), 2));
    });
    late.resolve();
    await written;
    assert.deepEqual(await ids(), [1, 2]);
  });

  it("is a matter of one database: another one is written to directly", async () => {
    const other = connect({ url: database.url, applicationName: "lintel test" });
    try {
      await runInUnitOfWork(knex, async () => {
        assert.equal(await writer(other), other);
        assert.equal(reader(other), other);
      });
    } finally {
      await other.destroy();
    }
  });

  it("runs its hooks after the commit, in order, and never after a rollback", async () => {
    const seen: unknown[] = [];
    await runInUnitOfWork(knex, async () => {
      onCommit(async () => seen.push(await ids()));
      onCommit(() => seen.push("second"));
      await insert(await writer(knex), 1);
      assert.deepEqual(seen, []);
    });
    assert.deepEqual(seen, [[1], "second"]);

    await runInUnitOfWork(
      knex,
      async () => onCommit(() => seen.push("never")),
      () => false,
    );
    assert.equal(seen.length, 2);
  });

  it("runs a hook at once where there is no unit", () => {
    let ran = false;
    onCommit(() => {
      ran = true;
    });
    assert.equal(ran, true);
  });

  it("stands although a hook fails, which becomes a process warning", async () => {
    const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
    await runInUnitOfWork(knex, async () => {
      await insert(await writer(knex), 1);
      onCommit(() => {
        throw new Error("cache is gone");
      });
    });
    assert.match((await warning).message, /cache is gone/);
    assert.deepEqual(await ids(), [1]);
  });
});

async function insert(db: TransactionOrKnex, ...values: number[]): Promise<void> {
  await db.table("t").insert(values.map((id) => ({ id })));
}

describe("connect", function () {
  this.timeout(20_000);
  let database: TestDatabase;

  before(async () => {
    database = await testDatabase({ empty: true });
  });

  after(() => database.drop());

  it("reads dates as text in every time zone, and 64-bit integers without loss", async () => {
    const { rows } = await database.knex.raw<{ rows: unknown[] }>(
      `SELECT '2026-01-31'::date AS day, ARRAY['2026-01-31'::date] AS days, 9007199254740993 AS big,
              '2026-01-31T12:00:00Z'::timestamptz AS instant`,
    );
    const instant = new Date("2026-01-31T12:00:00Z");
    const expected = { day: "2026-01-31", days: ["2026-01-31"], big: "9007199254740993", instant };
    assert.deepEqual(rows, [expected]);
  });

  it("makes nobody wait for a connection longer than 5 s", async () => {
    const knex = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    const holder = await knex.transaction();
    try {
      const begin = Date.now();
      await assert.rejects(async () => knex.raw("SELECT 1"), { name: "KnexTimeoutError" });
      assert.ok(Date.now() - begin < 6000);
    } finally {
      await holder.rollback();
      await knex.destroy();
    }
  });
});
