import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import type { Options } from "./options.ts";
import type { Rounds } from "./rounds.ts";
import { median, rounded } from "./statistics.ts";
import type { Measurement } from "./subject.ts";

const BARE = "bare";
const EMBEDDED = "embedded";
/** Above this share of a core, the load generator may be what was measured. */
const BUSY = 0.9;

/** What `--json` prints. */
interface Report {
  readonly machine: Readonly<Record<string, unknown>>;
  readonly load: { readonly ceiling_per_second: number | undefined };
  readonly flows: Readonly<Record<string, FlowReport>>;
}

/** The median of a server's rounds. */
export interface ServerReport {
  readonly per_second: number | undefined;
  readonly p50_ms: number | undefined;
  readonly p99_ms: number | undefined;
  readonly node_cpu_us: number | undefined;
  readonly postgres_cpu_us: number | undefined;
  readonly statements: number | undefined;
  readonly wal_bytes: number | undefined;
  readonly blocks_read: number | undefined;
  readonly memory_mb: number | undefined;
  readonly load_share: number | undefined;
}

/** A server compared with the bare engine: of every round, its throughput divided by the engine's. */
interface Compared extends ServerReport {
  readonly ratio: number | undefined;
  readonly ratio_min: number | undefined;
  readonly ratio_max: number | undefined;
  /** The engine's CPU time divided by Node's and PostgreSQL's together; says more than `ratio` on a busy machine. */
  readonly cpu_ratio: number | undefined;
}

interface FlowReport extends Compared {
  readonly bare: ServerReport;
  /** Further Lintels: on `DATABASE_URL`, or as several processes. */
  readonly others: Readonly<Record<string, Compared>>;
}

interface Circumstances {
  readonly options: Options;
  readonly ceiling: Measurement;
  readonly embedded: { postgres: string | undefined; startMs: number | undefined };
}

export function reportOf(rounds: Rounds, { options, ceiling, embedded }: Circumstances): Report {
  const flows = [...rounds].map(([flow, servers]): [string, FlowReport] => {
    const bare = servers.get(BARE) ?? [];
    const others = [...servers].filter(([name]) => name !== BARE && name !== EMBEDDED);
    return [
      flow,
      {
        ...compare(servers.get(EMBEDDED) ?? [], bare),
        bare: summarise(bare),
        others: Object.fromEntries(
          others.map(([name, measured]) => [name, compare(measured, bare)]),
        ),
      },
    ];
  });
  return {
    machine: {
      ...machineOf(options),
      postgres: embedded.postgres,
      start_ms: rounded(embedded.startMs),
    },
    load: { ceiling_per_second: rounded(ceiling.perSecond) },
    flows: Object.fromEntries(flows),
  };
}

/** Where and how it was measured. */
export function machineOf({ rounds, seconds, concurrency }: Options): Record<string, unknown> {
  return {
    cpu: cpus()[0]?.model.trim(),
    cores: availableParallelism(),
    memory_gb: rounded(totalmem() / 2 ** 30),
    load_average: rounded(loadavg()[0], 2),
    node: process.version,
    rounds,
    seconds,
    concurrency,
  };
}

function compare(measured: readonly Measurement[], bare: readonly Measurement[]): Compared {
  const ratios = measured.map(({ perSecond }, round) => perSecond / (bare[round]?.perSecond ?? 0));
  const cpu = measured.map(
    ({ nodeCpu = Number.NaN, postgresCpu = Number.NaN }, round) =>
      (bare[round]?.nodeCpu ?? Number.NaN) / (nodeCpu + postgresCpu),
  );
  return {
    ratio: rounded(median(ratios), 2),
    ratio_min: rounded(Math.min(...ratios), 2),
    ratio_max: rounded(Math.max(...ratios), 2),
    cpu_ratio: rounded(median(cpu), 2),
    ...summarise(measured),
  };
}

export function summarise(measured: readonly Measurement[]): ServerReport {
  const middle = (value: (one: Measurement) => number | undefined, digits = 0) =>
    rounded(median(measured.map((one) => value(one) ?? Number.NaN)), digits);
  return {
    per_second: middle(({ perSecond }) => perSecond),
    p50_ms: middle(({ p50 }) => p50, 2),
    p99_ms: middle(({ p99 }) => p99, 2),
    node_cpu_us: middle(({ nodeCpu }) => nodeCpu),
    postgres_cpu_us: middle(({ postgresCpu }) => postgresCpu),
    statements: middle(({ statements }) => statements, 1),
    wal_bytes: middle(({ wal }) => wal),
    blocks_read: middle(({ blocks }) => blocks, 2),
    memory_mb: middle(({ memory }) => memory && memory / 2 ** 20),
    load_share: middle(({ loadShare }) => loadShare, 2),
  };
}

const COLUMNS = [
  "flow",
  "ratio (least–most)",
  "CPU ratio",
  "per s",
  "bare",
  "p50 ms",
  "p99 ms",
  "bare p99",
  "Node µs",
  "bare µs",
  "PG µs",
  "statements",
  "WAL B",
  "MB",
  "load",
];

/** The report as a table in Markdown. */
export function tableOf({ machine, load, flows }: Report): string {
  const rows: unknown[][] = [];
  for (const [name, flow] of Object.entries(flows)) {
    rows.push(row(name, flow, flow.bare));
    for (const [other, compared] of Object.entries(flow.others))
      rows.push(row(`${name} (${other})`, compared, flow.bare));
  }
  const ceiling = `The load generator alone reaches ${load.ceiling_per_second} requests a second; a ! marks where it was busy.`;
  return `${aboutOf(machine)}\n${ceiling}\n\n${markdown(COLUMNS, rows)}`;
}

/** Names and values in one line. */
export function aboutOf(values: Readonly<Record<string, unknown>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

/** A table whose first column is text and whose others are numbers. */
export function markdown(
  columns: readonly string[],
  rows: readonly (readonly unknown[])[],
): string {
  const rule = columns.map((_, index) => (index === 0 ? "---" : "--:"));
  return [columns, rule, ...rows].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

function row(name: string, flow: Compared, bare: ServerReport): unknown[] {
  const share = Math.max(flow.load_share ?? 0, bare.load_share ?? 0);
  return [
    name,
    `${flow.ratio} (${flow.ratio_min}–${flow.ratio_max})`,
    flow.cpu_ratio ?? "–",
    flow.per_second,
    bare.per_second,
    flow.p50_ms,
    flow.p99_ms,
    bare.p99_ms,
    flow.node_cpu_us ?? "–",
    bare.node_cpu_us ?? "–",
    flow.postgres_cpu_us ?? "–",
    flow.statements ?? "–",
    flow.wal_bytes,
    flow.memory_mb ?? "–",
    `${share}${share > BUSY ? " !" : ""}`,
  ];
}
