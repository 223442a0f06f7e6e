import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";

import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";
import { writeInGroup, type Fate } from "./group.ts";
import {
  bind,
  inOnePiece,
  isDirect,
  runStatement,
  send,
  together,
  type Bound,
  type Statement,
} from "./statement.ts";

/** A write that decides whether the unit may end as it did. */
interface Decision {
  /** Read when it is written: until then its bindings may change. */
  readonly statement: Statement;
  readonly otherwise: () => Promise<void>;
  /** Runs a function as if it were called where the decision was; `snapshot()` makes the request outlive young collections. */
  readonly there: AsyncResource;
}

interface UnitOfWork {
  readonly knex: Knex;
  /** Set by the first writer, so that everyone after it waits for the same transaction. */
  opening: Promise<Knex.Transaction> | undefined;
  /** Set once the transaction is open, for readers, which never wait. */
  open: Knex.Transaction | undefined;
  /** What is decided with the commit. */
  decision: Decision | undefined;
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
 * @param onLost answers instead of `fn` where {@link decide} found too late that somebody was faster, and what it was
 *   told to do then threw. What was written then is committed if `shouldCommit` says so; what `fn` deferred is not.
 * @throws whatever `fn` throws; the database's error when the commit fails; an Error when a statement failed and
 *   `fn` went on as if nothing had happened, because PostgreSQL answers the COMMIT of a failed transaction with a
 *   rollback. A statement that may fail belongs in a savepoint (`db.transaction()`).
 */
export async function runInUnitOfWork<T>(
  knex: Knex,
  fn: () => Promise<T>,
  shouldCommit: (result: T) => boolean = () => true,
  onLost?: (error: unknown) => Promise<T>,
): Promise<T> {
  if (unitOf(knex) !== undefined) return fn();
  const unit: UnitOfWork = {
    knex,
    opening: undefined,
    open: undefined,
    decision: undefined,
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
  if (!committed) return result;
  if ((await commit(unit)) === "lost") return endAgain(unit, { result, shouldCommit, onLost });
  for (const hook of unit.afterCommit) await runHook(hook);
  return result;
}

/** Ends a unit whose decision did not hold: does what it was told to do then, and what it deferred if that lets it. */
async function endAgain<T>(
  { knex, decision, deferred, afterCommit }: UnitOfWork,
  ending: {
    readonly result: T;
    readonly shouldCommit: (result: T) => boolean;
    readonly onLost: ((error: unknown) => Promise<T>) | undefined;
  },
): Promise<T> {
  if (decision === undefined) throw new Error("what was not decided cannot be lost");
  const again = async (): Promise<T> => {
    try {
      await decision.otherwise();
    } catch (error) {
      if (ending.onLost === undefined) throw error;
      return ending.onLost(error);
    }
    const unit = currentUnit();
    unit?.deferred.push(...deferred);
    unit?.afterCommit.push(...afterCommit);
    return ending.result;
  };
  return decision.there.runInAsyncScope(() => runInUnitOfWork(knex, again, ending.shouldCommit));
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
  const transaction = await unit.opening;
  const { decision } = unit;
  if (decision !== undefined) {
    unit.decision = undefined;
    const rows = await runStatement(transaction, decision.statement);
    if (rows.length === 0) await decision.otherwise();
  }
  return transaction;
}

/**
 * Writes what decides whether the unit may end as it is about to: with its commit and together with those of other
 * units, if it writes in no other way, and else at once. Where the statement did nothing, because somebody was faster,
 * `otherwise` has the last word: if it throws, nothing that was deferred is written.
 *
 * @param statement about many, of which it answers `k.n` for each that it did something for.
 * @throws what `otherwise` throws, where it is decided at once.
 */
export async function decide(
  knex: Knex,
  statement: Statement,
  otherwise: () => Promise<void>,
): Promise<void> {
  const unit = unitOf(knex);
  if (unit !== undefined && unit.opening === undefined && unit.decision === undefined) {
    unit.decision = { statement, otherwise, there: new AsyncResource("decision") };
    return;
  }
  const rows = await runStatement(await writer(knex), statement);
  if (rows.length === 0) await otherwise();
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

/** Whether what {@link decide} was told is still to be written, and so may change. */
export function isUndecided(knex: Knex, statement: Statement): boolean {
  return unitOf(knex)?.decision?.statement === statement;
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
  for (const alike of together([deferred.splice(0)])) await send(client, connection, alike);
}

async function commit({ knex, opening, decision, deferred }: UnitOfWork): Promise<Fate> {
  const transaction = await opening;
  if (transaction !== undefined) return end(transaction, deferred);
  if (decision === undefined && deferred.length === 0) return "committed";
  return writeInGroup(knex, {
    decision: decision && bind(decision.statement),
    statements: deferred,
  });
}

async function end(transaction: Knex.Transaction, deferred: readonly Bound[]): Promise<Fate> {
  const { client } = transaction;
  const connection: object = await client.acquireConnection();
  const [[answer]] = await inOnePiece(connection, () => {
    const written = together([deferred]).map((alike) => send(client, connection, alike));
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
  return "committed";
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
