import type { Knex } from "knex";
import { errors } from "../errors.ts";
import { inOnePiece, isDirect, send, sever, type Bound } from "./statement.ts";

/** The most units of work that one transaction carries. */
const MOST = 64;

/**
 * How long others wait for a lock that one of them is refused, and the next for those before, in milliseconds. Well
 * below PostgreSQL's `deadlock_timeout`: units that would not wait for each other alone must not do so in a group.
 */
const PATIENCE = 200;

/** How long a unit waits for a lock alone, in milliseconds. */
const LOCK_TIMEOUT = 3000;

/** After how many milliseconds a connection that does not answer is given up: sooner than others give up the pool. */
const TIMEOUT = 4000;

const LOCK_NOT_AVAILABLE = "55P03";

/** The writes of one unit of work, and whoever waits for them. */
interface Member {
  readonly statements: readonly Bound[];
  readonly settle: PromiseWithResolvers<void>;
}

const groups = new WeakMap<Knex, Group>();

/**
 * Writes what belongs together, all of it or nothing, and resolves when it is committed. Units of work that end while
 * others are being written go together, in one transaction with one flush of the log. Where the database undoes that,
 * each is tried alone, so that nobody's mistake is another's failure; where nobody knows whether it did, nothing is
 * written again.
 *
 * @throws AppError `busy` where a lock or an answer did not come in time, after which the writes may have been committed
 *   or not; the database's error.
 */
export function writeInGroup(knex: Knex, statements: readonly Bound[]): Promise<void> {
  let group = groups.get(knex);
  if (group === undefined) {
    group = new Group(knex);
    groups.set(knex, group);
  }
  return group.write(statements);
}

class Group {
  readonly #knex: Knex;
  #waiting: Member[] = [];
  #isWriting = false;

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  write(statements: readonly Bound[]): Promise<void> {
    const settle = Promise.withResolvers<void>();
    this.#waiting.push({ statements, settle });
    if (!this.#isWriting) void this.#writeAll();
    return settle.promise;
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      const members = this.#waiting.slice(0, MOST);
      this.#waiting = this.#waiting.slice(MOST);
      await noLongerThan(PATIENCE, this.#write(members));
    }
    this.#isWriting = false;
  }

  /** Settles every member; never throws. */
  async #write(members: readonly Member[]): Promise<void> {
    try {
      const { isCommitted, answers } = await this.#commit(
        members.flatMap(({ statements }) => statements),
        members.length > 1 ? PATIENCE : LOCK_TIMEOUT,
      );
      if (!isCommitted && members.length > 1) {
        await Promise.all(members.map((member) => this.#write([member])));
        return;
      }
      for (const { statements, settle } of members) {
        const failure = answers.splice(0, statements.length).find(isRejected);
        if (failure !== undefined) settle.reject(explain(failure.reason));
        else if (isCommitted) settle.resolve();
        else settle.reject(new Error("The database rolled it back."));
      }
    } catch (error) {
      for (const { settle } of members) settle.reject(error);
    }
  }

  async #commit(statements: readonly Bound[], lockTimeout: number): Promise<Outcome> {
    const { client } = this.#knex;
    const connection: object = await client.acquireConnection();
    let isLate = false;
    const watchdog = setTimeout(() => {
      isLate = true;
      sever(connection);
    }, TIMEOUT);
    const begin = `BEGIN; SET LOCAL lock_timeout = ${lockTimeout}`;
    try {
      return isDirect(connection)
        ? await atOnce(client, connection, [begin, statements])
        : await oneByOne(client, connection, [begin, statements]);
    } catch (error) {
      throw isLate ? errors.busy(1, error) : error;
    } finally {
      clearTimeout(watchdog);
      await client.releaseConnection(connection);
    }
  }
}

/** What became of a transaction. */
interface Outcome {
  /** Otherwise the database has undone it. */
  readonly isCommitted: boolean;
  /** What each statement was answered. */
  readonly answers: PromiseSettledResult<unknown>[];
}

/**
 * Sends BEGIN, the statements and COMMIT together.
 *
 * @throws what BEGIN or COMMIT threw; nobody knows then what became of the statements.
 */
async function atOnce(
  client: Knex["client"],
  connection: object,
  [begin, statements]: readonly [string, readonly Bound[]],
): Promise<Outcome> {
  const [begun, ended, ...answers] = await Promise.allSettled(
    inOnePiece(connection, () => {
      const first = client.query(connection, begin);
      const written = statements.map((statement) => send(client, connection, statement));
      return [first, commandOf(client.query(connection, "COMMIT")), ...written];
    }),
  );
  for (const each of [begun, ended]) if (each?.status === "rejected") throw each.reason;
  return { isCommitted: ended?.status === "fulfilled" && ended.value === "COMMIT", answers };
}

/** As {@link atOnce}, where a connection takes one statement at a time. */
async function oneByOne(
  client: Knex["client"],
  connection: object,
  [begin, statements]: readonly [string, readonly Bound[]],
): Promise<Outcome> {
  const answers: PromiseSettledResult<unknown>[] = [];
  await client.query(connection, begin);
  for (const statement of statements) {
    answers.push(...(await Promise.allSettled([send(client, connection, statement)])));
    if (answers.some(isRejected)) break;
  }
  return {
    isCommitted: (await commandOf(client.query(connection, "COMMIT"))) === "COMMIT",
    answers,
  };
}

/** What PostgreSQL says that it did: it answers the COMMIT of a failed transaction with a rollback. */
async function commandOf(answer: Promise<{ response: { command: string } }>): Promise<string> {
  return (await answer).response.command;
}

function isRejected(answer: PromiseSettledResult<unknown>): answer is PromiseRejectedResult {
  return answer.status === "rejected";
}

/** Whoever waited for a lock in vain may try again. */
function explain(reason: unknown): unknown {
  const { code } = reason as { code?: unknown };
  return code === LOCK_NOT_AVAILABLE ? errors.busy(1, reason) : reason;
}

/** Resolves with `work`, or after so many milliseconds without it. */
async function noLongerThan(milliseconds: number, work: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
