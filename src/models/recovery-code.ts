import type { TransactionOrKnex } from "objection";
import { IdentifiedModel } from "./base.ts";

/** One recovery code: the part by which it is found, and a hash of the rest. */
export class RecoveryCode extends IdentifiedModel {
  static override tableName = "recovery_codes";
  declare userId: string;
  declare selector: string;
  /** A PHC string. */
  declare codeHash: string;
  declare createdAt: Date;
  declare usedAt: Date | null;

  /** Spends a code. Of any number of callers exactly one gets `true`. */
  static async spend(db: TransactionOrKnex, id: string, now: Date): Promise<boolean> {
    const rows = await RecoveryCode.statement(
      db,
      "UPDATE recovery_codes SET used_at = :now WHERE id = :id AND used_at IS NULL RETURNING 1",
      { id, now },
    );
    return rows.length === 1;
  }

  /** How many a person has left. */
  static async countLeft(db: TransactionOrKnex, userId: string): Promise<number> {
    return RecoveryCode.query(db).where({ userId, usedAt: null }).resultSize();
  }
}
