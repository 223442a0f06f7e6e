import { parseArgs } from "node:util";
import { ConfigError, readConfig } from "../config.ts";
import { AppError } from "../errors.ts";
import { COMMON, helpOf, helpOfVerb } from "./help.ts";
import type { Io } from "./io.ts";
import { UsageError, type Options, type Values, type Verb } from "./verb.ts";

const OK = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

/**
 * Runs one command line and returns its exit code: 0 done, 1 failed, 2 used wrongly. Whatever goes wrong is one clear
 * line on the error output (settings: one line each); output for programs is never mixed with it.
 */
export async function runCommand(
  verbs: readonly Verb[],
  version: string,
  args: readonly string[],
  io: Io,
): Promise<number> {
  try {
    return await dispatch(verbs, version, args, io);
  } catch (error) {
    if (error instanceof UsageError) {
      const more = ["lintel", error.verb, "--help"].filter((word) => word !== undefined);
      io.err(`lintel: ${error.message} See \`${more.join(" ")}\`.\n`);
      return WRONG_USAGE;
    }
    if (error instanceof ConfigError || error instanceof AppError)
      io.err(`lintel: ${error.message}\n`);
    else io.err(`lintel: unexpected error: ${stackOf(error, io)}\n`);
    return FAILED;
  }
}

async function dispatch(
  verbs: readonly Verb[],
  version: string,
  args: readonly string[],
  io: Io,
): Promise<number> {
  const [first, ...others] = args;
  if (first === "--version") {
    io.out(`${version}\n`);
    return OK;
  }
  if (first === undefined) {
    io.err(helpOf(verbs));
    return WRONG_USAGE;
  }
  if (first === "--help" || first === "-h") {
    io.out(helpOf(verbs));
    return OK;
  }
  if (first === "help") return explain(verbs, others, io);

  const found = findVerb(verbs, args);
  if (found !== undefined) return runVerb(found, args.slice(wordsOf(found).length), io);
  if (isGroup(verbs, first)) {
    const wantsHelp = others[0] === "--help" || others[0] === "-h";
    if (!wantsHelp && others[0] !== undefined)
      throw new UsageError(`There is no verb \`${first} ${others[0]}\`.`, first);
    (wantsHelp ? io.out : io.err)(helpOf(verbs, first));
    return wantsHelp ? OK : WRONG_USAGE;
  }
  throw new UsageError(`There is no verb \`${first}\`.`);
}

function explain(verbs: readonly Verb[], words: readonly string[], io: Io): number {
  const [first] = words;
  const found = findVerb(verbs, words);
  if (first === undefined) io.out(helpOf(verbs));
  else if (found !== undefined) io.out(helpOfVerb(found));
  else if (isGroup(verbs, first)) io.out(helpOf(verbs, first));
  else throw new UsageError(`There is no verb \`${words.join(" ")}\`.`);
  return OK;
}

async function runVerb(found: Verb, args: readonly string[], io: Io): Promise<number> {
  const options: Options = { ...found.options, ...COMMON };
  const { values, positionals } = parse(found.name, options, args);
  if (values["help"] === true) {
    io.out(helpOfVerb(found));
    return OK;
  }
  checkWords(found, positionals);
  for (const [flag, option] of Object.entries(options)) {
    if (option.required === true && values[flag] === undefined)
      throw new UsageError(`--${flag} is missing.`, found.name);
  }
  const code = await found.run({
    io,
    values: values as Values<Options>,
    words: positionals,
    json: values["json"] === true,
    config: () => readConfig(io.environment),
  });
  return code ?? OK;
}

function parse(
  name: string,
  options: Options,
  args: readonly string[],
): { values: Record<string, unknown>; positionals: string[] } {
  const wanted = Object.fromEntries(
    Object.entries(options).map(([flag, { type, multiple = false }]) => [flag, { type, multiple }]),
  );
  const withShort = { ...wanted, help: { type: "boolean" as const, short: "h" } };
  try {
    return parseArgs({
      args: [...args],
      options: withShort,
      allowPositionals: true,
      allowNegative: true,
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith("ERR_PARSE_ARGS") !== true) throw error;
    throw new UsageError(`${message.split(". ")[0]?.replace(/\.$/, "")}.`, name);
  }
}

function checkWords({ name, words = [] }: Verb, given: readonly string[]): void {
  const missing = words[given.length];
  if (missing !== undefined) throw new UsageError(`<${missing}> is missing.`, name);
  const extra = given[words.length];
  if (extra !== undefined) throw new UsageError(`\`${extra}\` was not expected.`, name);
}

function findVerb(verbs: readonly Verb[], args: readonly string[]): Verb | undefined {
  return verbs.find((verb) => wordsOf(verb).every((word, index) => args[index] === word));
}

function isGroup(verbs: readonly Verb[], word: string): boolean {
  return verbs.some(({ name }) => name.startsWith(`${word} `));
}

function wordsOf({ name }: Verb): string[] {
  return name.split(" ");
}

/** A bug, or something about the machine that nobody foresaw; the stack only for who asks for it. */
function stackOf(error: unknown, { environment }: Io): string {
  if (!(error instanceof Error)) return String(error);
  const { code }: NodeJS.ErrnoException = error;
  const isDebugging = ["debug", "trace"].includes(environment["LOG_LEVEL"] ?? "");
  return isDebugging ? (error.stack ?? error.message) : error.message || (code ?? error.name);
}
