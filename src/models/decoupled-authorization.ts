import type { TransactionOrKnex } from "objection";
import { uuidv7 } from "../lib/uuid.ts";
import { IdentifiedModel } from "./base.ts";

/** How long a row is kept after its end, so that a late question is answered with the truth (RFC 8628 §3.5). */
const KEPT = "interval '1 day'";
/** Seconds by which a question may come early, because networks are not clocks. */
const TOLERANCE = 0.5;
/** Seconds that are added for every question that came too early (RFC 8628 §3.5, CIBA Core §11). */
const SLOWER_BY = 5;

/** How often a client is told: with graphile-worker's backoff of e^n seconds, for about seven minutes. */
const PING_ATTEMPTS = 6;

/** What a token request needs to know. */
export interface DecoupledAuthorizationRow {
  status: DecoupledAuthorization["status"];
  payload_enc: Buffer;
  grant_id: string | null;
  expires_at: Date;
  consumed_at: Date | null;
}

/**
 * A sign-in that begins on one device and is approved on another: a device code (RFC 8628) or a backchannel
 * authentication request (CIBA Core). What it holds is sealed. Every change of its state is one conditional statement.
 */
export class DecoupledAuthorization extends IdentifiedModel {
  static override tableName = "decoupled_authorizations";
  declare kind: "device" | "ciba";
  declare codeHash: Buffer;
  declare userCodeHash: Buffer | null;
  /** The key of the client's row. */
  declare clientId: string;
  declare userId: string | null;
  declare grantId: string | null;
  declare status: "pending" | "in_flight" | "approved" | "denied";
  declare payloadEnc: Buffer;
  declare pollInterval: number;
  declare lastPolledAt: Date | null;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare gcAt: Date;
  declare decidedAt: Date | null;
  declare consumedAt: Date | null;
  declare pingedAt: Date | null;
  declare pingAttempts: number;
  declare pingError: string | null;

  /**
   * Adds a request; `clientId` is the client's public identifier. `false` where there is no such client, or where the
   * user code is somebody else's just now.
   */
  static async add(
    db: TransactionOrKnex,
    request: {
      kind: DecoupledAuthorization["kind"];
      codeHash: Buffer;
      userCodeHash: Buffer | null;
      clientId: string;
      userId: string | null;
      payloadEnc: Buffer;
      expiresAt: Date;
    },
  ): Promise<boolean> {
    const rows = await DecoupledAuthorization.statement(
      db,
      `INSERT INTO decoupled_authorizations
         (id, kind, code_hash, user_code_hash, client_id, user_id, payload_enc, expires_at, gc_at)
       SELECT :id, :kind, :codeHash, :userCodeHash, c.id, :userId, :payloadEnc, :expiresAt,
              CAST(:expiresAt AS timestamptz) + ${KEPT}
       FROM oauth_clients c WHERE c.client_id = :clientId
       ON CONFLICT (user_code_hash) DO NOTHING RETURNING 1`,
      { ...request, id: uuidv7() },
    );
    return rows.length === 1;
  }

  /** The request of a code; not one whose grant was revoked since it was approved. Also one that has ended. */
  static async find(
    db: TransactionOrKnex,
    codeHash: Buffer,
  ): Promise<DecoupledAuthorizationRow | undefined> {
    const rows = await DecoupledAuthorization.statement<DecoupledAuthorizationRow>(
      db,
      `SELECT t.status, t.payload_enc, t.grant_id, t.expires_at, t.consumed_at
       FROM decoupled_authorizations t LEFT JOIN oauth_grants g ON g.id = t.grant_id
       WHERE t.code_hash = :codeHash AND (t.grant_id IS NULL OR (g.revoked_at IS NULL
         AND (g.tokens_valid_after IS NULL OR t.decided_at > g.tokens_valid_after)))`,
      { codeHash },
    );
    return rows[0];
  }

  /**
   * Moves a live request on: somebody takes a device code up, or a decision is made. Of any number of callers exactly
   * one learns whose it was.
   */
  static async move(
    db: TransactionOrKnex,
    change: {
      codeHash: Buffer;
      status: Exclude<DecoupledAuthorization["status"], "pending">;
      userId: string | null;
      grantId: string | null;
      payloadEnc: Buffer;
    },
  ): Promise<{ id: string } | undefined> {
    const rows = await DecoupledAuthorization.statement<{ id: string }>(
      db,
      `UPDATE decoupled_authorizations
       SET status = :status, user_id = coalesce(:userId, user_id), grant_id = :grantId, payload_enc = :payloadEnc,
           decided_at = CASE WHEN :status <> 'in_flight' THEN clock_timestamp() END
       WHERE code_hash = :codeHash AND expires_at > clock_timestamp()
         AND (status = 'pending' OR (status = 'in_flight' AND :status <> 'in_flight'))
       RETURNING id`,
      change,
    );
    return rows[0];
  }

  /**
   * Notes that the client asked. One that asks again before its interval is over is made to wait longer from now on;
   * parallel questions on any number of nodes count one after the other.
   *
   * @returns whether it waited long enough.
   */
  static async poll(db: TransactionOrKnex, codeHash: Buffer): Promise<boolean> {
    const rows = await DecoupledAuthorization.statement(
      db,
      `UPDATE decoupled_authorizations SET last_polled_at = clock_timestamp()
       WHERE code_hash = :codeHash AND (last_polled_at IS NULL
         OR last_polled_at <= clock_timestamp() - make_interval(secs => poll_interval - ${TOLERANCE}))
       RETURNING 1`,
      { codeHash },
    );
    if (rows.length === 1) return true;
    await DecoupledAuthorization.statement(
      db,
      `UPDATE decoupled_authorizations
       SET last_polled_at = clock_timestamp(), poll_interval = poll_interval + ${SLOWER_BY}
       WHERE code_hash = :codeHash`,
      { codeHash },
    );
    return false;
  }

  /** Adds the job that tells the client of the decision, in the caller's transaction (CIBA Core §10.2). */
  static async queuePing(db: TransactionOrKnex, codeHash: Buffer): Promise<void> {
    await DecoupledAuthorization.statement(
      db,
      `SELECT graphile_worker.add_job('deliver_ping', json_build_object('id', id), max_attempts => :attempts)
       FROM decoupled_authorizations WHERE code_hash = :codeHash`,
      { codeHash, attempts: PING_ATTEMPTS },
    );
  }

  /** The requests that wait for a user's decision, the oldest first. */
  static pendingOf(db: TransactionOrKnex, userId: string, now: Date) {
    return DecoupledAuthorization.query(db)
      .where({ userId, kind: "ciba", status: "pending" })
      .where("expiresAt", ">", now)
      .orderBy("createdAt");
  }

  /** Ends what waits for a user's decision; the clients are told that it was denied. */
  static async denyAllOf(db: TransactionOrKnex, userId: string, now: Date): Promise<void> {
    await DecoupledAuthorization.query(db)
      .patch({ status: "denied", decidedAt: now })
      .where({ userId, status: "pending" });
  }

  /** Spends the decision. Of any number of callers exactly one gets `true`. */
  static async consume(db: TransactionOrKnex, codeHash: Buffer, now: Date): Promise<boolean> {
    const rows = await DecoupledAuthorization.statement(
      db,
      `UPDATE decoupled_authorizations SET consumed_at = :now
       WHERE code_hash = :codeHash AND status IN ('approved', 'denied') AND consumed_at IS NULL RETURNING 1`,
      { codeHash, now },
    );
    return rows.length === 1;
  }
}
