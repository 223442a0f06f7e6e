import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { once } from "node:events";
import { text } from "node:stream/consumers";

/**
 * `npm run -s contract` runs the contract suite: what the specifications demand, checked over HTTP. With `--list` it
 * prints its checks instead, one a line: the clause, then what is checked. More arguments go to mocha.
 */
const MOCHA = createRequire(import.meta.url).resolve("mocha/bin/mocha.js");
const FILES = "test/contract/**/*.test.ts";

/** A title ends with the clauses that it checks, such as `(RFC 6749 §4.1.2, OIDC Core §3.1.3.2)`. */
const CLAUSES = /^(.*) \(([^()]*§[^()]*)\)$/s;

const args = process.argv.slice(2);
if (args.includes("--list")) await list();
else process.exitCode = await run(args);

async function run(more: readonly string[]): Promise<number> {
  const mocha = spawn(process.execPath, [MOCHA, FILES, ...more], { stdio: "inherit" });
  const [code] = (await once(mocha, "close")) as [number | null];
  return code ?? 1;
}

async function list(): Promise<void> {
  const reporting = [MOCHA, FILES, "--dry-run", "--reporter", "json"];
  const mocha = spawn(process.execPath, reporting, { stdio: ["ignore", "pipe", "inherit"] });
  const { tests } = JSON.parse(await text(mocha.stdout)) as { tests: { fullTitle: string }[] };
  let own = 0;
  for (const { fullTitle } of tests) {
    const [, check, clauses] = CLAUSES.exec(fullTitle) ?? [];
    if (clauses === undefined) own += 1;
    else process.stdout.write(`${clauses}\t${check}\n`);
  }
  process.stderr.write(`and ${own} of rules that are our own\n`);
}
