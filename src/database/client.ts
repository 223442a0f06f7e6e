import { createRequire } from "node:module";
import type { Knex } from "knex";
import type { Client as PgClient } from "pg";
import { errors } from "../errors.ts";
import { isDirect, sever } from "./statement.ts";

/** knex's own dialect. It is meant to be extended, and its types do not say where it is. */
const PostgresClient = createRequire(import.meta.url)(
  "knex/lib/dialects/postgres/index.js",
) as new (config: Knex.Config) => Dialect;

/** A statement as the driver takes it; prepared where it has a name. */
type Prepared = { readonly name?: string; readonly text: string; readonly values: unknown[] };

interface Dialect {
  readonly config: Knex.Config;
  emit(event: "query", about: object): void;
  acquireConnection(): Promise<object>;
  query(connection: object, statement: unknown): Promise<unknown>;
}

/** What a pool knows of its limits; a transaction's copy of the client has it too. */
interface Limited {
  readonly userParams?: { readonly statementTimeout?: number };
}

/** Connections that PostgreSQL ended or would not open, and statements that it gave up: classes 08, 53 and 57 of SQLSTATE. */
const GONE = /^(?:08...|53300|57014|57P0[1-5]|25P0[34]|ECONNRESET|EPIPE)$/;
/** What pg says, without a code, of what was under way on a connection that is no more. */
const CUT_OFF = /Connection terminated|connection error and is not queryable/;

/** How much longer than the database an answer is waited for. */
const GRACE = 1.25;

/**
 * Reaches PostgreSQL, and where a limit is set says `busy` when that cannot be done in time: no connection is free or can
 * be opened, a connection was lost, or a statement took too long.
 */
export class Client extends PostgresClient {
  override async acquireConnection(): Promise<object> {
    try {
      return await super.acquireConnection();
    } catch (error) {
      throw timeoutOf(this.config) === undefined ? error : errors.busy(1, error);
    }
  }

  override query(connection: object, statement: unknown): Promise<unknown> {
    return within(timeoutOf(this.config), connection, () => super.query(connection, statement));
  }

  /**
   * Puts a statement on the wire as it is: knex would look for bindings in its text each time, and write them into what
   * an error says. With a callback of ours, because all that belongs to a statement outlives V8's young collections where
   * pg makes the promise: docs/performance.md, "What each lever is worth".
   */
  send(connection: object, statement: Prepared): Promise<unknown> {
    this.emit("query", { sql: statement.text, bindings: statement.values });
    const ask = () =>
      new Promise<unknown>((resolve, reject) => {
        (connection as PgClient).query(statement, (error: Error | null, answer: unknown) => {
          if (error === null) resolve(answer);
          else reject(error);
        });
      });
    return within(timeoutOf(this.config), connection, ask);
  }
}

/** An answer that PostgreSQL gives up by itself, unless it is no longer there or the way to it is not. */
async function within<T>(
  timeout: number | undefined,
  connection: object,
  ask: () => Promise<T>,
): Promise<T> {
  if (timeout === undefined) return ask();
  const watchdog = setTimeout(sever, timeout * GRACE, connection);
  try {
    return await ask();
  } catch (error) {
    return explain(error);
  } finally {
    clearTimeout(watchdog);
  }
}

/** Milliseconds that one statement, and a transaction between two, may take. */
function timeoutOf(config: Knex.Config): number | undefined {
  return (config as Limited).userParams?.statementTimeout;
}

/**
 * A server looks for keys, and prepares how: a plan that was made while a table, or the partition of a new day, was nearly
 * empty must not read all of it when it is full. Compiling queries pays for long ones only.
 */
const KEYS_ONLY =
  "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/** The settings for that, where nothing is in between that would lend the connection to others. */
export async function limit(
  connection: object & { query(sql: string): Promise<unknown> },
  timeout: number | undefined,
): Promise<void> {
  if (timeout === undefined || !isDirect(connection)) return;
  await connection.query(`${settings("SET", timeout)}; ${KEYS_ONLY}`);
}

/** And for the length of one transaction. */
export function beginWithin(timeout: number): string {
  return `BEGIN; ${settings("SET LOCAL", timeout)}`;
}

function settings(set: string, timeout: number): string {
  return `${set} statement_timeout = ${timeout}; ${set} idle_in_transaction_session_timeout = ${timeout}`;
}

function explain(error: unknown): never {
  const { code = "", message = "" } = error as { code?: string; message?: string };
  throw GONE.test(code) || (code === "" && CUT_OFF.test(message)) ? errors.busy(1, error) : error;
}
