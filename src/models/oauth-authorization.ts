import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import type { Statement } from "../database/statement.ts";
import { BaseModel } from "./base.ts";
import {
  GRANT_JOIN,
  IS_COVERED,
  TOKEN_CONTEXT_COLUMNS,
  USER_COLUMN,
  type TokenContextRow,
} from "./token-context.ts";

/** Longest life of an authorization code; bounds the partitions a look-up touches. */
const MAX_LIFETIME = "interval '10 minutes'";
/** How long a code is kept after it ended, so that its reuse is noticed (RFC 6749 §4.1.2). */
const KEPT = "interval '24 hours'";
const IN_TIME = `t.expires_at > CAST(:now AS timestamptz) - ${KEPT}
  AND t.expires_at <= CAST(:now AS timestamptz) + ${MAX_LIFETIME}`;

/**
 * Ending a session revokes the grants of it. One that was being written at that moment escapes, and waits for the session
 * before it is committed: its code comes to nothing. Who only signed out keeps offline access (OIDC Core §11).
 */
const WAS_CUT_OFF = `EXISTS (SELECT FROM sessions e
   WHERE e.uid = t.session_uid AND e.ended_at IS NOT NULL AND e.end_reason <> 'logout')`;

const FIND = lookUp(
  `SELECT t.client_id, t.user_id, t.redirect_uri, t.scope, t.payload, t.expires_at, t.consumed_at,
     t.session_uid AS bound_session_uid, ${TOKEN_CONTEXT_COLUMNS}, ${USER_COLUMN}
   FROM oauth_authorizations t ${GRANT_JOIN}
   LEFT JOIN sessions s ON s.uid = t.session_uid AND s.ended_at IS NULL
   WHERE t.code_hash = k.codeHash AND ${IN_TIME} AND NOT ${WAS_CUT_OFF}`,
  { codeHash: "bytea" },
);

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
            SELECT k.codeHash, k.expiresAt, g.id, g.client_id, k.userId, k.sessionUid, k.redirectUri, k.scope, k.payload
            FROM :each JOIN oauth_grants g ON g.id = k.grantId AND g.id = ANY(:grantId)`,
      each: {
        codeHash: "bytea",
        expiresAt: "timestamptz",
        grantId: "uuid",
        userId: "uuid",
        sessionUid: "text",
        redirectUri: "text",
        scope: "text",
        payload: "jsonb",
      },
      bindings: { ...code, payload: JSON.stringify(code.payload) },
    };
  }

  static async find(
    db: TransactionOrKnex,
    codeHash: Buffer,
    now: Date,
  ): Promise<OAuthAuthorizationRow | undefined> {
    return OAuthAuthorization.lookUp(db, FIND, { codeHash, now });
  }

  /** Spends the code, if its grant still covers it. Of any number of callers it does something for one. */
  static consumption(codeHash: Buffer, now: Date): Statement {
    return {
      sql: `UPDATE oauth_authorizations t SET consumed_at = :now
            FROM :each
            WHERE t.code_hash = k.codeHash AND t.code_hash = ANY(:codeHash) AND ${IN_TIME} AND t.consumed_at IS NULL AND ${IS_COVERED}
            RETURNING k.n::int`,
      each: { codeHash: "bytea" },
      bindings: { codeHash, now },
    };
  }

  static async remove(db: TransactionOrKnex, codeHash: Buffer, now: Date): Promise<void> {
    await OAuthAuthorization.statement(
      db,
      `DELETE FROM oauth_authorizations t WHERE t.code_hash = :codeHash AND ${IN_TIME}`,
      {
        codeHash,
        now,
      },
    );
  }
}
