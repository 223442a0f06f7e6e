import { IdentifiedModel } from "./base.ts";

/** What a user allowed a client, until one of them takes it back. */
export class OAuthConsent extends IdentifiedModel {
  static override tableName = "oauth_consents";
  declare userId: string;
  declare clientId: string;
  declare scopes: string[];
  declare rejectedScopes: string[];
  declare grantedAt: Date;
  declare updatedAt: Date;
  declare revokedAt: Date | null;
}
