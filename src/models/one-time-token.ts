import type { TransactionOrKnex } from "objection";
import { IdentifiedModel } from "./base.ts";

/** A link that works once; most also have a code that is typed where somebody asked for it. */
export class OneTimeToken extends IdentifiedModel {
  static override tableName = "one_time_tokens";
  declare purpose:
    | "setup"
    | "register"
    | "verify_email"
    | "reset_password"
    | "undo_email_change"
    | "invitation";
  /** Without one before its mail is written, and for ever where there is nobody to write to. */
  declare tokenHash: Buffer | null;
  declare codeHash: Buffer | null;
  declare userId: string | null;
  /** The row of the address that it verifies. */
  declare emailId: string | null;
  declare targetHash: Buffer | null;
  declare bindingHash: Buffer | null;
  declare contextEnc: Buffer | null;
  declare attempts: number;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare usedAt: Date | null;
  declare revokedAt: Date | null;
  declare revokeReason: "superseded" | "password_changed" | "email_changed" | "withdrawn" | null;

  /** Counts a try of a code; `undefined` where the row is over, or five were wrong. */
  static async countTry(
    db: TransactionOrKnex,
    id: string,
    now: Date,
  ): Promise<{ codeHash: Buffer | null } | undefined> {
    const [row] = await OneTimeToken.statement<{ codeHash: Buffer | null }>(
      db,
      `UPDATE one_time_tokens SET attempts = attempts + 1
        WHERE id = :id AND attempts < 5 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > :now
        RETURNING code_hash AS "codeHash"`,
      { id, now },
    );
    return row;
  }

  /** Uses a row up. Of any number of callers exactly one gets `true`. */
  static async spend(db: TransactionOrKnex, id: string, now: Date): Promise<boolean> {
    const spent = await OneTimeToken.query(db)
      .patch({ usedAt: now })
      .where({ id, usedAt: null, revokedAt: null })
      .where("expiresAt", ">", now);
    return spent === 1;
  }

  /** Voids what a user could still use, for whatever purpose unless one is named. */
  static async revokeOf(
    db: TransactionOrKnex,
    whose: { readonly userId: string; readonly purpose?: OneTimeToken["purpose"] },
    reason: NonNullable<OneTimeToken["revokeReason"]>,
    now: Date,
  ): Promise<void> {
    await OneTimeToken.query(db)
      .patch({ revokedAt: now, revokeReason: reason })
      .where({ ...whose, usedAt: null, revokedAt: null });
  }
}
