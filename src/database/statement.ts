import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import type { Knex } from "knex";
import pg, { type Client, type QueryResult } from "pg";

/** A statement that is written out. `:name` in its text stands for a binding. */
export interface Statement {
  /**
   * A constant: each text is kept as long as the process, and by every connection. Its columns are named, never `*`: what
   * was prepared fails once a newer version has added one.
   */
  readonly sql: string;
  readonly bindings: Readonly<Record<string, unknown>>;
  /**
   * What makes one statement of many: `:each` in the text stands for a row for each of them, `k`, with these bindings
   * as columns of these types, numbered by `k.n` from 1. `:name` of such a column stands for all its values, as an array:
   * `t.id = k.id AND t.id = ANY(:id)` reads no other rows, whichever of the two PostgreSQL begins with. What else is
   * bound is the same for all of them.
   */
  readonly each?: Readonly<Record<string, string>>;
}

/** A statement that is ready for the wire: nothing on this side can fail it any more. */
export interface Bound {
  readonly compiled: Compiled;
  readonly values: readonly unknown[];
}

/** A statement as PostgreSQL takes it. */
interface Compiled {
  /** The same for the same text, on every connection. */
  readonly name: string;
  readonly text: string;
  /** The binding of each `$n`, in order. */
  readonly bindings: readonly string[];
  /** How many of them are columns of `:each`, which come first; none where it is not about many. */
  readonly columns: number;
}

/** What of a connection pg's types do not say. */
interface Wire {
  readonly processID: number;
  pipeline: boolean;
  readonly connection: { readonly stream: Socket };
}

/** How pg writes a value out; its types do not say so. */
const { prepareValue } = (pg as unknown as { utils: { prepareValue(value: unknown): unknown } })
  .utils;

const known = new Map<string, Compiled>();
const direct = new WeakSet<object>();

/**
 * Looks whether a new connection reaches PostgreSQL itself, and if so has it take statements while others are still on
 * their way, and remember those that it has parsed. A pooling proxy tells its clients another process number; behind it
 * the next transaction may run on a connection that knows nothing of what this one prepared.
 */
export async function recognise(connection: Client): Promise<void> {
  const { rows } = await connection.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
  const wire = connection as unknown as Wire;
  if (rows[0]?.pid !== wire.processID) return;
  wire.pipeline = true;
  direct.add(connection);
}

/** Whether {@link recognise} found that nothing is in between. */
export function isDirect(connection: object): boolean {
  return direct.has(connection);
}

/**
 * Runs a statement that is written out. PostgreSQL parses and plans it once a connection, which for a look-up by key is
 * most of the work; where a pooling proxy is in between, each time.
 *
 * @throws what {@link bind} throws; the database's error.
 */
export async function runStatement<Row>(db: Knex, statement: Statement): Promise<Row[]> {
  return run<Row>(db, [bind(statement)]);
}

/** {@link runStatement} of one statement that is about many things at once. */
export async function run<Row>(db: Knex, bounds: Alike): Promise<Row[]> {
  const { client } = db;
  const connection: object = await client.acquireConnection();
  try {
    return (await send(client, connection, bounds)).rows as Row[];
  } finally {
    await client.releaseConnection(connection);
  }
}

/**
 * Readies a statement. What cannot be sent must fail here: of a statement that fails while it is sent, pg has already
 * sent half, and takes it for prepared ever after.
 *
 * @throws TypeError where a binding is undefined, or is an object that JSON cannot say.
 */
export function bind(statement: Statement): Bound {
  const compiled = compile(statement);
  const values = compiled.bindings.map((each) => prepareValue(valueOf(statement, each)));
  return { compiled, values };
}

/** Bound statements with one text; more than one only where that is about many things. */
export type Alike = readonly [Bound, ...Bound[]];

/**
 * Puts together what is about many things, of whichever units; the rest stays by itself. What a unit wrote after
 * something else stays behind it, for it may need that, as a code its grant.
 */
export function together(units: readonly (readonly Bound[])[]): Alike[] {
  const all: [Bound, ...Bound[]][] = [];
  for (const unit of units) {
    let last = 0;
    for (const bound of unit) {
      const { compiled } = bound;
      const isSame = ([first]: Alike, index: number) =>
        index >= last && compiled.columns > 0 && first.compiled === compiled;
      const place = all.findIndex(isSame);
      last = place < 0 ? all.push([bound]) - 1 : place;
      if (place >= 0) all[place]?.push(bound);
    }
  }
  return all;
}

/** Puts statements on the wire as one, at once; on a direct connection, whether or not the one before was answered. */
export async function send(
  client: Knex["client"],
  connection: object,
  bounds: Alike,
): Promise<QueryResult> {
  const [{ compiled, values: shared }] = bounds;
  const { name, text, columns } = compiled;
  const values = shared.map((value, index) =>
    index < columns ? bounds.map((each) => each.values[index]) : value,
  );
  return client.send(connection, isDirect(connection) ? { name, text, values } : { text, values });
}

/** Sends what `fn` puts on the wire before it first waits in one piece. */
export function inOnePiece<T>(connection: object, fn: () => T): T {
  const { stream } = (connection as unknown as Wire).connection;
  stream.cork();
  try {
    return fn();
  } finally {
    stream.uncork();
  }
}

/** Holds what is sent now until what follows from it without waiting is sent too. */
export function withNext(connection: object): void {
  const { stream } = (connection as unknown as Wire).connection;
  stream.cork();
  process.nextTick(() => stream.uncork());
}

/** Gives up a connection that does not answer: whatever waits on it fails, and the pool takes it back no more. */
export function sever(connection: object): void {
  (connection as unknown as Wire).connection.stream.destroy();
}

/** Each use of a binding has a number of its own, for its type is what stands around it. */
function compile({ sql, bindings: values, each = {} }: Statement): Compiled {
  const before = known.get(sql);
  if (before !== undefined) return before;
  const columns = Object.keys(each);
  const bindings = [...columns];
  // What is no binding is a cast, `::date`.
  const text = sql.replaceAll(/(?<!:):(\w+)/g, (match, binding: string) => {
    if (binding === "each") return rowsOf(each);
    if (columns.includes(binding)) return `${arrayOf(each, binding)}::${each[binding]}[]`;
    if (!Object.hasOwn(values, binding)) return match;
    bindings.push(binding);
    return `$${bindings.length}`;
  });
  const name = `lintel_${createHash("sha256").update(text).digest("base64url").slice(0, 16)}`;
  const made = { name, text, bindings, columns: columns.length };
  known.set(sql, made);
  return made;
}

/**
 * How many rows there will be is hidden from the planner, behind a subquery: it would find its plan for any number dearer
 * than one for just these, and make a new one each time.
 */
function rowsOf(each: Readonly<Record<string, string>>): string {
  const arrays = Object.keys(each).map((column) => arrayOf(each, column));
  return `unnest(${arrays.join(", ")}) WITH ORDINALITY AS k (${[...Object.keys(each), "n"].join(", ")})`;
}

function arrayOf(each: Readonly<Record<string, string>>, column: string): string {
  return `(SELECT $${Object.keys(each).indexOf(column) + 1}::${each[column]}[])`;
}

function valueOf({ bindings }: Statement, binding: string): unknown {
  const value = bindings[binding];
  if (value === undefined) throw new TypeError(`the binding ${binding} is undefined`);
  return value;
}
