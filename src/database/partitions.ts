import { setTimeout as delay } from "node:timers/promises";

import type { Knex } from "knex";

import { lock, tryLock } from "./advisory-lock.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** The partitioned tables and what one partition holds. */
const TABLES = {
  oidc_artifacts: "day",
  oauth_authorizations: "day",
  audit_events: "month",
} as const;

type PartitionedTable = keyof typeof TABLES;
type Period = (typeof TABLES)[PartitionedTable];

/** Milliseconds that a partition is kept after its upper bound. Audit events: 13 months. */
export const DEFAULT_RETENTION: Readonly<Record<PartitionedTable, number>> = {
  // Longer than the two hours in which they are looked up, so that yesterday, which is made ahead, is kept.
  oidc_artifacts: 26 * HOUR_MS,
  oauth_authorizations: DAY_MS,
  audit_events: 396 * DAY_MS,
};

interface Partition {
  readonly table: PartitionedTable;
  readonly name: string;
  readonly from: Date;
  readonly to: Date;
}

/** lock_not_available, duplicate_table, unique_violation, deadlock_detected: somebody else was there first. */
const TRY_AGAIN = new Set<unknown>(["55P03", "42P07", "23505", "40P01"]);
const ATTEMPTS = 15;

/**
 * Makes sure that rows of the next days have a partition to go to: daily ones from yesterday to `days` ahead,
 * monthly ones from the previous month to the next, in UTC. Usually one read and nothing else. New ones are made
 * beside the table and then attached, which unlike CREATE TABLE … PARTITION OF does not lock out requests.
 *
 * @returns the names of the partitions this call made.
 */
export async function ensurePartitions(db: Knex, now: Date, days = 7): Promise<string[]> {
  const wanted = wantedPartitions(now, days);
  for (let attempt = 1; ; attempt += 1) {
    try {
      if ((await missing(db, wanted)).length === 0) return [];
      return await db.transaction(async (trx) => {
        await trx.raw("SET LOCAL lock_timeout = '2s'");
        await lock(trx, "createPartitions");
        const made = await missing(trx, wanted);
        for (const partition of made) await createPartition(trx, partition);
        return made.map((partition) => partition.name);
      });
    } catch (error) {
      if (attempt === ATTEMPTS || !TRY_AGAIN.has((error as { code?: unknown }).code)) throw error;
      await delay(100 * attempt);
    }
  }
}

/**
 * Drops the partitions whose newest row could only have expired more than `retention` ago. Detaching concurrently
 * waits for running transactions and never makes a request wait. A drop that was interrupted is finished by the
 * next call. One process at a time: where another is at it, this call does nothing. `db` needs two connections
 * and must not be a transaction.
 *
 * @returns the names of the partitions this call dropped.
 */
export async function dropExpiredPartitions(
  db: Knex,
  now: Date,
  retention: Readonly<Record<PartitionedTable, number>> = DEFAULT_RETENTION,
): Promise<string[]> {
  return db.transaction(async (trx) => {
    if (!(await tryLock(trx, "dropPartitions"))) return [];
    const dropped: string[] = [];
    for (const partition of await existingPartitions(db)) {
      const kept = partition.to.getTime() + retention[partition.table];
      if (kept > now.getTime()) continue;
      if (partition.state !== "detached") {
        const how = partition.state === "detaching" ? "FINALIZE" : "CONCURRENTLY";
        await db.raw(`ALTER TABLE ?? DETACH PARTITION ?? ${how}`, [
          partition.table,
          partition.name,
        ]);
      }
      await db.raw("DROP TABLE IF EXISTS ??", [partition.name]);
      dropped.push(partition.name);
    }
    return dropped;
  });
}

function wantedPartitions(now: Date, days: number): Partition[] {
  const wanted: Partition[] = [];
  for (const [table, every] of entries()) {
    const last = every === "day" ? days : 1;
    for (let offset = -1; offset <= last; offset += 1)
      wanted.push(period(table, every, now, offset));
  }
  return wanted;
}

/** The day or month in UTC that lies `offset` after the one of `now`. */
function period(
  table: PartitionedTable,
  every: "day" | "month",
  now: Date,
  offset: number,
): Partition {
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()];
  const start = (step: number): Date =>
    new Date(every === "day" ? Date.UTC(year, month, day + step) : Date.UTC(year, month + step));
  const from = start(offset);
  const digits = from
    .toISOString()
    .slice(0, every === "day" ? 10 : 7)
    .replaceAll("-", "");
  return { table, name: `${table}_p${digits}`, from, to: start(offset + 1) };
}

async function missing(db: Knex, wanted: readonly Partition[]): Promise<Partition[]> {
  const existing = new Set((await existingPartitions(db)).map((partition) => partition.name));
  return wanted.filter((partition) => !existing.has(partition.name));
}

async function createPartition(trx: Knex.Transaction, partition: Partition): Promise<void> {
  const bindings = [partition.name, partition.table];
  await trx.raw("CREATE TABLE ?? (LIKE ?? INCLUDING ALL)", bindings);
  const [from, to] = [partition.from.toISOString(), partition.to.toISOString()];
  // Bounds are part of the definition and take no parameters; these two are made here.
  await trx.raw(`ALTER TABLE ?? ATTACH PARTITION ?? FOR VALUES FROM ('${from}') TO ('${to}')`, [
    partition.table,
    partition.name,
  ]);
}

interface ExistingPartition {
  readonly table: PartitionedTable;
  readonly name: string;
  readonly to: Date;
  readonly state: "attached" | "detaching" | "detached";
}

/** Partitions by the catalogue, with those that an interrupted drop left, by their names. */
async function existingPartitions(db: Knex): Promise<ExistingPartition[]> {
  const tables = entries().map(([table]) => table);
  const { rows } = await db.raw<{
    rows: { name: string; attached: boolean; detaching: boolean | null }[];
  }>(
    `SELECT c.relname AS name, i.inhrelid IS NOT NULL AS attached, i.inhdetachpending AS detaching
       FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
      WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname ~ ?
      ORDER BY c.relname`,
    [`^(${tables.join("|")})_p[0-9]{6,8}$`],
  );
  return rows.flatMap(({ name, attached, detaching }) => {
    const found = parseName(name);
    if (found === undefined) return [];
    const state = detaching === true ? "detaching" : attached ? "attached" : "detached";
    return [{ table: found.table, name, to: found.to, state }];
  });
}

/** The names are ours alone and say which day or month a partition holds. */
function parseName(name: string): Partition | undefined {
  for (const [table, every] of entries()) {
    const digits = name.startsWith(`${table}_p`) ? name.slice(table.length + 2) : "";
    const match = (every === "day" ? /^(\d{4})(\d\d)(\d\d)$/ : /^(\d{4})(\d\d)$/).exec(digits);
    if (match === null) continue;
    const [year, month, day] = [Number(match[1]), Number(match[2]) - 1, Number(match[3] ?? 1)];
    return period(table, every, new Date(Date.UTC(year, month, day)), 0);
  }
  return undefined;
}

function entries(): [PartitionedTable, Period][] {
  return Object.entries(TABLES) as [PartitionedTable, Period][];
}
