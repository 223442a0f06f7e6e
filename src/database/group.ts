import type { Knex } from "knex";
import { inOnePiece, isDirect, runStatement, send, type Statement } from "./statement.ts";

/** The most units of work that one transaction carries. */
const MOST = 64;

/** The writes of one unit of work, and whoever waits for them. */
interface Member {
  readonly statements: readonly Statement[];
  readonly settle: PromiseWithResolvers<void>;
}

const groups = new WeakMap<Knex, Group>();

/**
 * Writes what belongs together, all of it or nothing, and resolves when it is committed. Units of work that end while
 * others are being written go together, in one transaction with one flush of the log. Where that fails, each is tried
 * alone, so that nobody's mistake is another's failure.
 *
 * @throws the database's error.
 */
export function writeInGroup(knex: Knex, statements: readonly Statement[]): Promise<void> {
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

  write(statements: readonly Statement[]): Promise<void> {
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
      const [first, ...others] = members;
      if (first === undefined) continue;
      if (others.length === 0) await this.#writeAlone(first);
      else await this.#writeTogether(members);
    }
    this.#isWriting = false;
  }

  async #writeTogether(members: readonly Member[]): Promise<void> {
    let isCommitted: boolean;
    try {
      isCommitted = await this.#commit(members.flatMap(({ statements }) => statements));
    } catch (error) {
      // Nobody knows what became of it, so it must not be tried again.
      for (const { settle } of members) settle.reject(error);
      return;
    }
    if (isCommitted) for (const { settle } of members) settle.resolve();
    else await Promise.all(members.map((member) => this.#writeAlone(member)));
  }

  /** @returns whether it was committed; otherwise the database has undone it. */
  async #commit(statements: readonly Statement[]): Promise<boolean> {
    const { client } = this.#knex;
    const connection: object = await client.acquireConnection();
    try {
      const answers = isDirect(connection)
        ? await atOnce(client, connection, statements)
        : await oneByOne(client, connection, statements);
      const last = answers.at(-1);
      if (last?.status === "rejected") throw last.reason;
      return last?.value === "COMMIT" && answers.every(({ status }) => status === "fulfilled");
    } finally {
      await client.releaseConnection(connection);
    }
  }

  async #writeAlone({ statements, settle }: Member): Promise<void> {
    try {
      const [only, ...others] = statements;
      if (only !== undefined && others.length === 0) await runStatement(this.#knex, only);
      else
        await this.#knex.transaction(async (trx) => {
          for (const statement of statements) await runStatement(trx, statement);
        });
      settle.resolve();
    } catch (error) {
      settle.reject(error);
    }
  }
}

type Answers = PromiseSettledResult<unknown>[];

/** What BEGIN, every statement and COMMIT were answered, sent together. */
async function atOnce(
  client: Knex["client"],
  connection: object,
  statements: readonly Statement[],
): Promise<Answers> {
  return Promise.allSettled(
    inOnePiece(connection, () => [
      client.query(connection, "BEGIN"),
      ...statements.map((statement) => send(client, connection, statement)),
      commandOf(client.query(connection, "COMMIT")),
    ]),
  );
}

async function oneByOne(
  client: Knex["client"],
  connection: object,
  statements: readonly Statement[],
): Promise<Answers> {
  const answers: Answers = [];
  const ask = async (answer: Promise<unknown>): Promise<void> => {
    answers.push(...(await Promise.allSettled([answer])));
  };
  await ask(client.query(connection, "BEGIN"));
  for (const statement of statements) await ask(send(client, connection, statement));
  await ask(commandOf(client.query(connection, "COMMIT")));
  return answers;
}

/** What PostgreSQL says that it did: it answers the COMMIT of a failed transaction with a rollback. */
async function commandOf(answer: Promise<{ response: { command: string } }>): Promise<string> {
  return (await answer).response.command;
}
