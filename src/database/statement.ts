import { createHash } from "node:crypto";
import type { Knex } from "knex";
import type { Client } from "pg";

/** A written-out statement as PostgreSQL takes it. */
interface Compiled {
  /** The same for the same text, on every connection. */
  readonly name: string;
  readonly text: string;
  /** The binding of each `$n`, in order. */
  readonly bindings: readonly string[];
}

const compiled = new Map<string, Compiled>();

/** Connections that reach PostgreSQL itself, and with it what they prepared a moment ago. */
const direct = new WeakSet<object>();

/**
 * Notes whether a new connection reaches PostgreSQL itself. A pooling proxy gives its clients a process number of its
 * own, and behind it the next transaction may run on a connection that knows nothing of what this one prepared.
 */
export async function recognise(connection: Client): Promise<void> {
  const { rows } = await connection.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
  const { processID } = connection as { processID?: number };
  if (rows[0]?.pid === processID) direct.add(connection);
}

/**
 * Runs a statement that is written out. `:name` in its text stands for a binding. PostgreSQL parses and plans it once
 * a connection, which for a look-up by key is most of the work; where a pooling proxy is in between, each time.
 *
 * @param sql a constant: each text is kept as long as the process, and by every connection.
 * @throws TypeError where a binding is undefined; the database's error.
 */
export async function runStatement<Row>(
  db: Knex,
  sql: string,
  values: Readonly<Record<string, unknown>>,
): Promise<Row[]> {
  const { name, text, bindings } = compile(sql, values);
  const { client } = db;
  const connection: object = await client.acquireConnection();
  try {
    const { response } = await client.query(connection, {
      sql: text,
      bindings: bindings.map((binding) => valueOf(values, binding)),
      ...(direct.has(connection) ? { options: { name } } : {}),
    });
    return response.rows;
  } finally {
    await client.releaseConnection(connection);
  }
}

/** Each use of a binding has a number of its own, for its type is what stands around it. */
function compile(sql: string, values: Readonly<Record<string, unknown>>): Compiled {
  const known = compiled.get(sql);
  if (known !== undefined) return known;
  const bindings: string[] = [];
  // What is no binding is a cast, `::date`.
  const text = sql.replaceAll(/(?<!:):(\w+)/g, (match, binding: string) => {
    if (!Object.hasOwn(values, binding)) return match;
    bindings.push(binding);
    return `$${bindings.length}`;
  });
  const name = `lintel_${createHash("sha256").update(text).digest("base64url").slice(0, 16)}`;
  const made = { name, text, bindings };
  compiled.set(sql, made);
  return made;
}

function valueOf(values: Readonly<Record<string, unknown>>, binding: string): unknown {
  const value = values[binding];
  if (value === undefined) throw new TypeError(`the binding ${binding} is undefined`);
  return value;
}
