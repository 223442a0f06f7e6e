import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { DEVICE_LIFETIME } from "../models/user-device.ts";

const BATCH = 1_000;
const BATCHES_PER_RUN = 5;
const PAUSE_MS = 50;
const DAY_MS = 24 * 60 * 60 * 1_000;

/**
 * When rows of a table may go: once `column` lies before `before(now)`. A `date` column holds the day of expiry and
 * two more, so comparing it with today is enough. No reader depends on any of this: every read tests expiry itself.
 */
interface Expiry {
  readonly table: string;
  readonly column: string;
  readonly before: (now: Date) => string;
}

const today = (now: Date) => now.toISOString().slice(0, 10);
const instant = (now: Date) => now.toISOString();
const thirtyDaysAgo = (now: Date) => new Date(now.getTime() - 30 * DAY_MS).toISOString();
const thirteenMonthsAgo = (now: Date) => today(new Date(now.getTime() - DEVICE_LIFETIME));

/** What expires, children before parents, so that deleting a grant finds no refresh tokens to take along. */
const EXPIRIES: readonly Expiry[] = [
  { table: "oauth_interactions", column: "gc_at", before: instant },
  { table: "decoupled_authorizations", column: "gc_at", before: instant },
  { table: "sessions", column: "gc_on", before: today },
  { table: "refresh_tokens", column: "gc_on", before: today },
  { table: "oauth_grants", column: "gc_on", before: today },
  { table: "user_devices", column: "last_seen_on", before: thirteenMonthsAgo },
  { table: "replay_guards", column: "expires_at", before: instant },
  { table: "auth_challenges", column: "expires_at", before: instant },
  { table: "login_throttles", column: "gc_on", before: today },
  { table: "email_codes", column: "expires_at", before: instant },
  { table: "trusted_browsers", column: "expires_at", before: instant },
  { table: "federation_states", column: "expires_at", before: instant },
  { table: "federation_traces", column: "expires_at", before: instant },
  { table: "one_time_tokens", column: "expires_at", before: thirtyDaysAgo },
  { table: "logout_notices", column: "created_at", before: thirtyDaysAgo },
  { table: "outbox_messages", column: "created_at", before: thirtyDaysAgo },
];

/** What one run of the purge did. */
export interface PurgeResult {
  /** Rows deleted by table, every table included. */
  readonly deleted: Readonly<Record<string, number>>;
  /** Some table was left with more; another run should follow. */
  readonly more: boolean;
}

/** What a caller may observe or change. */
export interface PurgeOptions {
  /** Hears of every batch, for metrics. */
  readonly onDeleted?: (table: string, rows: number) => void;
  /** Ends the run after the current batch. */
  readonly signal?: AbortSignal;
}

/**
 * Deletes expired rows in batches of 1 000, each its own statement and transaction, with a rest after each and at
 * most five for one table, so that a run is short and no request waits for it. Rows that a request holds are left
 * for the next run.
 */
export async function purge(
  db: Knex,
  now: Date,
  { onDeleted, signal }: PurgeOptions = {},
): Promise<PurgeResult> {
  const deleted: Record<string, number> = {};
  let more = false;
  await forgetUnfinished(db, now);
  await forgetUnconfirmed(db, now);
  for (const expiry of EXPIRIES) {
    // Grants wait until their refresh tokens are gone; otherwise one batch would cascade into many rows.
    if (expiry.table === "oauth_grants" && deleted["refresh_tokens"] === BATCH * BATCHES_PER_RUN) {
      deleted[expiry.table] = 0;
      continue;
    }
    let total = 0;
    let rows = BATCH;
    for (let batch = 0; batch < BATCHES_PER_RUN && rows === BATCH; batch += 1) {
      if (signal?.aborted === true) return { deleted, more: true };
      rows = await deleteBatch(db, expiry, now);
      total += rows;
      if (rows > 0) {
        onDeleted?.(expiry.table, rows);
        await delay(PAUSE_MS);
      }
    }
    deleted[expiry.table] = total;
    more ||= rows === BATCH;
  }
  const documents = await forgetUnusedDocuments(db, now);
  if (documents > 0) onDeleted?.("client_documents", documents);
  deleted["client_documents"] = documents;
  more ||= documents === BATCH;
  return { deleted, more };
}

/**
 * What somebody typed and then walked away from goes when the interaction has run out; the row that explains its
 * address stays. It looks back one day, by the index of `gc_at`, which lies 30 days after the end.
 */
async function forgetUnfinished(db: Knex, now: Date): Promise<void> {
  await db.raw(
    `UPDATE oauth_interactions SET payload_enc = NULL
      WHERE gc_at BETWEEN CAST(:now AS timestamptz) + interval '29 days' AND CAST(:now AS timestamptz) + interval '30 days'
        AND payload_enc IS NOT NULL`,
    { now: instant(now) },
  );
}

/** Authenticator apps that somebody began to set up, and did not. */
async function forgetUnconfirmed(db: Knex, now: Date): Promise<void> {
  await db.raw(
    `DELETE FROM mfa_factors
      WHERE verified_at IS NULL AND created_at < CAST(:now AS timestamptz) - interval '1 hour'`,
    { now: instant(now) },
  );
}

/** Clients that somebody named once by the address of a document, and nobody ever allowed anything. */
async function forgetUnusedDocuments(db: Knex, now: Date): Promise<number> {
  const result: { rowCount: number } = await db.raw(
    `DELETE FROM oauth_clients WHERE id = ANY (ARRAY(
       SELECT c.id FROM client_documents d JOIN oauth_clients c ON c.id = d.client_id AND c.deleted_at IS NULL
        WHERE d.fresh_until < CAST(:now AS timestamptz) - interval '7 days'
          AND NOT EXISTS (SELECT FROM oauth_consents WHERE client_id = c.id)
          AND NOT EXISTS (SELECT FROM oauth_grants WHERE client_id = c.id)
        ORDER BY d.fresh_until LIMIT :batch FOR UPDATE SKIP LOCKED))`,
    { now: instant(now), batch: BATCH },
  );
  return result.rowCount;
}

/** The order makes PostgreSQL walk the index, whose dead entries it learns to skip, instead of the emptied heap. */
async function deleteBatch(
  db: Knex,
  { table, column, before }: Expiry,
  now: Date,
): Promise<number> {
  const result: { rowCount: number } = await db.raw(
    `DELETE FROM :table: WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM :table: WHERE :column: < :before
        ORDER BY :column: LIMIT :batch FOR UPDATE SKIP LOCKED))`,
    { table, column, before: before(now), batch: BATCH },
  );
  return result.rowCount;
}
