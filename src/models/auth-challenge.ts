import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** A random value that an authenticator signs once (WebAuthn §13.4.3), bound to what it is for. */
export class AuthChallenge extends BaseModel {
  static override tableName = "auth_challenges";
  static override idColumn = "bindingHash";
  declare bindingHash: Buffer;
  declare challenge: Buffer;
  declare createdAt: Date;
  declare expiresAt: Date;

  /**
   * The challenge of a binding: the one that waits to be answered, so that two tabs with the same page both work, or
   * else `fresh`. There is never more than one row for a binding.
   */
  static async current(
    db: TransactionOrKnex,
    offer: { bindingHash: Buffer; fresh: Buffer; now: Date; expiresAt: Date },
  ): Promise<Buffer> {
    const rows = await AuthChallenge.statement<{ challenge: Buffer }>(
      db,
      `INSERT INTO auth_challenges AS c (binding_hash, challenge, created_at, expires_at)
       VALUES (:bindingHash, :fresh, :now, :expiresAt)
       ON CONFLICT (binding_hash) DO UPDATE SET (challenge, created_at, expires_at) = (
         SELECT CASE WHEN c.expires_at > excluded.created_at THEN c.challenge ELSE excluded.challenge END,
                excluded.created_at, excluded.expires_at)
       RETURNING challenge`,
      offer,
    );
    return rows[0]?.challenge ?? offer.fresh;
  }

  /** Spends a challenge. Of any number of callers exactly one gets `true`. */
  static async consume(
    db: TransactionOrKnex,
    answer: { bindingHash: Buffer; challenge: Buffer; now: Date },
  ): Promise<boolean> {
    const rows = await AuthChallenge.statement(
      db,
      `DELETE FROM auth_challenges
       WHERE binding_hash = :bindingHash AND challenge = :challenge AND expires_at > :now RETURNING 1`,
      answer,
    );
    return rows.length === 1;
  }
}
