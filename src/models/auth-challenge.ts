import type { TransactionOrKnex } from "objection";
import type { LookUp } from "../database/look-up.ts";
import { BaseModel } from "./base.ts";

/** Two pages of one binding that ask at the same time get the same. */
const CURRENT: LookUp = {
  sql: `WITH asked AS (SELECT * FROM :each),
     kept AS (
       INSERT INTO auth_challenges AS c (binding_hash, challenge, created_at, expires_at)
       SELECT DISTINCT ON (bindingHash) bindingHash, fresh, now, expiresAt FROM asked ORDER BY bindingHash, n
       ON CONFLICT (binding_hash) DO UPDATE SET (challenge, created_at, expires_at) = (
         SELECT CASE WHEN c.expires_at > excluded.created_at THEN c.challenge ELSE excluded.challenge END,
                excluded.created_at, excluded.expires_at)
       RETURNING binding_hash, challenge)
   SELECT asked.n::int, kept.challenge FROM asked JOIN kept ON kept.binding_hash = asked.bindingHash`,
  each: { bindingHash: "bytea", fresh: "bytea", now: "timestamptz", expiresAt: "timestamptz" },
};

/** Of two that spend one challenge at the same time, the row is deleted for one. */
const CONSUME: LookUp = {
  sql: `DELETE FROM auth_challenges c USING :each
   WHERE c.binding_hash = k.bindingHash AND c.binding_hash = ANY(:bindingHash)
     AND c.challenge = k.challenge AND c.expires_at > k.now RETURNING k.n::int`,
  each: { bindingHash: "bytea", challenge: "bytea", now: "timestamptz" },
};

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
    const row = await AuthChallenge.lookUp<{ challenge: Buffer }>(db, CURRENT, offer);
    return row?.challenge ?? offer.fresh;
  }

  /** Spends a challenge. Of any number of callers exactly one gets `true`. */
  static async consume(
    db: TransactionOrKnex,
    answer: { bindingHash: Buffer; challenge: Buffer; now: Date },
  ): Promise<boolean> {
    return (await AuthChallenge.lookUp(db, CONSUME, answer)) !== undefined;
  }
}
