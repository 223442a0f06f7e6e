import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** A registered type of authorization details (RFC 9396 §2), with what such details may say. */
export class AuthorizationType extends BaseModel {
  static override tableName = "authorization_types";
  static override idColumn = "type";
  static override jsonAttributes = ["definition"];
  declare type: string;
  /** As `consents/authorization-types.ts` reads it. */
  declare definition: unknown;
  declare createdAt: Date;
  declare updatedAt: Date;

  /** Deletes a type unless a client is registered for it; `false` where one is, or where there is no such type. */
  static async remove(db: TransactionOrKnex, type: string): Promise<boolean> {
    const rows = await AuthorizationType.statement(
      db,
      `DELETE FROM authorization_types WHERE type = :type AND NOT EXISTS (
         SELECT 1 FROM oauth_clients c WHERE c.deleted_at IS NULL
           AND c.metadata -> 'authorization_details_types' @> to_jsonb(CAST(:type AS text)))
       RETURNING 1`,
      { type },
    );
    return rows.length === 1;
  }
}
