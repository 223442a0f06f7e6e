import { parseArgs } from "node:util";
import { FLOW_NAMES, type FlowName } from "./load/flows.ts";

export interface Options {
  readonly flows: readonly FlowName[];
  readonly rounds: number;
  readonly seconds: number;
  /** How many requests are on their way at a time. */
  readonly concurrency: number;
  /** Numbers of workers of further Lintels on the embedded database. */
  readonly processes: readonly number[];
  /** Where a CPU profile of Lintel goes, if anywhere. */
  readonly profile: string | undefined;
  readonly json: boolean;
}

export const HELP = `Usage: npm run bench -- [options]

Measures Lintel against the bare engine in memory, on this machine, in rounds that take turns.

  --flow NAME         only this flow; may be repeated
  --rounds N          rounds of each flow at each server (5)
  --seconds N         length of a round (2)
  --concurrency N     requests on their way at a time (16)
  --processes 1,2,4   also "lintel start --workers N", each as a server of its own
  --profile DIR       a CPU profile of Lintel into this directory, for Chrome DevTools
  --json              one JSON object instead of the table
  --help

DATABASE_URL names a further database to measure on; the role must be allowed to create databases.

Flows: ${FLOW_NAMES.join(", ")}
`;

/** Reads the command line; a string is the help that was asked for, or what is wrong. */
export function readOptions(args: readonly string[]): Options | string {
  const { values } = parseArgs({
    args: [...args],
    options: {
      flow: { type: "string", multiple: true, default: FLOW_NAMES },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "2" },
      concurrency: { type: "string", default: "16" },
      processes: { type: "string", default: "" },
      profile: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return HELP;
  const flows = FLOW_NAMES.filter((name) => values.flow.includes(name));
  const unknown = values.flow.filter((name) => !FLOW_NAMES.some((known) => known === name));
  if (unknown.length > 0) return `There is no flow ${unknown.join(", ")}.\n\n${HELP}`;
  const processes = values.processes.split(",").filter(Boolean).map(Number);
  const [rounds, seconds, concurrency] = [values.rounds, values.seconds, values.concurrency].map(
    Number,
  );
  for (const number of [rounds, seconds, concurrency, ...processes])
    if (number === undefined || !(number > 0)) return `Numbers must be positive.\n\n${HELP}`;
  return {
    flows,
    rounds: Math.ceil(rounds ?? 1),
    seconds: seconds ?? 1,
    concurrency: Math.ceil(concurrency ?? 1),
    processes: processes.map(Math.ceil),
    profile: values.profile,
    json: values.json,
  };
}
