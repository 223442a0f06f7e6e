import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** A code that was sent by e-mail, or for somebody we do not know, that was not. */
export class EmailCode extends BaseModel {
  static override tableName = "email_codes";
  static override idColumn = "bindingHash";
  /** Of the interaction, what the code is for, and who was named. */
  declare bindingHash: Buffer;
  declare userId: string | null;
  /** Keyed, so that eight digits cannot be found from it. */
  declare codeHash: Buffer;
  declare attempts: number;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare usedAt: Date | null;

  /** Puts a code in the place of the one before, unless that is younger than `pause` seconds; then `false`. */
  static async replace(
    db: TransactionOrKnex,
    code: {
      bindingHash: Buffer;
      userId: string | null;
      codeHash: Buffer;
      now: Date;
      expiresAt: Date;
      pause: number;
    },
  ): Promise<boolean> {
    const rows = await EmailCode.statement(
      db,
      `INSERT INTO email_codes AS c (binding_hash, user_id, code_hash, created_at, expires_at)
       VALUES (:bindingHash, :userId, :codeHash, :now, :expiresAt)
       ON CONFLICT (binding_hash) DO UPDATE SET user_id = EXCLUDED.user_id, code_hash = EXCLUDED.code_hash,
         attempts = 0, created_at = EXCLUDED.created_at, expires_at = EXCLUDED.expires_at, used_at = NULL
       WHERE c.created_at <= EXCLUDED.created_at - make_interval(secs => :pause)
       RETURNING 1`,
      code,
    );
    return rows.length === 1;
  }

  /** Counts a try and spends the code where it is right: one statement, so that parallel tries are as good as one. */
  static async tryCode(
    db: TransactionOrKnex,
    {
      bindingHash,
      codeHash,
      tries,
      now,
    }: { bindingHash: Buffer; codeHash: Buffer; tries: number; now: Date },
  ): Promise<{ isRight: boolean; userId: string | null } | undefined> {
    const [row] = await EmailCode.statement<{ is_right: boolean; user_id: string | null }>(
      db,
      `UPDATE email_codes SET attempts = attempts + 1, used_at = CASE WHEN code_hash = :codeHash THEN CAST(:now AS timestamptz) END
        WHERE binding_hash = :bindingHash AND used_at IS NULL AND expires_at > :now AND attempts < :tries
        RETURNING used_at IS NOT NULL AS is_right, user_id`,
      { bindingHash, codeHash, tries, now },
    );
    return row === undefined ? undefined : { isRight: row.is_right, userId: row.user_id };
  }
}
