import type { Knex } from "knex";
import { inOnePiece, isDirect, send, type Bound } from "./statement.ts";

/** The most units of work that one transaction carries. */
const MOST = 64;

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
 * @throws the database's error.
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
      await this.#write(members);
    }
    this.#isWriting = false;
  }

  /** Settles every member; never throws. */
  async #write(members: readonly Member[]): Promise<void> {
    try {
      const { isCommitted, answers } = await this.#commit(
        members.flatMap(({ statements }) => statements),
      );
      if (!isCommitted && members.length > 1) {
        await Promise.all(members.map((member) => this.#write([member])));
        return;
      }
      for (const { statements, settle } of members) {
        const failure = answers.splice(0, statements.length).find(isRejected);
        if (failure === undefined) settle.resolve();
        else settle.reject(failure.reason);
      }
    } catch (error) {
      for (const { settle } of members) settle.reject(error);
    }
  }

  async #commit(statements: readonly Bound[]): Promise<Outcome> {
    const { client } = this.#knex;
    const connection: object = await client.acquireConnection();
    try {
      return isDirect(connection)
        ? await atOnce(client, connection, statements)
        : await oneByOne(client, connection, statements);
    } finally {
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
  statements: readonly Bound[],
): Promise<Outcome> {
  const [begin, end, ...answers] = await Promise.allSettled(
    inOnePiece(connection, () => {
      const begun = client.query(connection, "BEGIN");
      const written = statements.map((statement) => send(client, connection, statement));
      return [begun, commandOf(client.query(connection, "COMMIT")), ...written];
    }),
  );
  for (const each of [begin, end]) if (each?.status === "rejected") throw each.reason;
  return { isCommitted: end?.status === "fulfilled" && end.value === "COMMIT", answers };
}

/** As {@link atOnce}, where a connection takes one statement at a time. A single one commits itself. */
async function oneByOne(
  client: Knex["client"],
  connection: object,
  statements: readonly Bound[],
): Promise<Outcome> {
  const [only, ...others] = statements;
  if (only !== undefined && others.length === 0) {
    await send(client, connection, only);
    return { isCommitted: true, answers: [{ status: "fulfilled", value: undefined }] };
  }
  const answers: PromiseSettledResult<unknown>[] = [];
  await client.query(connection, "BEGIN");
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
