import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** A `jti` that was seen and must not be seen again until it expires (RFC 7523 §3, RFC 9449 §11.1). */
export class ReplayGuard extends BaseModel {
  static override tableName = "replay_guards";
  static override idColumn = "keyHash";
  declare keyHash: Buffer;
  declare expiresAt: Date;

  /** Takes note of a value. Of any number of callers exactly one gets `true`. */
  static async claim(
    db: TransactionOrKnex,
    keyHash: Buffer,
    expiresAt: Date,
    now: Date,
  ): Promise<boolean> {
    const rows = await ReplayGuard.statement(
      db,
      `INSERT INTO replay_guards AS r (key_hash, expires_at) VALUES (:keyHash, :expiresAt)
       ON CONFLICT (key_hash) DO UPDATE SET expires_at = EXCLUDED.expires_at WHERE r.expires_at <= :now
       RETURNING 1`,
      { keyHash, expiresAt, now },
    );
    return rows.length === 1;
  }
}
