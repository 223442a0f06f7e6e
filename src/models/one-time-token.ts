import { IdentifiedModel } from "./base.ts";

/** A link that works once. */
export class OneTimeToken extends IdentifiedModel {
  static override tableName = "one_time_tokens";
  declare purpose: "setup";
  declare tokenHash: Buffer;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare usedAt: Date | null;
  declare revokedAt: Date | null;
}
