import type { PartialModelObject } from "objection";
import type { Seal } from "../keys/seal.ts";
import { equalBytes, sha256 } from "../lib/secret.ts";
import type { OAuthClientSecret } from "../models/oauth-client-secret.ts";
import type { OAuthClient } from "../models/oauth-client.ts";
import type { ClientMetadata } from "./schema.ts";
import { openSecret } from "./secrets.ts";

/** Metadata that has a column of its own; all other goes into `metadata`. */
type ColumnField =
  | "client_name"
  | "application_type"
  | "redirect_uris"
  | "post_logout_redirect_uris"
  | "grant_types"
  | "response_types"
  | "token_endpoint_auth_method"
  | "jwks"
  | "jwks_uri"
  | "scope"
  | "first_party"
  | "refresh_reuse_interval"
  | "cors_origins";

/** Metadata that a row may be older than; where the engine is told nothing of it, it takes that for everything. */
type Younger = "authorization_details_types" | "tls_client_certificate_bound_access_tokens";

/** What the engine gets of a client, as its adapter's answer. */
export type EngineClient = Omit<ClientMetadata, "first_party"> & {
  client_id: string;
  /** The secret itself where its algorithms need it; otherwise a value that authenticates nobody. */
  client_secret?: string;
  /** Its other live secrets, where its algorithms need them too. */
  older_secrets?: readonly string[];
  /** Hashes of the live secrets; `secretMatches` reads them. */
  secret_hashes?: string;
  client_id_issued_at: number;
  first_party: boolean;
  /** Whether it registered itself. */
  is_dynamic: boolean;
  /** Whether it is known by the address of a document, and by nothing else. */
  from_document: boolean;
  internal_id: string;
};

/** What a client sees as its secret that must not, and cannot, be shown. */
export const HIDDEN = "hidden";

/** Metadata whose algorithms may work with the client's secret (OIDC Core §10.1, §10.2). */
const SYMMETRIC = [
  "request_object_signing_alg",
  "id_token_encrypted_response_alg",
  "userinfo_encrypted_response_alg",
  "authorization_encrypted_response_alg",
  "introspection_encrypted_response_alg",
  "request_object_encryption_alg",
] as const;

/** The columns of a client that metadata decides. */
export function toRow(metadata: ClientMetadata): PartialModelObject<OAuthClient> {
  const {
    client_name: name,
    application_type: applicationType,
    redirect_uris: redirectUris,
    post_logout_redirect_uris: postLogoutRedirectUris,
    grant_types: grantTypes,
    response_types: responseTypes,
    token_endpoint_auth_method: tokenEndpointAuthMethod,
    jwks = null,
    jwks_uri: jwksUri = null,
    scope = null,
    first_party: isFirstParty,
    refresh_reuse_interval: refreshReuseInterval,
    cors_origins: corsOrigins,
    ...rest
  } = metadata;
  return {
    name,
    applicationType,
    redirectUris,
    postLogoutRedirectUris,
    grantTypes,
    responseTypes,
    tokenEndpointAuthMethod,
    jwks,
    jwksUri,
    scope,
    consentMode: isFirstParty ? "first_party" : "explicit",
    refreshReuseInterval,
    corsOrigins,
    metadata: rest satisfies Omit<ClientMetadata, ColumnField>,
  };
}

/** A client's metadata by its registered names, as people and clients see it (RFC 7591 §2); no secrets. */
export function toMetadata(row: OAuthClient): ClientMetadata {
  const stored = row.metadata as Omit<ClientMetadata, ColumnField | Younger> &
    Partial<Pick<ClientMetadata, Younger>>;
  return {
    client_name: row.name,
    application_type: row.applicationType,
    redirect_uris: row.redirectUris,
    post_logout_redirect_uris: row.postLogoutRedirectUris,
    grant_types: row.grantTypes as ClientMetadata["grant_types"],
    response_types: row.responseTypes as ClientMetadata["response_types"],
    token_endpoint_auth_method: row.tokenEndpointAuthMethod,
    ...(row.jwks === null ? {} : { jwks: row.jwks as ClientMetadata["jwks"] }),
    ...(row.jwksUri === null ? {} : { jwks_uri: row.jwksUri }),
    ...(row.scope === null ? {} : { scope: row.scope }),
    authorization_details_types: [],
    tls_client_certificate_bound_access_tokens: false,
    ...stored,
    first_party: row.consentMode === "first_party",
    refresh_reuse_interval: row.refreshReuseInterval,
    cors_origins: row.corsOrigins,
  };
}

/**
 * A client as the engine wants it. Needs `secrets` fetched. A client whose secrets have all ended keeps a value that
 * nothing matches, because the engine takes a client without one for misconfigured.
 */
export function toEngine(row: OAuthClient, seal: Seal, now: Date = new Date()): EngineClient {
  const metadata = toMetadata(row);
  const secrets = liveSecrets(row.secrets ?? [], now).toSorted(
    (a, b) => b.createdAt.getTime() - a.createdAt.getTime(),
  );
  const [plain, ...older] = secrets.map((secret) => openSecret(seal, secret));
  const others = older.filter((secret) => secret !== undefined);
  return {
    ...metadata,
    client_id: row.clientId,
    client_id_issued_at: Math.floor(row.createdAt.getTime() / 1000),
    ...(usesSecret(metadata)
      ? {
          client_secret: plain ?? HIDDEN,
          ...(others.length === 0 ? {} : { older_secrets: others }),
          secret_hashes: secrets.map(toHex).join(","),
        }
      : {}),
    is_dynamic: row.isDynamic,
    from_document: row.fromDocument,
    internal_id: row.id,
  };
}

/** Whether a client has a secret: it authenticates with it, or its algorithms work with it. */
export function usesSecret(metadata: ClientMetadata): boolean {
  return (
    metadata.token_endpoint_auth_method.startsWith("client_secret_") || needsPlainSecret(metadata)
  );
}

/** Whether a hash of its secret is not enough: an HMAC or a symmetric cipher works with the secret itself. */
export function needsPlainSecret(metadata: ClientMetadata): boolean {
  return (
    metadata.token_endpoint_auth_method === "client_secret_jwt" ||
    SYMMETRIC.some((field) => /^(HS|A\d|dir$)/.test(metadata[field] ?? ""))
  );
}

/** The secrets that still authenticate. */
export function liveSecrets(secrets: readonly OAuthClientSecret[], now: Date): OAuthClientSecret[] {
  return secrets.filter(
    ({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || expiresAt > now),
  );
}

/**
 * Whether a secret that a client sent is one of those in `toEngine`'s `secret_hashes`. Every hash is compared, each in
 * constant time (T-35). Secrets are 256 random bits, so a fast hash is enough.
 */
export function secretMatches(stored: string, actual: string): boolean {
  const sent = sha256(actual);
  const hashes = stored.split(",");
  return hashes.filter((hex) => equalBytes(Buffer.from(hex, "hex"), sent)).length > 0;
}

function toHex({ secretHash }: OAuthClientSecret): string {
  return secretHash.toString("hex");
}
