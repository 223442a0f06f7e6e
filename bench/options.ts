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
  /** Whether there is also a Lintel with Node's and the allocator's own settings for memory. */
  readonly defaultMemory: boolean;
  /** The directory of another checkout that is measured too, if any. */
  readonly against: string | undefined;
  /** Where a CPU profile of Lintel goes, if anywhere. */
  readonly profile: string | undefined;
  /** Databases to compare with each other instead of with the bare engine, the smallest first. */
  readonly populations: readonly Population[];
  /** How many minutes of a mixed load instead of all this, if any. */
  readonly mixed: number | undefined;
  /** How many people sign in with passwords at a time beside a flow, instead of all this, if any. */
  readonly flood: number | undefined;
  /** Whether to measure password hashing alone, instead of all this. */
  readonly hash: boolean;
  readonly json: boolean;
}

/** How full a database is. */
export interface Population {
  /** People, each with a session, a grant, a consent, a refresh token family, an access token and an audit event. */
  readonly rows: number;
  /** Applications with a secret and, a tenth of them, with a `jwks_uri`. */
  readonly clients: number;
}

/** Rows of a comparison of clients. */
const FEW_ROWS = 10_000;
/** And with how many it begins: so many that the same share of them has keys. */
const FEW_CLIENTS = 10;
/** The flows of a comparison of databases, unless it is told which. */
const HOT_FLOWS = new Set<FlowName>([
  "client_credentials_opaque",
  "code_exchange",
  "refresh",
  "userinfo",
  "introspection",
  "silent_sign_in",
]);

export const HELP = `Usage: npm run bench -- [options]

Measures Lintel against the bare engine in memory, on this machine, in rounds that take turns.

  --flow NAME         only this flow; may be repeated
  --rounds N          rounds of each flow at each server (5)
  --seconds N         length of a round (2)
  --concurrency N     requests on their way at a time (16)
  --processes 1,2,4   also "lintel start --workers N", each as a server of its own
  --default-memory    also a Lintel with Node's own settings for memory, which takes twice as much
  --against DIR       also the Lintel of another checkout, to see what a change is worth
  --rows 1e3,1e5,1e7  instead: Lintel on databases of so many people, beside the smallest
  --clients N         instead: N applications, a tenth with jwks_uri, beside ten
  --flood N           instead: flows with and without N people beside who send passwords over and over
  --hash              instead: password hashing alone, by every build that is here
  --mixed MINUTES     instead: everything at once for so long, and what memory does
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
      flow: { type: "string", multiple: true },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "2" },
      concurrency: { type: "string", default: "16" },
      processes: { type: "string", default: "" },
      "default-memory": { type: "boolean", default: false },
      against: { type: "string" },
      rows: { type: "string", default: "" },
      clients: { type: "string", default: "" },
      mixed: { type: "string" },
      flood: { type: "string" },
      hash: { type: "boolean", default: false },
      profile: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return HELP;
  const populations = populationsOf(values.rows, values.clients);
  const asked =
    values.flow ?? FLOW_NAMES.filter((name) => populations.length === 0 || HOT_FLOWS.has(name));
  const unknown = asked.filter((name) => !FLOW_NAMES.some((known) => known === name));
  if (unknown.length > 0) return `There is no flow ${unknown.join(", ")}.\n\n${HELP}`;
  const processes = numbers(values.processes);
  const [rounds = 1, seconds = 1, concurrency = 1] = [
    values.rounds,
    values.seconds,
    values.concurrency,
  ].map(Number);
  const mixed = values.mixed === undefined ? undefined : Number(values.mixed);
  const flood = values.flood === undefined ? undefined : Number(values.flood);
  const counts = populations.flatMap(({ rows, clients }) => [rows, clients]);
  for (const number of [
    rounds,
    seconds,
    concurrency,
    mixed ?? 1,
    flood ?? 1,
    ...processes,
    ...counts,
  ])
    if (!(number > 0)) return `Numbers must be positive.\n\n${HELP}`;
  return {
    flows: FLOW_NAMES.filter((name) => asked.includes(name)),
    rounds: Math.ceil(rounds),
    seconds,
    concurrency: Math.ceil(concurrency),
    processes: processes.map(Math.ceil),
    populations,
    mixed,
    defaultMemory: values["default-memory"],
    against: values.against,
    flood,
    hash: values.hash,
    profile: values.profile,
    json: values.json,
  };
}

/** Either sizes or clients are compared: what one of them costs shows only where the other stays. */
function populationsOf(rows: string, clients: string): Population[] {
  if (clients !== "")
    return [FEW_CLIENTS, Number(clients)].map((count) => ({
      rows: numbers(rows)[0] ?? FEW_ROWS,
      clients: count,
    }));
  return numbers(rows)
    .toSorted((a, b) => a - b)
    .map((count) => ({ rows: count, clients: 1 }));
}

function numbers(list: string): number[] {
  return list.split(",").filter(Boolean).map(Number);
}
