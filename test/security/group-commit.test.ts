import assert from "node:assert/strict";
import { writeInGroup } from "../../src/database/group.ts";
import { bind } from "../../src/database/statement.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

describe("writes that are committed together, reviewed", () => {
  let database: TestDatabase;
  before(async () => {
    database = await testDatabase();
  });
  after(() => database.drop());

  it("F11: are written once where one of them could not be sent", async () => {
    const { knex } = database;
    await knex.raw("CREATE TABLE once (n int)");
    const put = async (n: unknown): Promise<unknown> =>
      writeInGroup(knex, {
        statements: [bind({ sql: "INSERT INTO once (n) VALUES (:n)", bindings: { n } })],
      });
    await Promise.allSettled([put(1), put(2), put(undefined), put(3)]);
    const { rows } = await knex.raw("SELECT n FROM once ORDER BY n");
    assert.deepEqual(
      rows.map(({ n }: { n: number }) => n),
      [1, 2, 3],
    );
  });
});
