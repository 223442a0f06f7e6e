import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** What an identity provider lets us use its APIs with, for one person; kept only where its connection says so. */
export class IdentityToken extends BaseModel {
  static override tableName = "identity_tokens";
  static override idColumn = "identityId";
  declare identityId: string;
  declare accessTokenEnc: Buffer;
  declare refreshTokenEnc: Buffer | null;
  declare scopes: string[];
  declare expiresAt: Date | null;
  /** Until when somebody is getting new ones. */
  declare refreshingUntil: Date | null;
  declare updatedAt: Date;

  /** Takes the right to get new tokens. Of any number of callers one has it until then, or until it gives it back. */
  static async reserve(
    db: TransactionOrKnex,
    { identityId, now, until }: { identityId: string; now: Date; until: Date },
  ): Promise<IdentityToken | undefined> {
    return await IdentityToken.query(db)
      .patch({ refreshingUntil: until })
      .where({ identityId })
      .where((free) => free.whereNull("refreshingUntil").orWhere("refreshingUntil", "<", now))
      .returning("*")
      .first();
  }

  /** Gives that right back, if it still is who took it. */
  static async release(
    db: TransactionOrKnex,
    { identityId, refreshingUntil }: IdentityToken,
  ): Promise<void> {
    await IdentityToken.query(db)
      .patch({ refreshingUntil: null })
      .where({ identityId, refreshingUntil });
  }
}
