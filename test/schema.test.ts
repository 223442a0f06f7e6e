import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "mocha";
import type { Knex } from "knex";
import { testDatabase, type TestDatabase } from "./support/database.ts";

const DUMP = new URL("schema.sql", import.meta.url);

/** The schema in words that a diff can show: tables, columns, constraints, indexes, triggers and functions. */
const DESCRIBE = `
  WITH tables AS (
    SELECT c.oid, c.relname, c.relkind, c.reloptions, pg_get_partkeydef(c.oid) AS partition_key
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname !~ '^knex_'
  )
  SELECT relname, string_agg(line, E'\\n' ORDER BY rank, position, line) AS body FROM (
    SELECT t.relname, 0 AS rank, 0 AS position, 'CREATE TABLE ' || t.relname
           || coalesce(' PARTITION BY ' || partition_key, '')
           || coalesce(' WITH (' || array_to_string(reloptions, ', ') || ')', '') AS line FROM tables t
    UNION ALL
    SELECT t.relname, 1, a.attnum, '  ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
           || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
    FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
    UNION ALL
    SELECT t.relname, 2, 0, '  CONSTRAINT ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
    FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype <> 'n'
    UNION ALL
    SELECT t.relname, 3, 0, '  ' || replace(pg_get_indexdef(i.indexrelid), 'public.', '')
    FROM tables t JOIN pg_index i ON i.indrelid = t.oid
    WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
    UNION ALL
    SELECT t.relname, 4, 0, '  ' || replace(pg_get_triggerdef(g.oid), 'public.', '')
    FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
  ) lines GROUP BY relname ORDER BY relname`;

async function describeSchema(knex: Knex): Promise<string> {
  const { rows }: { rows: { body: string }[] } = await knex.raw(DESCRIBE);
  const header =
    "-- What all migrations together make. Written by `UPDATE_SCHEMA=1 npm test`; review the diff.\n";
  return `${header}\n${rows.map(({ body }) => body).join("\n\n")}\n`;
}

/** Every migration, in order. */
const NAMES = readdirSync(new URL("../migrations", import.meta.url))
  .toSorted()
  .map((file) => file.replace(/\.ts$/, ""));

describe("schema", () => {
  let database: TestDatabase;
  before(async () => {
    database = await testDatabase();
  });
  after(() => database.drop());

  const rows = async (sql: string): Promise<Record<string, unknown>[]> =>
    (await database.knex.raw(sql)).rows;

  it("is what test/schema.sql says", async () => {
    const schema = await describeSchema(database.knex);
    if (process.env["UPDATE_SCHEMA"] !== undefined) writeFileSync(DUMP, schema);
    assert.equal(schema, readFileSync(DUMP, "utf8"));
  });

  it("has an index for every foreign key, so that no deletion scans a table", async () => {
    const missing = await rows(`
      SELECT k.conrelid::regclass AS table, k.conname FROM pg_constraint k
      WHERE k.contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND (i.indkey::int2[])[0] = k.conkey[1])`);
    assert.deepEqual(missing, []);
  });

  it("knows no timestamp without a time zone", async () => {
    const wrong = await rows(`
      SELECT table_name, column_name FROM information_schema.columns
      WHERE table_schema = 'public' AND table_name !~ '^knex_' AND data_type = 'timestamp without time zone'`);
    assert.deepEqual(wrong, []);
  });

  it("calls what is secret by what is kept of it: _hash or _enc (T-64)", async () => {
    const wrong = await rows(`
      SELECT table_name, column_name FROM information_schema.columns
      WHERE table_schema = 'public' AND column_name ~ '(token|secret|code|cookie|private)'
        AND column_name !~ '(_hash|_enc)$' AND column_name !~ '^tokens_valid_after$|_auth_method$|^token_(format|lifetime)$'`);
    assert.deepEqual(wrong, []);
  });

  it("goes down and up again, migration by migration", async () => {
    const empty = await testDatabase();
    try {
      const before = await describeSchema(empty.knex);
      for (const name of NAMES.toReversed()) {
        const { down } = await import(`../migrations/${name}.ts`);
        await down(empty.knex);
      }
      for (const name of NAMES) {
        const { up } = await import(`../migrations/${name}.ts`);
        await up(empty.knex);
      }
      assert.equal(await describeSchema(empty.knex), before);
    } finally {
      await empty.drop();
    }
  });
});
