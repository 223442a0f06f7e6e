import { Model, type RelationMappings, type TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import { IdentifiedModel } from "./base.ts";
import { OAuthClientSecret } from "./oauth-client-secret.ts";

/** As JSON, because a prepared statement must not have other columns one day. */
const FIND_ACTIVE = lookUp(
  `SELECT to_json(c) AS client,
     (SELECT json_agg(s) FROM oauth_client_secrets s WHERE s.client_id = c.id) AS secrets
   FROM oauth_clients c
   WHERE c.client_id = k.clientId AND c.status = 'active' AND c.deleted_at IS NULL`,
  { clientId: "text" },
);

/** A registered relying party (RFC 7591 §2). `clientId` is its public identifier, `id` the key that rows refer to. */
export class OAuthClient extends IdentifiedModel {
  static override tableName = "oauth_clients";
  static override jsonAttributes = ["jwks", "metadata"];
  declare clientId: string;
  declare name: string;
  declare status: "active" | "disabled";
  declare applicationType: "web" | "native";
  /** Whether it registered itself, so that nobody has looked at what it says of itself. */
  declare isDynamic: boolean;
  /** Whether its identifier is the address of the document that it was read from. */
  declare fromDocument: boolean;
  /** The name of the issuer it belongs to; empty for the first one. */
  declare issuer: string;
  declare tokenEndpointAuthMethod:
    | "none"
    | "client_secret_basic"
    | "client_secret_post"
    | "client_secret_jwt"
    | "private_key_jwt"
    | "tls_client_auth"
    | "self_signed_tls_client_auth"
    | "attest_jwt_client_auth"
    | "attest_jwt_client_auth_dpop";
  declare redirectUris: string[];
  declare postLogoutRedirectUris: string[];
  declare grantTypes: string[];
  declare responseTypes: string[];
  declare scope: string | null;
  declare jwks: { keys: Record<string, unknown>[] } | null;
  declare jwksUri: string | null;
  declare consentMode: "explicit" | "first_party";
  /** Seconds in which the previous refresh token still answers with its successor. */
  declare refreshReuseInterval: number;
  declare corsOrigins: string[];
  declare metadata: Record<string, unknown>;
  declare version: number;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare deletedAt: Date | null;
  declare secrets?: OAuthClientSecret[];

  /** A client that may be used, by its public identifier, with its secrets. */
  static async findActive(
    db: TransactionOrKnex,
    clientId: string,
  ): Promise<OAuthClient | undefined> {
    const row = await OAuthClient.lookUp<{ client: object; secrets: object[] | null }>(
      db,
      FIND_ACTIVE,
      { clientId },
    );
    if (row === undefined) return undefined;
    const client = OAuthClient.fromJsonRow(row.client);
    client.secrets = (row.secrets ?? []).map((secret) => OAuthClientSecret.fromJsonRow(secret));
    return client;
  }

  static override get relationMappings(): RelationMappings {
    return {
      secrets: {
        relation: Model.HasManyRelation,
        modelClass: OAuthClientSecret,
        join: { from: "oauth_clients.id", to: "oauth_client_secrets.clientId" },
      },
    };
  }
}
