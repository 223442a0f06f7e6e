import assert from "node:assert/strict";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import { find, lookUp } from "../../src/database/look-up.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const BY_ID = lookUp("SELECT name FROM things WHERE id = k.id AND id < :most", { id: "integer" });
const BY_TEXT = lookUp("SELECT name FROM things WHERE id = k.id::integer", { id: "text" });

describe("look-ups", () => {
  let database: TestDatabase;
  let knex: Knex;
  let statements: string[] = [];

  before(async () => {
    database = await testDatabase({ empty: true });
    ({ knex } = database);
    await knex.raw("CREATE TABLE things (id integer PRIMARY KEY, name text)");
    await knex.raw("INSERT INTO things SELECT n, 'thing ' || n FROM generate_series(1, 100) n");
    knex.on("query", ({ sql }: { sql: string }) => statements.push(sql));
  });
  after(() => database?.drop());
  beforeEach(() => {
    statements = [];
  });

  const nameOf = (id: number) => find<{ name: string }>(knex, BY_ID, { id, most: 1000 });

  it("answer each with its own, also where nothing is found or two ask the same", async () => {
    const asked = [7, 3, 500, 7, 100, 1];
    const answers = await Promise.all(asked.map(nameOf));
    assert.deepEqual(
      answers,
      asked.map((id) => (id > 100 ? undefined : { name: `thing ${id}` })),
    );
  });

  it("go together while one is being asked, at most 64", async () => {
    await Promise.all(Array.from({ length: 100 }, (_, id) => nameOf(id + 1)));
    assert.equal(statements.length, 3, "the first, 64 and 35");
  });

  it("see what was committed before they were asked, however many are under way", async () => {
    const other = connect({ url: database.url, applicationName: "lintel test" });
    for (let round = 0; round < 50; round += 1) {
      const before = nameOf(1);
      await other.raw("UPDATE things SET name = :name WHERE id = 1", { name: `round ${round}` });
      assert.deepEqual(await nameOf(1), { name: `round ${round}` });
      await before;
    }
    await other.destroy();
  });

  it("fail alone: others of the same statement are answered", async () => {
    const asked = ["1", "2", "not a number", "3"];
    const answers = await Promise.allSettled(asked.map((id) => find(knex, BY_TEXT, { id })));
    assert.deepEqual(
      answers.map(({ status }) => status),
      ["fulfilled", "fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(await nameOf(4), { name: "thing 4" });
  });

  it("in a transaction see what that has written", async () => {
    await knex
      .transaction(async (trx) => {
        await trx.raw("INSERT INTO things VALUES (200, 'mine')");
        assert.deepEqual(await find(trx, BY_ID, { id: 200, most: 1000 }), { name: "mine" });
        assert.equal(await nameOf(200), undefined);
        await trx.rollback();
      })
      .catch(() => undefined);
  });

  it("are planned once, however many there are", async () => {
    const alone = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    for (let count = 1; count < 30; count += 1)
      await Promise.all(
        Array.from({ length: count }, (_, id) => find(alone, BY_ID, { id, most: 1000 })),
      );
    const { rows } = await alone.raw(
      "SELECT generic_plans::int AS generic, custom_plans::int AS custom FROM pg_prepared_statements WHERE statement LIKE '%things%'",
    );
    const [{ generic, custom }] = rows;
    assert.ok(custom <= 5 && generic > 20, `${generic} generic, ${custom} custom`);
    await alone.destroy();
  });

  it("refuse what cannot be sent, and bother nobody else", async () => {
    await assert.rejects(find(knex, BY_ID, { id: undefined, most: 1000 }), TypeError);
    assert.deepEqual(await nameOf(5), { name: "thing 5" });
  });
});
