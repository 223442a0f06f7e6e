import type { Knex } from "knex";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { AppError, errors } from "../errors.ts";
import { importUser } from "../users/import.ts";
import { printJson, type Io } from "./io.ts";
import { verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** What became of a file; the lines are counted from 1. */
interface Report {
  imported: number;
  problems: { line: number; message: string }[];
}

/** `lintel user import` */
export const USER_IMPORT = verb({
  name: "user import",
  summary: "add the users of another system, with the hashes of their passwords",
  words: ["file, or - for standard input"],
  options: {
    "dry-run": { type: "boolean", help: "say what would happen, and change nothing" },
  },
  details:
    "Each line is a JSON object with email and, where known, email_verified, username, name and password_hash.\n" +
    "Lines with mistakes are named and left out, and the others imported: docs/import.md.",
  async run({ io, words: [file = ""], values, json, config }) {
    const isRehearsal = values["dry-run"] === true;
    const report = await withOperator({ io, config }, ({ knex }) =>
      isRehearsal ? rehearse(knex, linesOf(io, file)) : importAll(knex, linesOf(io, file)),
    );
    if (json) printJson(io, { ...report, dry_run: isRehearsal });
    else printReport(io, report, isRehearsal);
    return report.problems.length === 0 ? 0 : 1;
  },
});

/** Each line in a transaction of its own, so that what went well stays. */
async function importAll(db: Knex, lines: AsyncIterable<string>): Promise<Report> {
  const report: Report = { imported: 0, problems: [] };
  let line = 0;
  for await (const text of lines) {
    line += 1;
    if (text.trim() === "") continue;
    try {
      await db.transaction((trx) => importUser(trx, text, new Date()));
      report.imported += 1;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      report.problems.push({ line, message: error.message });
    }
  }
  return report;
}

/** The same within one transaction, in which each line has a savepoint, and which is taken back at the end. */
async function rehearse(knex: Knex, lines: AsyncIterable<string>): Promise<Report> {
  const trx = await knex.transaction();
  try {
    return await importAll(trx, lines);
  } finally {
    await trx.rollback();
  }
}

async function* linesOf(io: Io, file: string): AsyncGenerator<string> {
  const input = file === "-" ? Readable.from(io.stdin) : createReadStream(file);
  try {
    yield* createInterface({ input, crlfDelay: Infinity });
  } catch (error) {
    throw errors.badRequest(`The file ${file} could not be read.`, error);
  }
}

function printReport(io: Io, { imported, problems }: Report, isRehearsal: boolean): void {
  for (const { line, message } of problems) io.err(`line ${line}: ${message}\n`);
  const verbWord = isRehearsal ? "would be imported" : "imported";
  io.out(`${imported} ${verbWord}, ${problems.length} refused\n`);
}
