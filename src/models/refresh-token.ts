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

const FIND = lookUp(
  `SELECT t.counter, t.rotated_at, t.user_id, t.scope, t.payload, t.expires_at, t.revoked_at,
     t.session_uid AS bound_session_uid, ${TOKEN_CONTEXT_COLUMNS}, ${USER_COLUMN}
   FROM refresh_tokens t ${GRANT_JOIN}
   LEFT JOIN sessions s ON s.uid = t.session_uid AND s.ended_at IS NULL
   WHERE t.id = k.id`,
  { id: "uuid" },
);

/** What a rotation changes: the counter, and what the engine says of the successor when it comes to that. */
export interface Rotation {
  readonly id: string;
  /** Of the token that is exchanged. */
  readonly counter: number;
  readonly now: Date;
  /** As JSON. */
  payload: string | null;
  expiresAt: Date | null;
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
       SELECT k.id, k.counter, g.id, g.client_id, k.userId, k.sessionUid, k.scope, k.payload, k.expiresAt,
              (k.expiresAt AT TIME ZONE 'UTC')::date + 2
       FROM :each JOIN oauth_grants g ON g.id = k.grantId AND g.id = ANY(:grantId)
       ON CONFLICT (id) DO UPDATE SET payload = EXCLUDED.payload, expires_at = EXCLUDED.expires_at, gc_on = EXCLUDED.gc_on
       WHERE r.counter = EXCLUDED.counter AND r.revoked_at IS NULL`,
      each: {
        id: "uuid",
        counter: "integer",
        grantId: "uuid",
        userId: "uuid",
        sessionUid: "text",
        scope: "text",
        payload: "jsonb",
        expiresAt: "timestamptz",
      },
      bindings: { ...token, payload: JSON.stringify(token.payload) },
    };
  }

  static async find(db: TransactionOrKnex, id: string): Promise<RefreshTokenRow | undefined> {
    return RefreshToken.lookUp(db, FIND, { id });
  }

  /**
   * Moves the family from a counter to its successor, if its grant still covers it. Of any number of callers it does
   * something for one.
   */
  static rotation(rotation: Rotation): Statement {
    return {
      sql: `UPDATE refresh_tokens t SET counter = t.counter + 1, rotated_at = k.now,
         payload = coalesce(k.payload, t.payload), expires_at = coalesce(k.expiresAt, t.expires_at),
         gc_on = coalesce((k.expiresAt AT TIME ZONE 'UTC')::date + 2, t.gc_on)
       FROM :each
       WHERE t.id = k.id AND t.id = ANY(:id) AND t.counter = k.counter AND t.revoked_at IS NULL AND ${IS_COVERED}
       RETURNING k.n::int`,
      each: {
        id: "uuid",
        counter: "integer",
        now: "timestamptz",
        payload: "jsonb",
        expiresAt: "timestamptz",
      },
      bindings: rotation as unknown as Statement["bindings"],
    };
  }

  static async revoke(db: TransactionOrKnex, id: string, now: Date): Promise<void> {
    await RefreshToken.query(db).patch({ revokedAt: now }).where({ id }).whereNull("revokedAt");
  }
}
