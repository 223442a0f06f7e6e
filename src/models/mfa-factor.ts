import type { TransactionOrKnex } from "objection";
import { IdentifiedModel } from "./base.ts";

/** An authenticator app of a person, or one that is being set up, with its seed sealed; or their mailbox. */
export class MfaFactor extends IdentifiedModel {
  static override tableName = "mfa_factors";
  declare userId: string;
  declare type: "totp" | "email";
  declare name: string;
  declare secretEnc: Buffer | null;
  /** Of the interaction or session in which it is being set up. */
  declare bindingHash: Buffer | null;
  /** Wrong codes since the last right one. */
  declare failures: number;
  /** The time step of the newest code that was accepted (RFC 6238 §5.2). */
  declare lastUsedStep: string | null;
  declare lastUsedAt: Date | null;
  /** Since when it is off because of too many wrong codes. */
  declare disabledAt: Date | null;
  declare verifiedAt: Date | null;
  declare createdAt: Date;

  /** Counts a try against everything that could accept it, and answers what that is. */
  static async countTry(
    db: TransactionOrKnex,
    userId: string,
  ): Promise<{ id: string; secret_enc: Buffer; failures: number }[]> {
    return MfaFactor.statement(
      db,
      `UPDATE mfa_factors SET failures = failures + 1
        WHERE user_id = :userId AND type = 'totp' AND verified_at IS NOT NULL AND disabled_at IS NULL
        RETURNING id, secret_enc, failures`,
      { userId },
    );
  }

  /** Spends a time step and those before it. Of any number of callers exactly one gets `true`. */
  static async spendStep(
    db: TransactionOrKnex,
    id: string,
    step: number,
    now: Date,
  ): Promise<boolean> {
    const rows = await MfaFactor.statement(
      db,
      `UPDATE mfa_factors SET last_used_step = :step, last_used_at = :now
        WHERE id = :id AND disabled_at IS NULL AND (last_used_step IS NULL OR last_used_step < :step)
        RETURNING 1`,
      { id, step, now },
    );
    return rows.length === 1;
  }

  /** Turns those off that have failed too often; `true` where any was on until now. */
  static async disableFailing(
    db: TransactionOrKnex,
    { userId, failures, now }: { userId: string; failures: number; now: Date },
  ): Promise<boolean> {
    const rows = await MfaFactor.statement(
      db,
      `UPDATE mfa_factors SET disabled_at = :now
        WHERE user_id = :userId AND failures >= :failures AND disabled_at IS NULL RETURNING 1`,
      { userId, failures, now },
    );
    return rows.length > 0;
  }

  /** Ends the setting up of a factor with its first code. Of any number of callers exactly one gets `true`. */
  static async confirm(
    db: TransactionOrKnex,
    { id, name, step, now }: { id: string; name: string; step: number; now: Date },
  ): Promise<boolean> {
    const rows = await MfaFactor.statement(
      db,
      `UPDATE mfa_factors SET verified_at = :now, binding_hash = NULL, name = :name, last_used_step = :step,
              last_used_at = :now
        WHERE id = :id AND verified_at IS NULL RETURNING 1`,
      { id, name, step, now },
    );
    return rows.length === 1;
  }
}
