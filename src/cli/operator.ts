import type { Knex } from "knex";
import type { Config } from "../config.ts";
import { assertAnswers, connect } from "../database/connect.ts";
import { startEmbeddedPostgres } from "../database/embedded.ts";
import { migrateToLatest, schemaState } from "../database/migrate.ts";
import { ensurePartitions } from "../database/partitions.ts";
import { errors } from "../errors.ts";
import { openSeal, type Seal } from "../keys/seal.ts";
import { developmentKey } from "../lib/development-key.ts";
import type { Logger } from "../lib/log.ts";

/** A database as the settings name it, or the embedded one. */
export interface OpenDatabase {
  readonly url: string;
  readonly knex: Knex;
  /** Also stops the embedded server, unless another Lintel uses it. */
  readonly close: () => Promise<void>;
}

/** What a verb of the operator works with. */
export interface Operator {
  readonly knex: Knex;
  /** Opened when first asked for: most verbs touch nothing that is sealed. */
  readonly seal: () => Promise<Seal>;
  readonly close: () => Promise<void>;
}

/**
 * Connects to the database and looks at nothing in it.
 *
 * @throws AppError `database_unavailable` where it does not answer, or `embedded_database`.
 */
export async function openDatabase(config: Config, log: Logger): Promise<OpenDatabase> {
  const embedded =
    config.databaseUrl === undefined
      ? await startEmbeddedPostgres({ dataDir: config.dataDir, log })
      : undefined;
  const url = config.databaseUrl ?? embedded?.url ?? "";
  const knex = connect({ url, applicationName: "lintel cli", poolMax: 3 });
  const close = async (): Promise<void> => {
    await knex.destroy();
    await embedded?.stop();
  };
  try {
    await assertAnswers(knex);
  } catch (error) {
    await close();
    throw error;
  }
  return { url, knex, close };
}

/**
 * Opens what verbs need. In development the schema is brought up to date on the way, as a server does; in production
 * a schema that is not this version's is refused.
 *
 * @throws AppError `database_unavailable`, `schema_not_current`
 */
export async function openOperator(config: Config, log: Logger): Promise<Operator> {
  const { knex, close } = await openDatabase(config, log);
  try {
    const state = await schemaState(knex);
    if (state !== "current") {
      if (config.mode === "production") throw errors.schemaNotCurrent(state);
      await migrateToLatest(knex, log);
    }
    await ensurePartitions(knex, new Date());
  } catch (error) {
    await close();
    throw error;
  }
  let opened: Promise<Seal> | undefined;
  const seal = (): Promise<Seal> =>
    (opened ??= openSeal(knex, {
      encryptionKey: config.encryptionKey ?? developmentKey(config.dataDir),
    }));
  return { knex, seal, close };
}
