import type { Knex } from "knex";
import { errors } from "../errors.ts";
import { noLongerThan } from "../lib/no-longer-than.ts";
import {
  inOnePiece,
  isDirect,
  send,
  sever,
  together,
  type Alike,
  type Bound,
} from "./statement.ts";

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

/** A lock that did not come in time, or that could never have come: `lock_not_available`, `deadlock_detected`. */
const NO_LOCK: ReadonlySet<unknown> = new Set(["55P03", "40P01"]);

/** What one unit of work writes. */
export interface Writes {
  /** What decides whether the rest is written: a statement about many that answers `k.n` where it did what it says. */
  readonly decision?: Bound | undefined;
  readonly statements: readonly Bound[];
}

/** `lost` where the decision did nothing, and so nothing was written. */
export type Fate = "committed" | "lost";

interface Member extends Writes {
  readonly fate: PromiseWithResolvers<Fate>;
}

const groups = new WeakMap<Knex, Group>();

/**
 * Writes what belongs together, all of it or nothing, and resolves when it is committed. Units of work that end while
 * others are being written go together, in one transaction with one flush of the log, and those of their statements that
 * are about many as one. Where the database undoes that, each is tried alone, so that nobody's mistake is another's
 * failure; where nobody knows whether it did, nothing is written again.
 *
 * @throws AppError `busy` where a lock or an answer did not come in time, after which the writes may have been committed
 *   or not; the database's error.
 */
export function writeInGroup(knex: Knex, writes: Writes): Promise<Fate> {
  let group = groups.get(knex);
  if (group === undefined) {
    group = new Group(knex);
    groups.set(knex, group);
  }
  return group.write(writes);
}

class Group {
  readonly #knex: Knex;
  #waiting: Member[] = [];
  #isWriting = false;

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  write(writes: Writes): Promise<Fate> {
    const fate = Promise.withResolvers<Fate>();
    this.#waiting.push({ ...writes, fate });
    if (!this.#isWriting) void this.#writeAll();
    return fate.promise;
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

  /** Tells every member its fate; never throws. */
  async #write(members: readonly Member[]): Promise<void> {
    try {
      const isAlone = members.length === 1;
      const outcome = await this.#transact(members, isAlone ? LOCK_TIMEOUT : PATIENCE);
      if ("failure" in outcome && !isAlone) {
        await Promise.all(members.map((member) => this.#write([member])));
        return;
      }
      for (const { decision, fate } of members) {
        if ("failure" in outcome) fate.reject(explain(outcome.failure));
        else fate.resolve(isWon(decision, outcome.won) ? "committed" : "lost");
      }
    } catch (error) {
      for (const { fate } of members) fate.reject(error);
    }
  }

  async #transact(members: readonly Member[], lockTimeout: number): Promise<Outcome> {
    const { client } = this.#knex;
    const connection: object = await client.acquireConnection();
    let isLate = false;
    const watchdog = setTimeout(() => {
      isLate = true;
      sever(connection);
    }, TIMEOUT);
    const begin = `BEGIN; SET LOCAL lock_timeout = ${lockTimeout}`;
    try {
      return await transact(new Wire(client, connection), begin, members);
    } catch (error) {
      throw isLate ? errors.busy(1, error) : error;
    } finally {
      clearTimeout(watchdog);
      await client.releaseConnection(connection);
    }
  }
}

/** What became of a transaction: the decisions that did what they say, or why the database has undone it. */
type Outcome = { readonly won: ReadonlySet<Bound> } | { readonly failure: unknown };

/**
 * BEGIN, what decides, what is to be written by those whose decision holds, and COMMIT; all in one piece where nothing
 * is to be decided.
 *
 * @throws what BEGIN or COMMIT threw; nobody knows then what became of the statements.
 */
async function transact(wire: Wire, begin: string, members: readonly Member[]): Promise<Outcome> {
  const won = new Set<Bound>();
  const decisions = together(
    members.map(({ decision }) => (decision === undefined ? [] : [decision])),
  );
  const decide = decisions.map((alike) => async () => {
    for (const { n } of (await wire.send(alike)).rows as { n: number }[]) {
      const winner = alike[n - 1];
      if (winner !== undefined) won.add(winner);
    }
  });
  const open = () => wire.command(begin);
  const [begun, ...decided] = decide.length > 0 ? await wire.inOrder([open, ...decide]) : [];
  if (begun?.status === "rejected") {
    // It may have begun all the same, and whoever has the connection next must not find it so.
    await wire.command("ROLLBACK").catch(() => undefined);
    throw begun.reason;
  }

  const winners = members.filter(({ decision }) => isWon(decision, won));
  const write = together(winners.map(({ statements }) => statements)).map(
    (alike) => async () => void (await wire.send(alike)),
  );
  let command = "";
  const close = async () => {
    command = await wire.command("COMMIT");
  };
  const isOpen = begun !== undefined;
  const answers = await wire.inOrder(isOpen ? write : [open, ...write], close);
  throwRejected(answers.at(-1));
  if (!isOpen) throwRejected(answers[0]);
  if (command === "COMMIT") return { won };
  const failure = [...decided, ...answers].find(isRejected);
  return { failure: failure?.reason ?? new Error("The database rolled it back.") };
}

function isWon(decision: Bound | undefined, won: ReadonlySet<Bound>): boolean {
  return decision === undefined || won.has(decision);
}

/** A connection, as it takes statements: at once, or one at a time. */
class Wire {
  readonly #client: Knex["client"];
  readonly #connection: object;

  constructor(client: Knex["client"], connection: object) {
    this.#client = client;
    this.#connection = connection;
  }

  send(alike: Alike): ReturnType<typeof send> {
    return send(this.#client, this.#connection, alike);
  }

  /** What PostgreSQL says that it did: it answers the COMMIT of a failed transaction with a rollback. */
  async command(text: string): Promise<string> {
    const answer: { response: { command: string } } = await this.#client.query(
      this.#connection,
      text,
    );
    return answer.response.command;
  }

  /** Does each of `steps` until one fails, and then in any case `last`. */
  async inOrder(
    steps: readonly (() => Promise<unknown>)[],
    last?: () => Promise<unknown>,
  ): Promise<PromiseSettledResult<unknown>[]> {
    if (isDirect(this.#connection))
      return Promise.allSettled(
        // PostgreSQL itself does nothing of what comes after a failure.
        inOnePiece(this.#connection, () =>
          [...steps, ...(last ? [last] : [])].map((step) => step()),
        ),
      );
    const answers: PromiseSettledResult<unknown>[] = [];
    for (const step of steps) {
      answers.push(...(await Promise.allSettled([step()])));
      if (answers.some(isRejected)) break;
    }
    return last === undefined ? answers : [...answers, ...(await Promise.allSettled([last()]))];
  }
}

function isRejected(answer: PromiseSettledResult<unknown>): answer is PromiseRejectedResult {
  return answer.status === "rejected";
}

function throwRejected(answer: PromiseSettledResult<unknown> | undefined): void {
  if (answer?.status === "rejected") throw answer.reason;
}

/** Whoever waited for a lock in vain may try again. */
function explain(reason: unknown): unknown {
  const { code } = reason as { code?: unknown };
  return NO_LOCK.has(code) ? errors.busy(1, reason) : reason;
}
