import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import { runStatement, type Statement } from "../../src/database/statement.ts";
import { decide, defer, reader, runInUnitOfWork, writer } from "../../src/database/transaction.ts";
import { aDatabaseProxy, type DatabaseProxy } from "../support/database-proxy.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const add = (id: number): Statement => ({
  sql: "INSERT INTO things (id) VALUES (CAST(:id AS integer))",
  bindings: { id },
});

describe("deferred writes", () => {
  let database: TestDatabase;
  let knex: Knex;
  let other: Knex;

  before(async () => {
    database = await testDatabase({ empty: true });
    ({ knex } = database);
    await knex.raw("CREATE TABLE things (id integer PRIMARY KEY)");
    other = connect({ url: database.url, applicationName: "lintel test" });
  });
  after(async () => {
    await other?.destroy();
    await database?.drop();
  });
  beforeEach(() => knex("things").delete());

  const ids = async (): Promise<number[]> => other("things").orderBy("id").pluck("id");
  const transactions = async (): Promise<number> => {
    const { rows } = await other.raw("SELECT count(DISTINCT xmin::text)::int AS n FROM things");
    return rows[0].n;
  };
  const unit = (id: number): Promise<void> => runInUnitOfWork(knex, () => defer(knex, add(id)));

  it("are committed when the unit resolves, and not seen before", async () => {
    await runInUnitOfWork(knex, async () => {
      await defer(knex, add(1));
      assert.deepEqual(await ids(), []);
    });
    assert.deepEqual(await ids(), [1]);
  });

  it("are committed with what the unit wrote otherwise", async () => {
    await runInUnitOfWork(knex, async () => {
      await defer(knex, add(2));
      await runStatement(await writer(knex), add(1));
    });
    assert.deepEqual(await ids(), [1, 2]);
    assert.equal(await transactions(), 1);
  });

  it("are dropped with the unit", async () => {
    await runInUnitOfWork(
      knex,
      () => defer(knex, add(1)),
      () => false,
    );
    await assert.rejects(
      runInUnitOfWork(knex, async () => {
        await defer(knex, add(1));
        throw new Error("no");
      }),
    );
    assert.deepEqual(await ids(), []);
  });

  it("fail the unit that has written otherwise, and undo it", async () => {
    await unit(1);
    const failing = runInUnitOfWork(knex, async () => {
      await runStatement(await writer(knex), add(2));
      await defer(knex, add(1));
    });
    await assert.rejects(failing, /duplicate key/);
    assert.deepEqual(await ids(), [1]);
  });

  it("of units that end together share transactions", async () => {
    await Promise.all(Array.from({ length: 40 }, (_, id) => unit(id)));
    assert.equal((await ids()).length, 40);
    assert.ok((await transactions()) <= 3);
  });

  it("fail alone: what others wrote in the same group is kept", async () => {
    await unit(7);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, (_, id) =>
        runInUnitOfWork(knex, async () => {
          await defer(knex, add(id));
          await defer(knex, add(id + 100));
        }),
      ),
    );
    const failed = outcomes.flatMap(({ status }, id) => (status === "rejected" ? [id] : []));
    assert.deepEqual(failed, [7]);
    assert.ok(!(await ids()).includes(107), "all of a unit is kept, or nothing");
    assert.equal((await ids()).length, 23);
  });

  it("come after what the unit wrote otherwise, in the order they were deferred", async () => {
    const move = (from: number, to: number): Statement => ({
      sql: "UPDATE things SET id = :to WHERE id = :from",
      bindings: { from, to },
    });
    await runInUnitOfWork(knex, async () => {
      await defer(knex, move(1, 2));
      await defer(knex, move(2, 3));
      await runStatement(await writer(knex), add(1));
    });
    assert.deepEqual(await ids(), [3]);
    const ended = [add(9), add(4), move(4, 5), move(5, 6)].map((each) =>
      runInUnitOfWork(knex, () => defer(knex, each)),
    );
    await Promise.all(ended);
    assert.deepEqual(await ids(), [3, 6, 9], "units take effect in the order they ended");
  });

  it("are dropped where a statement of the unit failed and nobody cared", async () => {
    await unit(1);
    const failing = runInUnitOfWork(knex, async () => {
      await runStatement(await writer(knex), add(1)).catch(() => undefined);
      await defer(knex, add(2));
    });
    await assert.rejects(failing);
    assert.deepEqual(await ids(), [1]);
  });

  it("need no second connection: a pool of one carries any mixture of units", async () => {
    const one = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    const read: Statement = { sql: "SELECT id FROM things WHERE id < :id", bindings: { id: 1000 } };
    try {
      await Promise.all(
        Array.from({ length: 60 }, (_, id) =>
          runInUnitOfWork(one, async () => {
            await runStatement(reader(one) as Knex, read);
            if (id % 3 > 0) await defer(one, add(id));
            if (id % 3 < 2) await runStatement(await writer(one), add(id + 100));
            await runStatement(reader(one) as Knex, read);
          }),
        ),
      );
    } finally {
      await one.destroy();
    }
    assert.equal((await ids()).length, 80);
  });

  it("fail where they cannot be sent, before anything is", async () => {
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;
    for (const value of [undefined, circular, { n: 1n }]) {
      const failing = runInUnitOfWork(knex, async () => {
        await runStatement(await writer(knex), add(1));
        await defer(knex, { ...add(2), bindings: { id: value } });
      });
      await assert.rejects(failing, TypeError);
    }
    assert.deepEqual(await ids(), []);
  });

  it("leave the connection in order where one cannot be sent", async () => {
    const one = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    const put = (value: unknown): Promise<void> =>
      runInUnitOfWork(one, () => defer(one, { ...add(0), bindings: { id: value } }));
    try {
      await assert.rejects(put({ n: 1n }), TypeError);
      await put(1);
      await assert.rejects(put({ n: 1n }), TypeError);
      await put(2);
    } finally {
      await one.destroy();
    }
    assert.deepEqual(await ids(), [1, 2]);
  });

  it("are what they were when they were deferred", async () => {
    const bindings = { id: 1 };
    await runInUnitOfWork(knex, async () => {
      await defer(knex, { ...add(1), bindings });
      bindings.id = 2;
    });
    assert.deepEqual(await ids(), [1]);
  });

  it("fail where the connection breaks, and the next ones work", async () => {
    const sleep: Statement = { sql: "SELECT pg_sleep(5) WHERE :now <> ''", bindings: { now: "x" } };
    const broken = Promise.allSettled([
      runInUnitOfWork(knex, () => defer(knex, add(1))),
      ...[2, 3].map((id) =>
        runInUnitOfWork(knex, async () => {
          await defer(knex, add(id));
          await defer(knex, sleep);
        }),
      ),
    ]);
    for (let killed = 0; killed === 0;) {
      const { rows } = await other.raw(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'",
      );
      killed = rows.length;
    }
    const outcomes = await broken;
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "rejected"],
    );
    await unit(4);
    assert.deepEqual(await ids(), [1, 4]);
  });

  describe("behind a proxy that pools transactions", () => {
    let proxied: Knex;
    let proxy: DatabaseProxy;
    before(async () => {
      proxy = await aDatabaseProxy(database.url, { isPooler: true });
      proxied = connect({ url: proxy.url, applicationName: "lintel test", poolMax: 3 });
    });
    after(async () => {
      await proxied?.destroy();
      proxy?.close();
    });

    it("work, and nothing is prepared", async () => {
      await Promise.all(
        Array.from({ length: 20 }, (_, id) =>
          runInUnitOfWork(proxied, async () => {
            await defer(proxied, add(id));
            if (id % 3 === 0) await runStatement(await writer(proxied), add(id + 100));
          }),
        ),
      );
      assert.equal((await ids()).length, 27);
      const { rows } = await proxied.raw("SELECT count(*)::int AS n FROM pg_prepared_statements");
      assert.equal(rows[0].n, 0);
    });

    it("undo all of a unit when one fails", async () => {
      await unit(1);
      const failing = runInUnitOfWork(proxied, async () => {
        await runStatement(await writer(proxied), add(2));
        await defer(proxied, add(1));
      });
      await assert.rejects(failing, /duplicate key/);
      await runInUnitOfWork(proxied, () => defer(proxied, add(3)));
      assert.deepEqual(await ids(), [1, 3]);
    });
  });

  for (const isPooler of [false, true]) {
    describe(`on a bad way to the database${isPooler ? ", behind a proxy" : ""}`, () => {
      let proxy: DatabaseProxy;
      let far: Knex;
      const note = (n: number): Promise<void> =>
        runInUnitOfWork(far, () =>
          defer(far, {
            sql: "INSERT INTO notes (n) VALUES (CAST(:n AS integer))",
            bindings: { n },
          }),
        );
      const notes = async (): Promise<number[]> => other("notes").orderBy("n").pluck("n");
      before(() => other.raw("CREATE TABLE IF NOT EXISTS notes (n integer)"));
      beforeEach(async () => {
        await other("notes").delete();
        proxy = await aDatabaseProxy(database.url, { isPooler });
        far = connect({ url: proxy.url, applicationName: "lintel test", poolMax: 3 });
        await note(0);
      });
      afterEach(async () => {
        await far.destroy();
        proxy.close();
      });

      it("are not written again where the answer to COMMIT is lost, alone or together", async () => {
        proxy.loseAnswerTo("COMMIT", 1);
        await assert.rejects(note(1));
        proxy.loseAnswerTo("COMMIT", 2);
        const outcomes = await Promise.allSettled([2, 3, 4].map(note));
        assert.deepEqual(
          outcomes.map(({ status }) => status),
          ["fulfilled", "rejected", "rejected"],
        );
        await note(5);
        assert.deepEqual(await notes(), [0, 1, 2, 3, 4, 5]);
      });

      it("are given up where nobody answers, with an error that says to try again", async () => {
        const begin = Date.now();
        proxy.freeze();
        const hung = Promise.allSettled([1, 2, 3].map(note));
        await delay(300);
        await note(4);
        assert.ok(Date.now() - begin < 2000, "others do not wait for it");
        const [first, ...queued] = await hung;
        const { code, status, retryAfter } = first?.status === "rejected" ? first.reason : {};
        assert.deepEqual([code, status, retryAfter], ["temporarily_unavailable", 503, 1]);
        assert.ok(queued.every((outcome) => outcome.status === "fulfilled"));
        assert.ok(Date.now() - begin < 5000);
        await Promise.all([5, 6, 7, 8].map(note));
        assert.deepEqual(await notes(), [0, 2, 3, 4, 5, 6, 7, 8]);
      });

      it("leave no connection in a transaction that did not begin as it should", async () => {
        const once: Statement = {
          sql: "UPDATE notes t SET n = k.n2 FROM :each WHERE t.n = k.n1 AND t.n = ANY(:n1) RETURNING k.n::int",
          each: { n1: "integer", n2: "integer" },
          bindings: { n1: 0, n2: 9 },
        };
        proxy.garble("lock_timeout");
        await assert.rejects(runInUnitOfWork(far, () => decide(far, once, async () => undefined)));
        await Promise.all([2, 3].map(note));
        assert.deepEqual(await notes(), [0, 2, 3]);
      });

      if (isPooler) {
        it("write nothing where BEGIN fails", async () => {
          proxy.loseAnswerTo("BEGIN", 2);
          const outcomes = await Promise.allSettled([1, 2, 3].map(note));
          assert.deepEqual(
            outcomes.map(({ status }) => status),
            ["fulfilled", "rejected", "rejected"],
          );
          assert.deepEqual(await notes(), [0, 1]);
        });
      }
    });
  }

  describe("that must wait for a lock", () => {
    let holder: Knex.Transaction;
    beforeEach(async () => {
      holder = await other.transaction();
      await holder("things").insert({ id: 5 });
    });
    afterEach(async () => {
      if (!holder.isCompleted()) await holder.rollback();
    });

    it("do not keep others of their group waiting", async () => {
      const begin = Date.now();
      const held = [10, 5, 6, 7].map(unit);
      await Promise.all([held[0], held[2], held[3]]);
      assert.ok(Date.now() - begin < 1500);
      assert.deepEqual(await ids(), [6, 7, 10]);
      await holder.rollback();
      await held[1];
      assert.deepEqual(await ids(), [5, 6, 7, 10]);
    });

    it("do not keep others waiting when they are alone, and give up with an error that says to try again", async () => {
      const held = unit(5);
      const begin = Date.now();
      const refused = assert.rejects(held, {
        code: "temporarily_unavailable",
        status: 503,
        retryAfter: 1,
      });
      await Promise.all([6, 7].map(unit));
      assert.ok(Date.now() - begin < 2000);
      await refused;
      await holder.rollback();
      assert.deepEqual(await ids(), [6, 7]);
    });

    it("are told to try again where PostgreSQL ends a deadlock by undoing them", async () => {
      await holder("things").insert({ id: 6 });
      await holder.commit();
      const opponent = await other.transaction();
      await opponent("things").where({ id: 6 }).update({ id: 6 });
      const touch = (id: number): Statement => ({
        sql: "UPDATE things SET id = id WHERE id = :id",
        bindings: { id },
      });
      const refused = assert.rejects(
        runInUnitOfWork(knex, async () => {
          await defer(knex, touch(5));
          await defer(knex, touch(6));
        }),
        { code: "temporarily_unavailable", status: 503, retryAfter: 1 },
      );
      await delay(50);
      await opponent("things").where({ id: 5 }).update({ id: 5 });
      await refused;
      await opponent.commit();
    });

    it("give way to whoever waits for the group, and for none of them alone", async () => {
      await holder("things").insert({ id: 6 });
      await holder.commit();
      const opponent = await other.transaction();
      await opponent("things").where({ id: 5 }).update({ id: 5 });
      const touch = (id: number): Statement => ({
        sql: "UPDATE things SET id = id WHERE id = :id",
        bindings: { id },
      });
      const held = [7, 6, 5].map((id) => runInUnitOfWork(knex, () => defer(knex, touch(id))));
      await held[0];
      await delay(50);
      const begin = Date.now();
      await opponent("things").where({ id: 6 }).update({ id: 6 });
      assert.ok(Date.now() - begin < 900, "before PostgreSQL looks for a deadlock");
      await opponent.commit();
      await Promise.all(held);
    });
  });

  it("are prepared once a connection where there is no proxy", async () => {
    const one = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    try {
      for (const id of [1, 2, 3]) await runInUnitOfWork(one, () => defer(one, add(id)));
      const { rows } = await one.raw("SELECT statement FROM pg_prepared_statements");
      assert.equal(rows.length, 1);
    } finally {
      await one.destroy();
    }
  });
});
