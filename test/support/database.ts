import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import type { Knex } from "knex";
import { Client } from "pg";

import { connect } from "../../src/database/connect.ts";
import { startEmbeddedPostgres } from "../../src/database/embedded.ts";
import { migrateToLatest } from "../../src/database/migrate.ts";
import { ensurePartitions } from "../../src/database/partitions.ts";
import { createLogger } from "../../src/lib/log.ts";
import { scratchDirectory } from "./scratch.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const TEMPLATE_LOCK = 0x6c_69_6e_74;

interface TestServer {
  /** Connection string of the maintenance database. */
  readonly url: string;
  stop(): Promise<void>;
}

/** A database of its own for one test or one file. */
export interface TestDatabase {
  readonly url: string;
  readonly knex: Knex;
  /** Closes `knex` and drops the database, whoever is still connected. */
  drop(): Promise<void>;
}

let server: Promise<TestServer> | undefined;
let template: Promise<string> | undefined;

/** What tests log: warnings only, so that a failing run can be read. */
export const testLog = createLogger({ level: "warn" });

/**
 * Makes a database as all migrations leave it, or an empty one. All of a run live in one server: the one of
 * TEST_DATABASE_URL (a role that may create databases), or an embedded one that the runs of this checkout share.
 */
export async function testDatabase(options?: { empty?: boolean }): Promise<TestDatabase> {
  const { url } = await startTestPostgres();
  const source = options?.empty === true ? "template0" : await (template ??= makeTemplate(url));
  const name = `lintel_test_${process.pid}_${randomBytes(4).toString("hex")}`;
  await query(url, `CREATE DATABASE ${name} TEMPLATE ${source}`);
  const knex = connect({ url: withDatabase(url, name), applicationName: "lintel test" });
  // The template may be from yesterday.
  if (options?.empty !== true) await ensurePartitions(knex, new Date());
  return {
    url: withDatabase(url, name),
    knex,
    async drop() {
      await knex.destroy();
      await query(url, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

/** Starts the server of a run, or joins the one that is running. */
export async function startTestPostgres(): Promise<{ readonly url: string }> {
  return (server ??= startServer());
}

/** Ends the embedded server unless another run uses it. The root hooks call it after the last test. */
export async function stopTestPostgres(): Promise<void> {
  const running = await server?.catch(() => undefined);
  server = undefined;
  template = undefined;
  await running?.stop();
}

async function startServer(): Promise<TestServer> {
  const given = process.env["TEST_DATABASE_URL"];
  if (given !== undefined) return { url: given, stop: async () => {} };
  const checkout = createHash("sha256").update(REPOSITORY).digest("hex").slice(0, 12);
  const embedded = await startEmbeddedPostgres({
    dataDir: join(scratchDirectory(), `lintel-test-${checkout}-${process.getuid?.() ?? 0}`),
    log: testLog,
    settings: {
      fsync: "off",
      synchronous_commit: "off",
      full_page_writes: "off",
      max_wal_size: "256MB",
      max_connections: "300",
    },
  });
  const url = withDatabase(embedded.url, "postgres");
  await dropLeftovers(url);
  return { url, stop: () => embedded.stop() };
}

/** Migrates once for each state of `migrations/`; a run that finds the template made uses it. */
async function makeTemplate(url: string): Promise<string> {
  const name = `lintel_template_${hashMigrations()}`;
  const client = await open(url);
  try {
    await client.query("SELECT pg_advisory_lock($1)", [TEMPLATE_LOCK]);
    const found = await client.query("SELECT FROM pg_database WHERE datname = $1", [name]);
    if (found.rowCount === 1) return name;

    const building = `lintel_test_${process.pid}_template`;
    await client.query(`DROP DATABASE IF EXISTS ${building} WITH (FORCE)`);
    await client.query(`CREATE DATABASE ${building} TEMPLATE template0`);
    const knex = connect({ url: withDatabase(url, building), applicationName: "lintel test" });
    try {
      await migrateToLatest(knex, testLog);
      await ensurePartitions(knex, new Date());
    } finally {
      await knex.destroy();
    }
    await retryWhileInUse(() => client.query(`ALTER DATABASE ${building} RENAME TO ${name}`));
    await client.query(`ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS false`);
    return name;
  } finally {
    await client.end();
  }
}

/** The backends of a closed pool leave a moment after it. */
async function retryWhileInUse(fn: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await fn();
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "55006" || attempt === 50) throw error;
      await delay(20);
    }
  }
}

/** Drops what runs left that were killed: their process numbers are part of the names. */
async function dropLeftovers(url: string): Promise<void> {
  const client = await open(url);
  try {
    const { rows } = await client.query<{ datname: string }>(
      `SELECT datname FROM pg_database WHERE datname LIKE 'lintel\\_test\\_%'`,
    );
    for (const { datname } of rows) {
      if (isAlive(Number(datname.split("_")[2]))) continue;
      await client.query(`DROP DATABASE IF EXISTS ${datname} WITH (FORCE)`);
    }
  } finally {
    await client.end();
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function hashMigrations(): string {
  const hash = createHash("sha256");
  const directory = join(REPOSITORY, "migrations");
  for (const file of readdirSync(directory).sort()) {
    hash
      .update(file)
      .update("\0")
      .update(readFileSync(join(directory, file)))
      .update("\0");
  }
  return hash.digest("hex").slice(0, 16);
}

async function open(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: "lintel test" });
  await client.connect();
  return client;
}

async function query(url: string, sql: string): Promise<void> {
  const client = await open(url);
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, database: string): string {
  const address = new URL(url);
  address.pathname = `/${database}`;
  return address.href;
}
