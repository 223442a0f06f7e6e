import { AsyncLocalStorage } from "node:async_hooks";

import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";
import { writeInGroup } from "./group.ts";
import {
  bind,
  inOnePiece,
  isDirect,
  runStatement,
  send,
  type Bound,
  type Statement,
} from "./statement.ts";

interface UnitOfWork {
  readonly knex: Knex;
  /** Set by the first writer, so that everyone after it waits for the same transaction. */
  opening: Promise<Knex.Transaction> | undefined;
  /** Set once the transaction is open, for readers, which never wait. */
  open: Knex.Transaction | undefined;
  /** Writes that go with the commit. */
  readonly deferred: Bound[];
  /** What outlives its unit, such as a listener nobody awaited, no longer belongs to it. */
  ended: boolean;
  readonly afterCommit: (() => unknown)[];
}

/** Which unit the code that runs belongs to; the one thing this room keeps outside of arguments. */
const units = new AsyncLocalStorage<UnitOfWork>();

function currentUnit(): UnitOfWork | undefined {
  const unit = units.getStore();
  return unit?.ended === true ? undefined : unit;
}

function unitOf(knex: Knex): UnitOfWork | undefined {
  const unit = currentUnit();
  return unit?.knex === knex ? unit : undefined;
}

/**
 * Gives everything `fn` awaits one transaction, opened by the first `writer()` and not before: a request that
 * only reads, or waits for a client's `jwks_uri`, holds no connection. When `fn` has resolved and `shouldCommit`
 * says so, all its writes become visible together; otherwise, or when `fn` throws, none does (R-03: a failure in
 * the middle of a code exchange leaves the code unused).
 *
 * Inside another unit of the same database it joins that one, whose end decides. Within a unit, queries go
 * through `reader()` and `writer()` only: one on the pool itself would wait for a second connection.
 *
 * @throws whatever `fn` throws; the database's error when the commit fails; an Error when a statement failed and
 *   `fn` went on as if nothing had happened, because PostgreSQL answers the COMMIT of a failed transaction with a
 *   rollback. A statement that may fail belongs in a savepoint (`db.transaction()`).
 */
export async function runInUnitOfWork<T>(
  knex: Knex,
  fn: () => Promise<T>,
  shouldCommit: (result: T) => boolean = () => true,
): Promise<T> {
  if (unitOf(knex) !== undefined) return fn();
  const unit: UnitOfWork = {
    knex,
    opening: undefined,
    open: undefined,
    deferred: [],
    ended: false,
    afterCommit: [],
  };
  let result: T;
  let committed = false;
  try {
    result = await units.run(unit, fn);
    if (shouldCommit(result)) {
      await writeEarly(unit);
      committed = true;
    }
  } finally {
    unit.ended = true;
    if (!committed) await rollBack(unit);
  }
  if (committed) {
    await commit(unit);
    for (const hook of unit.afterCommit) await runHook(hook);
  }
  return result;
}

/** Where to read: the unit's transaction once it is open, so that it sees its own writes; before that, the pool. */
export function reader(knex: Knex): TransactionOrKnex {
  return unitOf(knex)?.open ?? knex;
}

/** Where to write: the unit's transaction, opened now if this is its first write; outside a unit, the pool. */
export async function writer(knex: Knex): Promise<TransactionOrKnex> {
  const unit = unitOf(knex);
  if (unit === undefined) return knex;
  unit.opening ??= begin(unit);
  return unit.opening;
}

/**
 * Writes at the end of the unit, with its commit, what nobody in it asks about before. A unit that writes in no other
 * way needs no transaction of its own: its writes go together with those of other units, and it ends when they are
 * committed. Outside a unit it is written at once.
 *
 * @throws what `bind` throws, now rather than when the unit ends: what cannot be sent must not meet a COMMIT.
 */
export async function defer(knex: Knex, statement: Statement): Promise<void> {
  const unit = unitOf(knex);
  if (unit === undefined) await runStatement(knex, statement);
  else unit.deferred.push(bind(statement));
}

/**
 * Runs `fn` after the unit's commit, never after a rollback; outside a unit at once. A failure in it cannot undo
 * the commit, so it is only reported, as a process warning.
 */
export function onCommit(fn: () => unknown): void {
  const unit = currentUnit();
  if (unit === undefined) void runHook(fn);
  else unit.afterCommit.push(fn);
}

async function begin(unit: UnitOfWork): Promise<Knex.Transaction> {
  const transaction = await unit.knex.transaction();
  unit.open = transaction;
  return transaction;
}

/** Behind a pooling proxy a connection takes one statement at a time, so what was deferred comes before the COMMIT. */
async function writeEarly({ opening, deferred }: UnitOfWork): Promise<void> {
  const transaction = await opening;
  if (transaction === undefined) return;
  const { client } = transaction;
  const connection: object = await client.acquireConnection();
  if (isDirect(connection)) return;
  for (const statement of deferred.splice(0)) await send(client, connection, statement);
}

async function commit({ knex, opening, deferred }: UnitOfWork): Promise<void> {
  const transaction = await opening;
  if (transaction !== undefined) await end(transaction, deferred);
  else if (deferred.length > 0) await writeInGroup(knex, deferred);
}

async function end(transaction: Knex.Transaction, deferred: readonly Bound[]): Promise<void> {
  const { client } = transaction;
  const connection: object = await client.acquireConnection();
  const [[answer]] = await inOnePiece(connection, () => {
    const written = deferred.map((statement) => send(client, connection, statement));
    // knex tells a failed COMMIT through executionPromise alone.
    const ended = Promise.all([
      transaction.commit() as unknown as Promise<{ response?: { command?: string } } | undefined>,
      transaction.executionPromise,
    ]);
    return Promise.all([ended, ...written]);
  });
  if (answer?.response?.command !== "COMMIT") {
    throw new Error("A statement of this unit of work failed, so the database rolled it back.");
  }
}

async function rollBack(unit: UnitOfWork): Promise<void> {
  // What failed to open, or lost its connection, has nothing left to undo; the first error is the one to tell.
  const transaction = await unit.opening?.catch(() => undefined);
  if (transaction === undefined) return;
  await Promise.allSettled([transaction.rollback(), transaction.executionPromise]);
}

async function runHook(hook: () => unknown): Promise<void> {
  try {
    await hook();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}
