import type { Options } from "./options.ts";
import { aboutOf, machineOf, markdown, summarise, type ServerReport } from "./report.ts";
import type { Rounds } from "./rounds.ts";
import type { TableSize } from "./rows.ts";
import { median, rounded, sum } from "./statistics.ts";
import type { Measurement } from "./subject.ts";

/** A database as it was filled for a comparison. */
export interface Grown {
  readonly name: string;
  readonly rows: number;
  readonly clients: number;
  /** How long it took to fill. */
  readonly seconds: number;
  readonly tables: Readonly<Record<string, TableSize>>;
}

/** A database compared with the first: of every round, its figure divided by that one's. */
interface GrownReport extends ServerReport {
  /** Throughput; less than 1 is slower. */
  readonly ratio: number | undefined;
  /** CPU time per operation, Node and PostgreSQL together; more than 1 is dearer. Says more on a busy machine. */
  readonly cpu_ratio: number | undefined;
  readonly p50_ratio: number | undefined;
  readonly p99_ratio: number | undefined;
}

/** What `--json` prints of a comparison of databases. */
interface GrowthReport {
  readonly machine: Readonly<Record<string, unknown>>;
  readonly databases: readonly (Omit<Grown, "tables"> & { readonly tables: Grown["tables"] })[];
  /** By flow, and by the name of the database. */
  readonly flows: Readonly<Record<string, Readonly<Record<string, GrownReport>>>>;
}

export function growthOf(
  rounds: Rounds,
  {
    options,
    grown,
    postgres,
  }: { options: Options; grown: readonly Grown[]; postgres: string | undefined },
): GrowthReport {
  const flows = [...rounds].map(([flow, databases]) => {
    const first = databases.get(grown[0]?.name ?? "") ?? [];
    const reports = [...databases].map(([name, measured]) => [name, besides(measured, first)]);
    return [flow, Object.fromEntries(reports)];
  });
  return {
    machine: { ...machineOf(options), postgres },
    databases: grown.map((one) => ({ ...one, seconds: rounded(one.seconds, 1) ?? 0 })),
    flows: Object.fromEntries(flows),
  };
}

function besides(measured: readonly Measurement[], first: readonly Measurement[]): GrownReport {
  const of = (figure: (one: Measurement) => number) =>
    rounded(
      median(
        measured.flatMap((one, round) => {
          const base = first[round];
          return base === undefined ? [] : [figure(one) / figure(base)];
        }),
      ),
      2,
    );
  return {
    ratio: of(({ perSecond }) => perSecond),
    cpu_ratio: of(({ nodeCpu = Number.NaN, postgresCpu = Number.NaN }) => nodeCpu + postgresCpu),
    p50_ratio: of(({ p50 }) => p50),
    p99_ratio: of(({ p99 }) => p99),
    ...summarise(measured),
  };
}

const COLUMNS = [
  "flow",
  "people",
  "clients",
  "throughput",
  "CPU",
  "p50",
  "p99",
  "per s",
  "p50 ms",
  "p99 ms",
  "Node µs",
  "PG µs",
  "WAL B",
  "blocks read",
  "MB",
];

/** The report as two tables in Markdown: what each flow costs, and what each database takes. */
export function growthTableOf({ machine, databases, flows }: GrowthReport): string {
  const rows = Object.entries(flows).flatMap(([flow, reports]) =>
    databases.flatMap(({ name, rows: people, clients }) => {
      const one = reports[name];
      if (one === undefined) return [];
      return [
        [
          flow,
          people,
          clients,
          one.ratio,
          one.cpu_ratio ?? "–",
          one.p50_ratio,
          one.p99_ratio,
          one.per_second,
          one.p50_ms,
          one.p99_ms,
          one.node_cpu_us ?? "–",
          one.postgres_cpu_us ?? "–",
          one.wal_bytes,
          one.blocks_read,
          one.memory_mb ?? "–",
        ],
      ];
    }),
  );
  const largest = databases.at(-1);
  return `${aboutOf(machine)}
Throughput, CPU, p50 and p99 are ratios to the first database.

${markdown(COLUMNS, rows)}
${databases.map(sizeOf).join("\n")}

${markdown(["table", "rows", "bytes a row", "of them index"], Object.entries(largest?.tables ?? {}).map(tableRow))}`;
}

function sizeOf({ name, seconds, tables }: Grown): string {
  const bytes = sum(Object.values(tables).map((one) => one.bytes));
  return `${name}: ${rounded(bytes / 2 ** 20)} MB, filled in ${seconds} s`;
}

function tableRow([name, { rows, bytes, index_bytes: indexes }]: [string, TableSize]): unknown[] {
  return [name, rows, rounded(bytes / rows), rounded(indexes / rows)];
}
