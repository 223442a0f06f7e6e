import assert from "node:assert/strict";
import { writeInGroup } from "../../src/database/group.ts";
import { bind } from "../../src/database/statement.ts";
import { defer, runInUnitOfWork } from "../../src/database/transaction.ts";
import { OAuthInteraction } from "../../src/models/oauth-interaction.ts";
import { sha256 } from "../../src/lib/secret.ts";
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

  it("keep the last of what tabs save of one sign-in, and share a transaction with others nevertheless", async () => {
    const { knex } = database;
    const save = (id: string, content: string) =>
      OAuthInteraction.saving({
        uidHash: sha256(id),
        clientId: null,
        userId: null,
        browserHash: null,
        payloadEnc: Buffer.from(content),
        expiresAt: new Date(Date.now() + 60_000),
      });
    const unit = (id: string, ...contents: string[]) =>
      runInUnitOfWork(knex, async () => {
        for (const content of contents) await defer(knex, save(id, content));
      });
    await Promise.all([
      unit("before", "alone"),
      unit("one", "first", "second"),
      unit("two", "of another"),
      unit("one", "third", "fourth"),
    ]);
    const found = async (id: string) =>
      (await OAuthInteraction.find(knex, sha256(id)))?.payload?.toString();
    assert.deepEqual([await found("one"), await found("two")], ["fourth", "of another"]);
    const { rows } = await knex.raw(
      "SELECT count(DISTINCT xmin::text)::int AS n FROM oauth_interactions",
    );
    assert.equal(rows[0].n, 2);
  });
});
