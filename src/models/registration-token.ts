import type { TransactionOrKnex } from "objection";
import { BaseModel, IdentifiedModel } from "./base.ts";

/** What lets somebody register clients (RFC 7591 §3, "initial access token"), by its hash. */
export class InitialAccessToken extends IdentifiedModel {
  static override tableName = "initial_access_tokens";
  declare name: string;
  /** The name of the issuer whose clients it registers; empty for the first one. */
  declare issuer: string;
  declare tokenHash: Buffer;
  /** How many clients it may register; any number where it is null. */
  declare maxUses: number | null;
  declare uses: number;
  declare createdAt: Date;
  declare expiresAt: Date | null;
  declare revokedAt: Date | null;

  static async findUsable(
    db: TransactionOrKnex,
    { issuer, tokenHash }: { issuer: string; tokenHash: Buffer },
    now: Date,
  ): Promise<InitialAccessToken | undefined> {
    return InitialAccessToken.query(db)
      .findOne({ issuer, tokenHash, revokedAt: null })
      .where((token) => token.whereNull("expiresAt").orWhere("expiresAt", ">", now))
      .where((token) => token.whereNull("maxUses").orWhereColumn("uses", "<", "maxUses"));
  }

  /** Counts one use. Of any number of callers no more get `true` than uses are left. */
  static async spend(db: TransactionOrKnex, tokenHash: Buffer, now: Date): Promise<boolean> {
    const rows = await InitialAccessToken.statement(
      db,
      `UPDATE initial_access_tokens SET uses = uses + 1
       WHERE token_hash = :tokenHash AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
         AND (max_uses IS NULL OR uses < max_uses) RETURNING 1`,
      { tokenHash, now },
    );
    return rows.length === 1;
  }
}

/** What lets a client read and change its own registration (RFC 7592 §1), by its hash; each client has one. */
export class RegistrationAccessToken extends BaseModel {
  static override tableName = "registration_access_tokens";
  static override idColumn = "clientId";
  /** The key of the client's row. */
  declare clientId: string;
  declare tokenHash: Buffer;
  declare createdAt: Date;
}
