import { readFileSync } from 'node:fs';
import { runCommand } from './cli/run.ts';
import { VERBS } from './cli/verbs.ts';

/** The command line, `lintel`: one process for one verb. */
const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string };

process.exitCode = await runCommand(VERBS, version, process.argv.slice(2), {
  environment: process.env,
  stdin: process.stdin,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
