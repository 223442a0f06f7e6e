import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { connect } from "../../src/database/connect.ts";
import { migrateToLatest, pendingMigrations, schemaState } from "../../src/database/migrate.ts";
import { createLogger } from "../../src/lib/log.ts";
import { testDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const log = createLogger({ level: "silent" });

describe("migrations", function () {
  this.timeout(20_000);
  let database: TestDatabase;
  let directory: string;

  beforeEach(async () => {
    database = await testDatabase({ empty: true });
    directory = await mkdtemp(join(tmpdir(), "lintel-migrations-"));
    await migration("0001_first", "CREATE TABLE a (id integer PRIMARY KEY)");
  });

  afterEach(async () => {
    await database.drop();
    await rm(directory, { recursive: true });
  });

  async function migration(name: string, sql: string, head = ""): Promise<void> {
    const text = `${head}\nexport async function up(knex: { raw(sql: string): Promise<unknown> }): Promise<void> {
      await knex.raw(${JSON.stringify(sql)});\n}\nexport async function down(): Promise<void> {}\n`;
    await writeFile(join(directory, `${name}.ts`), text);
  }

  it("are all applied, from nothing to current", async () => {
    assert.equal(await schemaState(database.knex), "behind");
    const files = (await readdir(new URL("../../migrations", import.meta.url))).sort();
    assert.deepEqual(await pendingMigrations(database.knex), files);
    await migrateToLatest(database.knex, log);
    assert.deepEqual(await pendingMigrations(database.knex), []);
    assert.equal(await schemaState(database.knex), "current");
  });

  it("leave names as they were for whoever uses the connections after them", async () => {
    await migrateToLatest(database.knex, log, directory);
    await database.knex.raw("CREATE TABLE b (two_words integer)");
    await database.knex("b").insert({ twoWords: 2 });
    assert.deepEqual(await database.knex("b").where({ twoWords: 2 }), [{ twoWords: 2 }]);
  });

  it("are looked at without a change to the database", async () => {
    assert.equal(await schemaState(database.knex, directory), "behind");
    const { rows } = await database.knex.raw<{ rows: unknown[] }>(
      "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    );
    assert.deepEqual(rows, []);
  });

  it("are applied once by processes that start together (R-11)", async () => {
    await migration("0002_slow", "CREATE TABLE b (id integer); SELECT pg_sleep(0.5)");
    await migration(
      "0003_index",
      "CREATE INDEX CONCURRENTLY b_id ON b (id)",
      "export const config = { transaction: false };",
    );
    await together(5);
    const applied = await database.knex("knex_migrations").orderBy("id").pluck("name");
    assert.deepEqual(applied, ["0001_first.ts", "0002_slow.ts", "0003_index.ts"]);
  });

  it("go on where a killed process left knex locked (R-11)", async () => {
    await migrateToLatest(database.knex, log, directory);
    await database.knex("knex_migrations_lock").update({ is_locked: 1 });
    await migration("0002_second", "CREATE TABLE b (id integer)");
    await migrateToLatest(database.knex, log, directory);
    assert.equal(await schemaState(database.knex, directory), "current");
  });

  it("leave nothing behind when one of them fails", async () => {
    await migration("0002_broken", "CREATE TABLE b (id integer); SELECT 1/0");
    await assert.rejects(migrateToLatest(database.knex, log, directory), /division by zero/);
    assert.equal((await pendingMigrations(database.knex, directory)).length, 2);
  });

  it("refuse a database that a newer Lintel has migrated", async () => {
    await migrateToLatest(database.knex, log, directory);
    await database.knex("knex_migrations").insert({ name: "0009_future.ts", batch: 2 });
    await migration("0002_second", "CREATE TABLE b (id integer)");
    assert.equal(await schemaState(database.knex, directory), "ahead");
    await assert.rejects(migrateToLatest(database.knex, log, directory), {
      code: "database_ahead",
      message: /0009_future\.ts/,
    });
  });

  it("do not make requests queue behind a table that is in use for long", async () => {
    await migrateToLatest(database.knex, log, directory);
    await migration("0002_alter", "ALTER TABLE a ADD COLUMN note text");
    const reader = await database.knex.transaction();
    await reader("a").select();
    const migrated = migrateToLatest(database.knex, log, directory);
    await delay(200);
    const begin = Date.now();
    await database.knex("a").select();
    assert.ok(Date.now() - begin < 2500, "the request waited for longer than the lock timeout");
    await reader.commit();
    await migrated;
    assert.deepEqual(await database.knex("a").select("note"), []);
  });

  async function together(count: number): Promise<void> {
    const pools = Array.from({ length: count }, () =>
      connect({ url: database.url, applicationName: "lintel test", poolMax: 2 }),
    );
    try {
      await Promise.all(pools.map((knex) => migrateToLatest(knex, log, directory)));
    } finally {
      await Promise.all(pools.map((knex) => knex.destroy()));
    }
  }
});
