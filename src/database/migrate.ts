import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

import type { Knex } from "knex";

import { errors } from "../errors.ts";
import type { Logger } from "../lib/log.ts";
import { tryLock } from "./advisory-lock.ts";

/** Where the migrations are; tests bring their own. */
const MIGRATIONS = fileURLToPath(new URL("../../migrations", import.meta.url));
/** knex's own table; the knex command line reads and writes the same one. */
const TABLE = "knex_migrations";

const LOCK_NOT_AVAILABLE = "55P03";
const LOCK_RETRIES = 30;

/**
 * Brings the schema up to this code. Of several processes that start together one migrates and the others wait;
 * what a killed one left is taken up again. A migration waits at most 2 s for a table, so that requests never
 * queue behind it for longer, and is then tried again. `knex` needs two connections.
 *
 * @throws AppError `database_ahead` when the database knows migrations that this code does not.
 */
export async function migrateToLatest(
  knex: Knex,
  log: Logger,
  directory: string = MIGRATIONS,
): Promise<void> {
  await withMigrationLock(knex, log, async () => {
    const unknown = await unknownMigrations(knex, directory);
    if (unknown.length > 0) throw errors.databaseAhead(unknown);
    if ((await pendingMigrations(knex, directory)).length === 0) return;

    // Nobody else migrates while we hold the lock, so a lock that knex finds was left by a killed process.
    const config = { tableName: TABLE, migrationSource: new TypeScriptMigrations(directory) };
    await knex.migrate.forceFreeMigrationsLock(config);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const [, applied] = (await knex.migrate.latest(config)) as [number, string[]];
        log.info({ applied }, "database schema migrated");
        return;
      } catch (error) {
        const busy = (error as { code?: unknown }).code === LOCK_NOT_AVAILABLE;
        if (!busy || attempt === LOCK_RETRIES) throw error;
        log.warn({ attempt }, "a table is in use, the migration is tried again");
        await knex.migrate.forceFreeMigrationsLock(config);
        await delay(1000);
      }
    }
  });
}

/** Names of the migrations that this code brings and the database has not had, in order. Changes nothing. */
export async function pendingMigrations(
  knex: Knex,
  directory: string = MIGRATIONS,
): Promise<string[]> {
  const applied = new Set(await appliedMigrations(knex));
  return (await listMigrations(directory)).filter((name) => !applied.has(name));
}

/**
 * Whether the schema is what this code expects. `ahead` wins over `behind`: a database that a newer Lintel has
 * migrated must not be used, whatever else it lacks.
 */
export async function schemaState(
  knex: Knex,
  directory: string = MIGRATIONS,
): Promise<"current" | "behind" | "ahead"> {
  if ((await unknownMigrations(knex, directory)).length > 0) return "ahead";
  return (await pendingMigrations(knex, directory)).length > 0 ? "behind" : "current";
}

/** Runs `fn` under the lock, whose transaction stays open and idle meanwhile. */
async function withMigrationLock(knex: Knex, log: Logger, fn: () => Promise<void>): Promise<void> {
  for (let waited = false; ; waited = true) {
    const done = await knex.transaction(async (trx) => {
      if (!(await tryLock(trx, "migrate"))) return false;
      await fn();
      return true;
    });
    if (done) return;
    if (!waited) log.info("another process migrates the database, waiting for it");
    await delay(100);
  }
}

async function appliedMigrations(knex: Knex): Promise<string[]> {
  const { rows } = await knex.raw<{ rows: { found: boolean }[] }>(
    "SELECT to_regclass(?) IS NOT NULL AS found",
    [TABLE],
  );
  return rows[0]?.found === true ? knex(TABLE).orderBy("id").pluck("name") : [];
}

async function unknownMigrations(knex: Knex, directory: string): Promise<string[]> {
  const known = new Set(await listMigrations(directory));
  return (await appliedMigrations(knex)).filter((name) => !known.has(name));
}

async function listMigrations(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name.endsWith(".ts")).sort();
}

type MigrationModule = Knex.Migration & { config?: { transaction?: boolean } };

/** Migrations as TypeScript modules, each transaction of which gives up after 2 s of waiting for a lock. */
class TypeScriptMigrations implements Knex.MigrationSource<string> {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  getMigrations(): Promise<string[]> {
    return listMigrations(this.#directory);
  }

  getMigrationName(migration: string): string {
    return migration;
  }

  async getMigration(migration: string): Promise<Knex.Migration> {
    const url = pathToFileURL(join(this.#directory, migration)).href;
    const module = (await import(url)) as MigrationModule;
    if (module.config?.transaction === false) return module;
    const up = async (trx: Knex): Promise<void> => {
      await trx.raw("SET LOCAL lock_timeout = '2s'");
      await module.up(trx);
    };
    return { ...module, up };
  }
}
