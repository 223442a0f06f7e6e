import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** A sign-in at an identity provider that is on its way: bound to one browser, answered once, its outcome taken once. */
export class FederationState extends BaseModel {
  static override tableName = "federation_states";
  static override idColumn = "stateHash";
  declare stateHash: Buffer;
  declare providerId: string;
  declare purpose: "login" | "link" | "test" | "logout";
  declare bindingHash: Buffer;
  declare userId: string | null;
  declare returnTo: string;
  declare secretsEnc: Buffer;
  declare createdAt: Date;
  declare answeredAt: Date | null;
  declare outcomeHash: Buffer | null;
  declare outcomeEnc: Buffer | null;
  declare expiresAt: Date;

  /** Spends a state on the answer that names it. Of any number of callers exactly one gets it. */
  static async answer(
    db: TransactionOrKnex,
    {
      now,
      purposes,
      ...key
    }: {
      stateHash: Buffer;
      bindingHash: Buffer;
      providerId: string;
      purposes: readonly FederationState["purpose"][];
      now: Date;
    },
  ): Promise<FederationState | undefined> {
    return await FederationState.query(db)
      .patch({ answeredAt: now })
      .where(key)
      .whereIn("purpose", purposes)
      .whereNull("answeredAt")
      .where("expiresAt", ">", now)
      .returning("*")
      .first();
  }

  /** Takes an outcome. Of any number of callers exactly one gets it. */
  static async take(
    db: TransactionOrKnex,
    { now, ...key }: { outcomeHash: Buffer; bindingHash: Buffer; now: Date },
  ): Promise<FederationState | undefined> {
    return await FederationState.query(db)
      .delete()
      .where(key)
      .where("expiresAt", ">", now)
      .returning("*")
      .first();
  }
}
