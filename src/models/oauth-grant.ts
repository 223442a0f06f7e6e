import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import type { Statement } from "../database/statement.ts";
import { BaseModel } from "./base.ts";

const FIND_LIVE = lookUp(
  "SELECT id, user_id, payload, expires_at FROM oauth_grants WHERE id = k.id AND revoked_at IS NULL",
  { id: "uuid" },
);

/** What one sign-in of a user at a client may do: the engine's Grant. Tokens die with it. */
export class OAuthGrant extends BaseModel {
  static override tableName = "oauth_grants";
  static override jsonAttributes = ["payload"];
  declare id: string;
  declare userId: string;
  declare clientId: string;
  declare sessionUid: string | null;
  /** The grant of the token that was exchanged for those of this one; whatever ends it ends this one too. */
  declare parentId: string | null;
  declare payload: Record<string, unknown>;
  /** Tokens made before this moment are void, however many there are. */
  declare tokensValidAfter: Date | null;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare gcOn: string;
  declare revokedAt: Date | null;

  /** A grant that nobody has revoked: as much of it as the engine keeps. */
  static async findLive(db: TransactionOrKnex, id: string): Promise<OAuthGrant | undefined> {
    const row = await OAuthGrant.lookUp(db, FIND_LIVE, { id });
    return row && OAuthGrant.fromRow(row);
  }

  /**
   * The write that saves a grant; `clientId` is the client's public identifier. A revoked grant stays revoked. Of several
   * that are written together the last one is kept.
   */
  static saving(grant: {
    id: string;
    userId: string;
    clientId: string;
    sessionUid: string | null;
    payload: Record<string, unknown>;
    expiresAt: Date;
  }): Statement {
    return {
      sql: `INSERT INTO oauth_grants AS g (id, user_id, client_id, session_uid, payload, expires_at, gc_on)
       SELECT DISTINCT ON (k.id) k.id, k.userId, c.id, k.sessionUid, k.payload, k.expiresAt,
              (k.expiresAt AT TIME ZONE 'UTC')::date + 2
       FROM :each JOIN oauth_clients c ON c.client_id = k.clientId AND c.client_id = ANY(:clientId)
       ORDER BY k.id, k.n DESC
       ON CONFLICT (id) DO UPDATE SET payload = EXCLUDED.payload, expires_at = EXCLUDED.expires_at, gc_on = EXCLUDED.gc_on
       WHERE g.revoked_at IS NULL`,
      each: {
        id: "uuid",
        userId: "uuid",
        clientId: "text",
        sessionUid: "text",
        payload: "jsonb",
        expiresAt: "timestamptz",
      },
      bindings: { ...grant, payload: JSON.stringify(grant.payload) },
    };
  }

  /**
   * Makes a grant end whenever `parentId` does, from whose token of the moment `issuedAt` it comes (RFC 8693). Whoever
   * revokes the parent now waits for this transaction, and ends both.
   *
   * @returns whether the parent still covers that token.
   */
  static async derive(
    db: TransactionOrKnex,
    { id, parentId, issuedAt }: { id: string; parentId: string; issuedAt: Date },
  ): Promise<boolean> {
    const rows = await OAuthGrant.statement(
      db,
      `UPDATE oauth_grants c SET parent_id = p.id
       FROM (SELECT id FROM oauth_grants WHERE id = :parentId AND revoked_at IS NULL
              AND (tokens_valid_after IS NULL OR tokens_valid_after <= :issuedAt) FOR SHARE) p
       WHERE c.id = :id RETURNING 1`,
      { id, parentId, issuedAt },
    );
    return rows.length === 1;
  }

  /** Voids every token of the grant by one write, and leaves the grant itself. */
  static async voidTokens(db: TransactionOrKnex, id: string): Promise<void> {
    await OAuthGrant.statement(
      db,
      "UPDATE oauth_grants SET tokens_valid_after = clock_timestamp() WHERE id = :id",
      { id },
    );
  }

  /**
   * Revokes the grant, and with it everything that was issued under it. Of any number of callers exactly one learns
   * whose it was.
   */
  static async revoke(
    db: TransactionOrKnex,
    id: string,
  ): Promise<{ id: string; userId: string } | undefined> {
    const rows = await OAuthGrant.statement<{ user_id: string }>(
      db,
      `UPDATE oauth_grants SET revoked_at = clock_timestamp(), tokens_valid_after = clock_timestamp()
       WHERE id = :id AND revoked_at IS NULL RETURNING user_id`,
      { id },
    );
    return rows[0] && { id, userId: rows[0].user_id };
  }
}
