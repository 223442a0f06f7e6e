import type { Knex } from "knex";
import { DatabaseError } from "pg";
import type { Config } from "../config.ts";
import { pendingMigrations, schemaState } from "../database/migrate.ts";
import { AppError } from "../errors.ts";
import { loadKeys } from "../keys/keystore.ts";
import { openSeal } from "../keys/seal.ts";
import { developmentKey } from "../lib/development-key.ts";
import type { Logger } from "../lib/log.ts";
import { DataKey } from "../models/data-key.ts";
import type { Check } from "./doctor.ts";
import { openDatabase } from "./operator.ts";

const OLDEST = 150_000;
const INSUFFICIENT_PRIVILEGE = "42501";
/** Milliseconds between the two clocks from which on tokens and links behave oddly. */
const SKEW_WARN = 2_000;
const SKEW_FAIL = 30_000;

interface Server {
  version: string;
  number: number;
  may_create: boolean;
  may_create_schema: boolean;
  is_superuser: boolean;
}

/** Version, rights, schema and clock of the database, and whether our key opens what is in it. */
export async function checkDatabase(config: Config, log: Logger): Promise<Check[]> {
  try {
    const { knex, close } = await openDatabase(config, log);
    try {
      const checks = [await checkServer(knex, config), await checkClock(knex)];
      if (checks.some(({ status }) => status === "fail")) return checks;
      const schema = await checkSchema(knex);
      return [...checks, schema, ...(schema.status === "ok" ? await checkKeys(knex, config) : [])];
    } finally {
      await close();
    }
  } catch (error) {
    return [explain(error)];
  }
}

function explain(error: unknown): Check {
  const name = "database";
  if (error instanceof AppError) return { name, status: "fail", message: error.message };
  if (!(error instanceof DatabaseError) || error.code !== INSUFFICIENT_PRIVILEGE) throw error;
  return {
    name,
    status: "fail",
    message: error.message,
    fix: "Let the role in DATABASE_URL own the tables: ALTER TABLE … OWNER TO it.",
  };
}

async function checkServer(knex: Knex, config: Config): Promise<Check> {
  const name = "database";
  const { rows } = await knex.raw<{ rows: Server[] }>(`
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::integer AS number,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
           has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
           rolsuper AS is_superuser
      FROM pg_roles WHERE rolname = current_user`);
  const [server] = rows;
  if (server === undefined) return { name, status: "fail", message: "the role is not known" };
  const message = `PostgreSQL ${server.version}`;
  if (server.number < OLDEST)
    return { name, status: "fail", message, fix: "Lintel needs PostgreSQL 15 or newer." };
  if (!server.may_create)
    return {
      name,
      status: "fail",
      message: `${message}, where the role may not create tables`,
      fix: "GRANT USAGE, CREATE ON SCHEMA public TO the role in DATABASE_URL.",
    };
  if (!server.may_create_schema)
    return {
      name,
      status: "fail",
      message: `${message}, where the role may not create the schema of the job queue`,
      fix: "GRANT CREATE ON DATABASE … TO the role in DATABASE_URL.",
    };
  if (server.is_superuser && config.mode === "production")
    return {
      name,
      status: "warn",
      message: `${message}, where the role is a superuser`,
      fix: "Use a role that owns this one database; Lintel needs no more.",
    };
  return { name, status: "ok", message };
}

async function checkClock(knex: Knex): Promise<Check> {
  const name = "clock";
  const before = Date.now();
  const { rows } = await knex.raw<{ rows: { at: Date }[] }>("SELECT clock_timestamp() AS at");
  const after = Date.now();
  const skew = Math.round((rows[0]?.at.getTime() ?? 0) - (before + after) / 2);
  const message = `the database's clock differs by ${Math.abs(skew)} ms`;
  const fix = "Let both machines set their clocks by NTP.";
  if (Math.abs(skew) > SKEW_FAIL) return { name, status: "fail", message, fix };
  if (Math.abs(skew) > SKEW_WARN) return { name, status: "warn", message, fix };
  return { name, status: "ok", message };
}

async function checkSchema(knex: Knex): Promise<Check> {
  const name = "schema";
  const state = await schemaState(knex);
  if (state === "current") return { name, status: "ok", message: "up to date" };
  if (state === "ahead")
    return {
      name,
      status: "fail",
      message: "newer than this Lintel",
      fix: "Run the version that migrated it, or a newer one.",
    };
  const pending = await pendingMigrations(knex);
  const message = `${pending.length} pending: ${pending.join(", ")}`;
  return { name, status: "fail", message, fix: "Run `lintel migrate`." };
}

async function checkKeys(knex: Knex, config: Config): Promise<Check[]> {
  const made = "none yet; the first start makes them";
  // Opening the seal would make the data key of a new database, and this verb changes nothing.
  const dataKey = await DataKey.query(knex).findOne({ retiredAt: null });
  if (dataKey === undefined)
    return ["encryption", "keys"].map((name) => ({ name, status: "ok", message: made }));
  try {
    const encryptionKey = config.encryptionKey ?? developmentKey(config.dataDir);
    const { signing } = await loadKeys(knex, await openSeal(knex, { encryptionKey }));
    const algorithms = [...new Set(signing.map(({ alg }) => String(alg)))];
    return [
      { name: "encryption", status: "ok", message: "the key opens this database's data key" },
      {
        name: "keys",
        status: "ok",
        message:
          signing.length === 0 ? made : `${signing.length} published: ${algorithms.join(", ")}`,
      },
    ];
  } catch (error) {
    const message = error instanceof AppError ? error.message : "a signing key does not open";
    return [
      {
        name: "encryption",
        status: "fail",
        message,
        fix: "Restore ENCRYPTION_KEY, or the backup that the signing keys come from.",
      },
    ];
  }
}
