import { IdentifiedModel } from "./base.ts";

/** One of the secrets of a client; several may live at once while a client changes over. */
export class OAuthClientSecret extends IdentifiedModel {
  static override tableName = "oauth_client_secrets";
  declare clientId: string;
  declare secretHash: Buffer;
  /** The secret, sealed, where the client's algorithms need it (HMAC, symmetric encryption). */
  declare secretEnc: Buffer | null;
  /** The last characters, so that people can tell secrets apart. */
  declare hint: string;
  declare createdAt: Date;
  declare expiresAt: Date | null;
  declare revokedAt: Date | null;
}
