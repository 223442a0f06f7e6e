import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import { runStatement, type Statement } from "../../src/database/statement.ts";
import {
  decide,
  defer,
  isUndecided,
  onCommit,
  runInUnitOfWork,
  writer,
} from "../../src/database/transaction.ts";
import { aDatabaseProxy } from "../support/database-proxy.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const spend = (id: number): Statement => ({
  sql: `UPDATE coins c SET spent = true FROM :each WHERE c.id = k.id AND NOT c.spent RETURNING k.n::int`,
  each: { id: "integer" },
  bindings: { id },
});
const note = (text: string): Statement => ({
  sql: "INSERT INTO notes (text) SELECT k.text FROM :each",
  each: { text: "text" },
  bindings: { text },
});

class AlreadySpent extends Error {}

describe("a decision that goes with the commit", () => {
  let database: TestDatabase;
  let knex: Knex;
  let other: Knex;

  before(async () => {
    database = await testDatabase({ empty: true });
    ({ knex } = database);
    await knex.raw(
      "CREATE TABLE coins (id integer PRIMARY KEY, spent boolean NOT NULL DEFAULT false)",
    );
    await knex.raw("CREATE TABLE notes (text text UNIQUE)");
    other = connect({ url: database.url, applicationName: "lintel test" });
  });
  after(async () => {
    await other?.destroy();
    await database?.drop();
  });
  beforeEach(async () => {
    await knex.raw("TRUNCATE coins, notes");
    await knex.raw("INSERT INTO coins SELECT generate_series(1, 100)");
  });

  const notes = async (): Promise<string[]> => other("notes").orderBy("text").pluck("text");
  const spent = async (): Promise<number[]> =>
    other("coins").where({ spent: true }).orderBy("id").pluck("id");
  const lose = async (): Promise<void> => {
    throw new AlreadySpent();
  };
  const buy = (id: number, text: string): Promise<void> =>
    runInUnitOfWork(knex, async () => {
      await decide(knex, spend(id), lose);
      await defer(knex, note(text));
    });

  it("is not made before the unit resolves", async () => {
    await runInUnitOfWork(knex, async () => {
      await decide(knex, spend(1), lose);
      assert.deepEqual(await spent(), []);
    });
    assert.deepEqual(await spent(), [1]);
  });

  it("is not made where the unit is dropped or fails", async () => {
    await runInUnitOfWork(
      knex,
      () => decide(knex, spend(1), lose),
      () => false,
    );
    await assert.rejects(
      runInUnitOfWork(knex, async () => {
        await decide(knex, spend(1), lose);
        throw new Error("no");
      }),
    );
    assert.deepEqual(await spent(), []);
  });

  it("has one winner, and writes what the winner deferred and nothing else", async () => {
    for (let coin = 1; coin <= 20; coin += 1) {
      const buyers = Array.from({ length: 10 }, (_, buyer) => buy(coin, `${coin} by ${buyer}`));
      const outcomes = await Promise.allSettled(buyers);
      const lost = outcomes.filter(({ status }) => status === "rejected");
      assert.equal(lost.length, 9);
      for (const each of lost)
        assert.ok((each as PromiseRejectedResult).reason instanceof AlreadySpent);
    }
    assert.equal((await notes()).length, 20);
  });

  it("has one winner among processes", async () => {
    const elsewhere = (id: number) =>
      runInUnitOfWork(other, async () => {
        await decide(other, spend(id), lose);
        await defer(other, note(`${id} elsewhere`));
      });
    for (let coin = 1; coin <= 30; coin += 1) {
      const outcomes = await Promise.allSettled([buy(coin, `${coin} here`), elsewhere(coin)]);
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    }
    assert.equal((await notes()).length, 30);
  });

  it("of units that end together share transactions, and who loses takes nobody along", async () => {
    await buy(50, "before");
    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, (_, id) => buy(id + 31, `coin ${id + 31}`)),
    );
    assert.equal(outcomes.filter(({ status }) => status === "rejected").length, 1);
    assert.equal((await notes()).length, 40);
    const { rows } = await other.raw("SELECT count(DISTINCT xmin::text)::int AS n FROM notes");
    assert.ok(rows[0].n < 20, `${rows[0].n} transactions`);
  });

  it("whose unit's other writes fail is undone, alone", async () => {
    await buy(1, "taken");
    const outcomes = await Promise.allSettled([
      buy(2, "free"),
      buy(3, "taken"),
      buy(4, "also free"),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(await spent(), [1, 2, 4]);
    assert.deepEqual(await notes(), ["also free", "free", "taken"]);
  });

  it("that is lost has what it was told then done, in a unit of its own", async () => {
    await buy(1, "first");
    const place = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const second = await runInUnitOfWork(
      knex,
      async () => {
        await place.run("there", () =>
          decide(knex, spend(1), async () => {
            seen.push(place.getStore());
            await runStatement(await writer(knex), note("a thief"));
            throw new AlreadySpent();
          }),
        );
        await defer(knex, note("second"));
        onCommit(() => seen.push("committed"));
        return "spent";
      },
      () => true,
      async (error) => {
        assert.ok(error instanceof AlreadySpent);
        await runStatement(await writer(knex), note("told"));
        return "refused";
      },
    );
    assert.equal(second, "refused");
    assert.deepEqual(seen, ["there"], "where it was decided; and what was to follow does not");
    assert.deepEqual(await notes(), ["a thief", "first", "told"]);
  });

  it("that is lost and forgiven writes the rest", async () => {
    await buy(1, "first");
    let hooks = 0;
    const answer = await runInUnitOfWork(knex, async () => {
      await decide(knex, spend(1), async () => {});
      await defer(knex, note("second"));
      onCommit(() => (hooks += 1));
      return "the same";
    });
    assert.equal(answer, "the same");
    assert.equal(hooks, 1);
    assert.deepEqual(await notes(), ["first", "second"]);
  });

  it("is made at once where the unit has a transaction of its own, and before its next write", async () => {
    await buy(1, "first");
    const late = runInUnitOfWork(knex, async () => {
      await decide(knex, spend(1), lose);
      await writer(knex);
      assert.fail("it was lost");
    });
    await assert.rejects(late, AlreadySpent);
    const early = runInUnitOfWork(knex, async () => {
      await runStatement(await writer(knex), note("early"));
      await decide(knex, spend(1), lose);
      assert.fail("it was lost");
    });
    await assert.rejects(early, AlreadySpent);
    await assert.rejects(decide(knex, spend(1), lose), AlreadySpent, "and outside of one");
    assert.deepEqual(await notes(), ["first"]);
  });

  it("may still change until it is written, and not after that", async () => {
    const bindings = { id: 1 };
    const statement = { ...spend(1), bindings };
    await runInUnitOfWork(knex, async () => {
      await decide(knex, statement, lose);
      assert.equal(isUndecided(knex, statement), true);
      bindings.id = 9;
    });
    assert.deepEqual(await spent(), [9]);
    await runInUnitOfWork(knex, async () => {
      await decide(knex, statement, async () => {});
      await writer(knex);
      assert.equal(isUndecided(knex, statement), false);
    });
  });

  it("that cannot be sent fails alone, and writes nothing", async () => {
    const broken = runInUnitOfWork(knex, async () => {
      await decide(knex, { ...spend(1), bindings: { id: undefined } }, lose);
      await defer(knex, note("never"));
    });
    const outcomes = await Promise.allSettled([buy(2, "two"), broken, buy(3, "three")]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(await notes(), ["three", "two"]);
  });

  it("holds behind a proxy that pools transactions, where nothing is prepared", async () => {
    const proxy = await aDatabaseProxy(database.url, { isPooler: true });
    const pooled = connect({ url: proxy.url, applicationName: "lintel test" });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, buyer) =>
        runInUnitOfWork(pooled, async () => {
          await decide(pooled, spend(1 + (buyer % 2)), lose);
          await defer(pooled, note(`pooled ${buyer}`));
        }),
      ),
    );
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 2);
    assert.equal((await notes()).length, 2);
    await pooled.destroy();
    proxy.close();
  });
});
