import { BaseModel } from "./base.ts";

/** What a SAML identity provider needs beside its row among the identity providers. */
export class SamlConnection extends BaseModel {
  static override tableName = "saml_connections";
  static override idColumn = "providerId";
  declare providerId: string;
  declare metadataUrl: string | null;
  declare metadataXml: string;
  declare metadataFetchedAt: Date | null;
  declare metadataValidUntil: Date | null;
  /** What the last look at `metadataUrl` found and an operator has not agreed to. */
  declare pendingXml: string | null;
  declare nameIdFormat: string | null;
  declare signRequests: boolean;
  declare wantResponseSigned: boolean;
  declare wantEncrypted: boolean;
  declare allowIdpInitiated: boolean;
  declare allowLegacyCrypto: boolean;
  /** Ours, as PEM: what requests are signed with and assertions encrypted for. The first of several is used. */
  declare spCertificate: string;
  declare spPrivateKeyEnc: Buffer;
  declare updatedAt: Date;
}
