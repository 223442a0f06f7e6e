import { spawn } from "node:child_process";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { runCommand } from "../../src/cli/run.ts";
import { allVerbs } from "../../src/cli/verbs.ts";
import { migrateJobs } from "../../src/jobs/worker.ts";
import { run } from "../../src/main.ts";

const CLI = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));
const VERBS = allVerbs({ run: (environment) => run({ ...environment }), migrateJobs });

/** What a run of the command line left. */
export interface CliResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs `lintel` with these environment variables and no others that are ours, without a process of its own. */
export async function runCli(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  input = "",
): Promise<CliResult> {
  const [out, err]: string[][] = [[], []];
  const code = await runCommand(VERBS, "0.0.0-test", args, {
    environment: ourEnvironment(environment),
    stdin: Readable.from(input === "" ? [] : [input]),
    out: (line) => out?.push(line),
    err: (line) => err?.push(line),
  });
  return { code, out: out?.join("") ?? "", err: err?.join("") ?? "" };
}

/** Runs `lintel` as people do, as a process: what it reads, writes and exits with, and that it ends. */
export async function runProcess(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  input = "",
): Promise<CliResult> {
  const child = spawn(process.execPath, [CLI, ...args], { env: ourEnvironment(environment) });
  child.stdin.end(input);
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("close", resolve)),
  ]);
  return { code, out, err };
}

function ourEnvironment(environment: Readonly<Record<string, string>>): Record<string, string> {
  const { PATH = "", HOME = "", NODE_COMPILE_CACHE = "" } = process.env;
  return { PATH, HOME, NODE_COMPILE_CACHE, ...environment };
}
