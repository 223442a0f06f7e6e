import type { TransactionOrKnex } from "objection";
import type { Statement } from "../database/statement.ts";
import { BaseModel } from "./base.ts";
import { GRANT_JOIN, TOKEN_CONTEXT_COLUMNS, type TokenContextRow } from "./token-context.ts";

/** Longest life of an authorization code; bounds the partitions a look-up touches. */
const MAX_LIFETIME = "interval '10 minutes'";
/** How long a code is kept after it ended, so that its reuse is noticed (RFC 6749 §4.1.2). */
const KEPT = "interval '24 hours'";
const WHERE = `t.code_hash = :codeHash AND t.expires_at > CAST(:now AS timestamptz) - ${KEPT}
  AND t.expires_at <= CAST(:now AS timestamptz) + ${MAX_LIFETIME}`;

interface OAuthAuthorizationRow extends TokenContextRow {
  /** The session it is bound to, which may have ended; `session_uid` is there only while it lives. */
  bound_session_uid: string | null;
  client_id: string;
  user_id: string;
  redirect_uri: string;
  scope: string | null;
  payload: Record<string, unknown>;
  expires_at: Date;
  consumed_at: Date | null;
}

/** An authorization code (RFC 6749 §4.1.2), by its hash. */
export class OAuthAuthorization extends BaseModel {
  static override tableName = "oauth_authorizations";
  static override idColumn = ["codeHash", "expiresAt"];
  static override jsonAttributes = ["payload"];
  declare codeHash: Buffer;
  declare expiresAt: Date;
  declare grantId: string;
  declare clientId: string;
  declare userId: string;
  declare sessionUid: string | null;
  declare redirectUri: string;
  declare scope: string | null;
  declare payload: Record<string, unknown>;
  declare createdAt: Date;
  declare consumedAt: Date | null;

  /** The write that adds a code. */
  static addition(code: {
    codeHash: Buffer;
    expiresAt: Date;
    grantId: string;
    userId: string;
    sessionUid: string | null;
    redirectUri: string;
    scope: string | null;
    payload: Record<string, unknown>;
  }): Statement {
    return {
      sql: `INSERT INTO oauth_authorizations (code_hash, expires_at, grant_id, client_id, user_id, session_uid, redirect_uri, scope, payload)
            SELECT :codeHash, :expiresAt, g.id, g.client_id, :userId, :sessionUid, :redirectUri, :scope, :payload
            FROM oauth_grants g WHERE g.id = :grantId`,
      bindings: { ...code, payload: JSON.stringify(code.payload) },
    };
  }

  static async find(
    db: TransactionOrKnex,
    codeHash: Buffer,
    now: Date,
  ): Promise<OAuthAuthorizationRow | undefined> {
    const rows = await OAuthAuthorization.statement<OAuthAuthorizationRow>(
      db,
      `SELECT t.client_id, t.user_id, t.redirect_uri, t.scope, t.payload, t.expires_at, t.consumed_at, t.session_uid AS bound_session_uid, ${TOKEN_CONTEXT_COLUMNS}
       FROM oauth_authorizations t ${GRANT_JOIN}
       LEFT JOIN sessions s ON s.uid = t.session_uid AND s.ended_at IS NULL
       WHERE ${WHERE}`,
      { codeHash, now },
    );
    return rows[0];
  }

  /** Spends the code. Of any number of callers exactly one gets `true`. */
  static async consume(db: TransactionOrKnex, codeHash: Buffer, now: Date): Promise<boolean> {
    const rows = await OAuthAuthorization.statement(
      db,
      `UPDATE oauth_authorizations t SET consumed_at = :now WHERE ${WHERE} AND t.consumed_at IS NULL RETURNING 1`,
      { codeHash, now },
    );
    return rows.length === 1;
  }

  static async remove(db: TransactionOrKnex, codeHash: Buffer, now: Date): Promise<void> {
    await OAuthAuthorization.statement(db, `DELETE FROM oauth_authorizations t WHERE ${WHERE}`, {
      codeHash,
      now,
    });
  }
}
