import { IdentifiedModel } from "./base.ts";

/** A browser on which a person is not asked for the second step again, by the hash of its cookie. */
export class TrustedBrowser extends IdentifiedModel {
  static override tableName = "trusted_browsers";
  declare userId: string;
  declare tokenHash: Buffer;
  /** Of what the browser calls itself, without versions. */
  declare agentHash: Buffer;
  /** As the person reads it: the browser and the system. */
  declare name: string;
  declare createdAt: Date;
  declare lastUsedAt: Date;
  declare expiresAt: Date;
}
