import { IdentifiedModel } from "./base.ts";

/** Somebody who may make an account though registration is not open; one at a time for an address. */
export class Invitation extends IdentifiedModel {
  static override tableName = "invitations";
  declare email: string;
  declare emailNorm: string;
  /** The key of the row of the client that it leads to. */
  declare clientId: string | null;
  /** The one-time token of its link. */
  declare letterId: string;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare acceptedAt: Date | null;
  declare acceptedUserId: string | null;
  declare revokedAt: Date | null;
}
