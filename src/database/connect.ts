import { callbackify } from "node:util";
import knex from "knex";
import type { Knex } from "knex";
import { knexSnakeCaseMappers } from "objection";
import { types as pgTypes, type Client as PgClient } from "pg";

import { AppError, errors } from "../errors.ts";
import type { Logger } from "../lib/log.ts";
import { beginWithin, Client, limit } from "./client.ts";
import { isDirect, recognise, withNext } from "./statement.ts";

const TEXT = 25;
const DATE = 1082;
const DATE_ARRAY = 1182;
const TEXT_ARRAY = 1009;

/** How column values reach JavaScript. A `date` has no time zone, so it stays the text `YYYY-MM-DD`. */
const types: Knex.PgCustomTypesConfig = {
  getTypeParser: (oid, format) => {
    const byDefault = pgTypes.getTypeParser as Knex.PgGetTypeParser;
    if (oid === DATE) return byDefault(TEXT, format);
    return byDefault(oid === DATE_ARRAY ? TEXT_ARRAY : oid, format);
  },
};

/**
 * A pool of connections. Connections open when needed and carry no session state (no SET, no LISTEN, no start-up
 * parameter but `application_name`), so everything works behind a transaction-pooling pgbouncer; statements are prepared,
 * and limited for the length of a session, only where nothing of the kind is in between. Nobody waits longer than 5 s
 * for a connection. `bigint` and `numeric` arrive as strings.
 *
 * @param options.applicationName what `pg_stat_activity` shows.
 * @param options.poolMax most connections at a time, 10 unless said. A unit of work holds one from its first write.
 * @param options.statementTimeout most milliseconds that a statement may take, and a transaction between two of them, so
 *   that nobody holds a connection for ever. Behind a pooling proxy it holds in transactions. Where it is set, what
 *   takes longer, and not getting or losing a connection, is an AppError `temporarily_unavailable`.
 * @param options.log where knex tells about connections that broke; without it only the failing call does.
 */
export function connect(options: {
  url: string;
  applicationName: string;
  poolMax?: number;
  statementTimeout?: number;
  log?: Logger;
}): Knex {
  const { log, statementTimeout } = options;
  const pool = knex({
    client: Client as unknown as typeof Knex.Client,
    connection: {
      connectionString: options.url,
      application_name: options.applicationName,
      connectionTimeoutMillis: 5000,
      keepAlive: true,
      types,
    },
    acquireConnectionTimeout: 5000,
    pool: {
      min: 0,
      max: options.poolMax ?? 10,
      afterCreate: callbackify(async (connection: PgClient) => {
        await recognise(connection);
        await limit(connection, statementTimeout);
      }),
    },
    ...(statementTimeout === undefined ? {} : { userParams: { statementTimeout } }),
    // Identifiers are camelCase in queries and rows, snake_case in the database; written-out SQL stays as it is.
    ...knexSnakeCaseMappers(),
    log: {
      warn: (detail: unknown) => log?.warn({ detail }, "knex"),
      error: (detail: unknown) => log?.error({ detail }, "knex"),
      debug: (detail: unknown) => log?.debug({ detail }, "knex"),
      deprecate: (method: string, alternative: string) =>
        log?.warn({ method, alternative }, "knex deprecation"),
    },
  });
  beginWithFirstStatement(pool, statementTimeout);
  return pool;
}

/**
 * Asks the database for as little as there is.
 *
 * @throws AppError `database_unavailable`, without the address, which may hold a password.
 */
export async function assertAnswers(db: Knex): Promise<void> {
  try {
    await db.raw("SELECT 1");
  } catch (error) {
    const cause = error instanceof AppError ? error.cause : error;
    const { message, code } = cause as NodeJS.ErrnoException;
    throw errors.databaseUnavailable(message || code || "no answer", cause);
  }
}

interface Transaction {
  begin(connection: object): Promise<unknown>;
  query(connection: object, sql: string): Promise<unknown>;
}

/**
 * The BEGIN of a transaction goes with its first statement, where knex would wait for an answer first. Where it fails
 * the connection is broken, and the first statement tells.
 */
function beginWithFirstStatement({ client }: Knex, statementTimeout: number | undefined): void {
  const { transaction: make } = client;
  // Not a closure over the client: migrations run on a copy of it, whose settings they change.
  client.transaction = function transact(this: unknown, ...options: unknown[]): Transaction {
    const transaction: Transaction = Reflect.apply(make, this, options);
    const begin = transaction.begin.bind(transaction);
    transaction.begin = async (connection) => {
      if (!isDirect(connection)) {
        return statementTimeout === undefined
          ? begin(connection)
          : transaction.query(connection, beginWithin(statementTimeout));
      }
      withNext(connection);
      void begin(connection);
      return undefined;
    };
    return transaction;
  };
}
