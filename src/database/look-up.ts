import type { Knex } from "knex";
import { AppError } from "../errors.ts";
import { noLongerThan } from "../lib/no-longer-than.ts";
import { bind, run, type Alike, type Bound, type Statement } from "./statement.ts";

/** The most questions that one statement asks. */
const MOST = 64;
/** Milliseconds after which those who wait stop waiting for an answer to those before them. */
const PATIENCE = 200;

/** A look-up by key, written out, of which many can be one statement. */
export type LookUp = Required<Pick<Statement, "sql" | "each">>;

/**
 * A look-up of one row, by keys that `sql` calls `k.name`. Each key is looked up by itself, whatever PostgreSQL makes of
 * how many there may be.
 *
 * @param each the types of the keys by their names; other bindings, `:name`, are the same for whoever asks at one time.
 */
export function lookUp(sql: string, each: Readonly<Record<string, string>>): LookUp {
  return { sql: `SELECT k.n::int, t.* FROM :each CROSS JOIN LATERAL (${sql} LIMIT 1) t`, each };
}

interface Question {
  readonly bound: Bound;
  readonly answer: PromiseWithResolvers<object | undefined>;
}

const queues = new WeakMap<Knex, Map<string, Queue>>();

/**
 * Answers a look-up. Those of different requests that come while the same is being asked go together, as one
 * statement, which starts after each of them was asked; one in a transaction is that transaction's own. Where a statement of
 * many fails, each is asked alone.
 *
 * @throws what `bind` throws; the database's error.
 */
export async function find<Row extends object>(
  db: Knex,
  { sql, each }: LookUp,
  bindings: Statement["bindings"],
): Promise<Row | undefined> {
  const bound = bind({ sql, each, bindings });
  if (db.client.transacting === true) return (await ask(db, [bound]))[0] as Row | undefined;
  const known = queues.get(db) ?? new Map<string, Queue>();
  queues.set(db, known);
  const queue = known.get(sql) ?? new Queue(db);
  known.set(sql, queue);
  return queue.ask(bound) as Promise<Row | undefined>;
}

/** What was found for each, in their order. */
async function ask(db: Knex, bounds: Alike): Promise<(object | undefined)[]> {
  const found: (object | undefined)[] = [];
  for (const { n, ...row } of await run<{ n: number }>(db, bounds)) found[n - 1] = row;
  return found;
}

class Queue {
  readonly #knex: Knex;
  #waiting: Question[] = [];
  #isAsking = false;

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  ask(bound: Bound): Promise<object | undefined> {
    const answer = Promise.withResolvers<object | undefined>();
    this.#waiting.push({ bound, answer });
    if (!this.#isAsking) void this.#askAll();
    return answer.promise;
  }

  async #askAll(): Promise<void> {
    this.#isAsking = true;
    while (this.#waiting.length > 0) {
      const questions = this.#waiting.slice(0, MOST);
      this.#waiting = this.#waiting.slice(MOST);
      await noLongerThan(PATIENCE, this.#answer(questions));
    }
    this.#isAsking = false;
  }

  /** Answers every question; never throws. */
  async #answer(questions: readonly Question[]): Promise<void> {
    const [first, ...others] = questions.map(({ bound }) => bound);
    if (first === undefined) return;
    try {
      const found = await ask(this.#knex, [first, ...others]);
      questions.forEach(({ answer }, index) => answer.resolve(found[index]));
    } catch (error) {
      // Where there is no connection, there is none for each of them either.
      const isFinal = others.length === 0 || error instanceof AppError;
      if (isFinal) for (const { answer } of questions) answer.reject(error);
      else await Promise.all(questions.map((question) => this.#answer([question])));
    }
  }
}
