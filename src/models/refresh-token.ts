import type { TransactionOrKnex } from "objection";
import type { Statement } from "../database/statement.ts";
import { BaseModel } from "./base.ts";
import { GRANT_JOIN, TOKEN_CONTEXT_COLUMNS, type TokenContextRow } from "./token-context.ts";

interface RefreshTokenRow extends TokenContextRow {
  /** The session it is bound to, which may have ended; `session_uid` is there only while it lives. */
  bound_session_uid: string | null;
  counter: number;
  rotated_at: Date | null;
  user_id: string;
  scope: string | null;
  payload: Record<string, unknown>;
  expires_at: Date;
  revoked_at: Date | null;
}

/**
 * A family of refresh tokens: the first one and everything it was exchanged for. The current token is the one that
 * carries `counter`, so rotation (RFC 9700 §4.14.2) is one conditional update and a race has one winner.
 */
export class RefreshToken extends BaseModel {
  static override tableName = "refresh_tokens";
  static override jsonAttributes = ["payload"];
  declare id: string;
  declare grantId: string;
  declare clientId: string;
  declare userId: string;
  declare counter: number;
  declare rotatedAt: Date | null;
  declare sessionUid: string | null;
  declare scope: string | null;
  declare payload: Record<string, unknown>;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare gcOn: string;
  declare revokedAt: Date | null;

  /** The write that starts a family, or stores what a rotation changed; a token no longer current changes nothing. */
  static addition(token: {
    id: string;
    counter: number;
    grantId: string;
    userId: string;
    sessionUid: string | null;
    scope: string | null;
    payload: Record<string, unknown>;
    expiresAt: Date;
  }): Statement {
    return {
      sql: `INSERT INTO refresh_tokens AS r (id, counter, grant_id, client_id, user_id, session_uid, scope, payload, expires_at, gc_on)
       SELECT :id, :counter, g.id, g.client_id, :userId, :sessionUid, :scope, :payload, :expiresAt,
              (CAST(:expiresAt AS timestamptz) AT TIME ZONE 'UTC')::date + 2
       FROM oauth_grants g WHERE g.id = :grantId
       ON CONFLICT (id) DO UPDATE SET payload = EXCLUDED.payload, expires_at = EXCLUDED.expires_at, gc_on = EXCLUDED.gc_on
       WHERE r.counter = EXCLUDED.counter AND r.revoked_at IS NULL`,
      bindings: { ...token, payload: JSON.stringify(token.payload) },
    };
  }

  static async find(db: TransactionOrKnex, id: string): Promise<RefreshTokenRow | undefined> {
    const rows = await RefreshToken.statement<RefreshTokenRow>(
      db,
      `SELECT t.counter, t.rotated_at, t.user_id, t.scope, t.payload, t.expires_at, t.revoked_at, t.session_uid AS bound_session_uid, ${TOKEN_CONTEXT_COLUMNS}
       FROM refresh_tokens t ${GRANT_JOIN}
       LEFT JOIN sessions s ON s.uid = t.session_uid AND s.ended_at IS NULL
       WHERE t.id = :id`,
      { id },
    );
    return rows[0];
  }

  /** Moves the family from `counter` to its successor. Of any number of callers exactly one gets `true`. */
  static async rotate(
    db: TransactionOrKnex,
    id: string,
    counter: number,
    now: Date,
  ): Promise<boolean> {
    const rows = await RefreshToken.statement(
      db,
      `UPDATE refresh_tokens SET counter = counter + 1, rotated_at = :now
       WHERE id = :id AND counter = :counter AND revoked_at IS NULL RETURNING 1`,
      { id, counter, now },
    );
    return rows.length === 1;
  }

  static async revoke(db: TransactionOrKnex, id: string, now: Date): Promise<void> {
    await RefreshToken.query(db).patch({ revokedAt: now }).where({ id }).whereNull("revokedAt");
  }
}
