import { readFile } from "node:fs/promises";
import { PROFILE_NAMES } from "../clients/profiles.ts";
import { GRANT_TYPES, type ClientMetadata } from "../clients/schema.ts";
import { errors, type AppError } from "../errors.ts";
import { AUTH_METHODS } from "../issuers.ts";
import { readStdin, type Io } from "./io.ts";
import { readWhole } from "./paging.ts";
import type { Option } from "./verb.ts";

interface Flag extends Option {
  readonly field: keyof ClientMetadata;
  /** How the text of the command line becomes the value of the metadata; text unless said. */
  readonly as?: "number" | "json-file";
}

/** One option for every field of the metadata that a person may choose. */
const FLAGS = {
  profile: {
    field: "security_profile",
    type: "string",
    value: "PROFILE",
    help: `${PROFILE_NAMES.join(", ")}: what it gets unless said, and must keep to`,
  },
  "redirect-uri": {
    field: "redirect_uris",
    type: "string",
    multiple: true,
    value: "URL",
    help: "where people come back to after signing in",
  },
  "post-logout-redirect-uri": {
    field: "post_logout_redirect_uris",
    type: "string",
    multiple: true,
    value: "URL",
    help: "where people come back to after signing out",
  },
  grant: {
    field: "grant_types",
    type: "string",
    multiple: true,
    value: "GRANT",
    help: `${GRANT_TYPES.join(", ")}; authorization_code unless said`,
  },
  "auth-method": {
    field: "token_endpoint_auth_method",
    type: "string",
    value: "METHOD",
    help: `${AUTH_METHODS.join(", ")}; client_secret_basic unless said`,
  },
  "auth-signing-alg": {
    field: "token_endpoint_auth_signing_alg",
    type: "string",
    value: "ALG",
    help: "the one algorithm of its private_key_jwt assertions",
  },
  type: {
    field: "application_type",
    type: "string",
    value: "TYPE",
    help: "web, or native for an application on a device",
  },
  scope: {
    field: "scope",
    type: "string",
    value: "SCOPES",
    help: "the scopes it may ask for, separated by spaces; all unless said",
  },
  jwks: {
    field: "jwks",
    as: "json-file",
    type: "string",
    value: "FILE",
    help: "its public keys, as a JSON file",
  },
  "jwks-uri": {
    field: "jwks_uri",
    type: "string",
    value: "URL",
    help: "where it publishes its public keys",
  },
  "attester-jwks": {
    field: "attester_jwks",
    as: "json-file",
    type: "string",
    value: "FILE",
    help: "the public keys of whoever attests its instances, as a JSON file",
  },
  "attester-jwks-uri": {
    field: "attester_jwks_uri",
    type: "string",
    value: "URL",
    help: "or where they publish them",
  },
  "id-token-alg": {
    field: "id_token_signed_response_alg",
    type: "string",
    value: "ALG",
    help: "ES256 or RS256; ES256 unless said",
  },
  "default-max-age": {
    field: "default_max_age",
    as: "number",
    type: "string",
    value: "SECONDS",
    help: "how old a sign-in may be",
  },
  "require-auth-time": {
    field: "require_auth_time",
    type: "boolean",
    help: "always say when the person signed in",
  },
  "client-uri": { field: "client_uri", type: "string", value: "URL", help: "its home page" },
  "logo-uri": { field: "logo_uri", type: "string", value: "URL", help: "its logo" },
  "policy-uri": { field: "policy_uri", type: "string", value: "URL", help: "its privacy policy" },
  "tos-uri": { field: "tos_uri", type: "string", value: "URL", help: "its terms of service" },
  "initiate-login-uri": {
    field: "initiate_login_uri",
    type: "string",
    value: "URL",
    help: "where a sign-in can be started again",
  },
  "backchannel-logout-uri": {
    field: "backchannel_logout_uri",
    type: "string",
    value: "URL",
    help: "where it is told that a session ended",
  },
  "backchannel-logout-session": {
    field: "backchannel_logout_session_required",
    type: "boolean",
    help: "it is told which session, too",
  },
  "frontchannel-logout-uri": {
    field: "frontchannel_logout_uri",
    type: "string",
    value: "URL",
    help: "its page that signing out shows in a frame",
  },
  "frontchannel-logout-session": {
    field: "frontchannel_logout_session_required",
    type: "boolean",
    help: "that page is told which session, too",
  },
  "ciba-mode": {
    field: "backchannel_token_delivery_mode",
    type: "string",
    value: "MODE",
    help: "poll or ping: how it learns that a person decided elsewhere (CIBA)",
  },
  "ciba-notification-endpoint": {
    field: "backchannel_client_notification_endpoint",
    type: "string",
    value: "URL",
    help: "where it is pinged",
  },
  "ciba-signing-alg": {
    field: "backchannel_authentication_request_signing_alg",
    type: "string",
    value: "ALG",
    help: "its authentication requests are signed with this",
  },
  contact: {
    field: "contacts",
    type: "string",
    multiple: true,
    value: "ADDRESS",
    help: "e-mail address of whoever is responsible",
  },
  "access-token-lifetime": {
    field: "access_token_lifetime",
    as: "number",
    type: "string",
    value: "SECONDS",
    help: "how long an access token is good; 600 unless said",
  },
  "refresh-token-lifetime": {
    field: "refresh_token_lifetime",
    as: "number",
    type: "string",
    value: "SECONDS",
    help: "when an unused refresh token ends; 2592000 unless said",
  },
  dpop: {
    field: "dpop_bound_access_tokens",
    type: "boolean",
    help: "tokens are bound to its key (RFC 9449)",
  },
  "tls-bound": {
    field: "tls_client_certificate_bound_access_tokens",
    type: "boolean",
    help: "tokens are bound to its certificate (RFC 8705)",
  },
  "tls-subject-dn": {
    field: "tls_client_auth_subject_dn",
    type: "string",
    value: "NAME",
    help: "the subject of its certificate, such as CN=photos,O=Acme (RFC 4514)",
  },
  "tls-san-dns": {
    field: "tls_client_auth_san_dns",
    type: "string",
    value: "HOST",
    help: "or a host name that its certificate is for",
  },
  "tls-san-uri": {
    field: "tls_client_auth_san_uri",
    type: "string",
    value: "URI",
    help: "or a URI that its certificate is for",
  },
  "tls-san-ip": {
    field: "tls_client_auth_san_ip",
    type: "string",
    value: "ADDRESS",
    help: "or an IP address that its certificate is for",
  },
  "tls-san-email": {
    field: "tls_client_auth_san_email",
    type: "string",
    value: "ADDRESS",
    help: "or an e-mail address that its certificate is for",
  },
  "authorization-type": {
    field: "authorization_details_types",
    type: "string",
    multiple: true,
    value: "TYPE",
    help: "type of authorization details it may ask for (RFC 9396); none unless said",
  },
  "require-par": {
    field: "require_pushed_authorization_requests",
    type: "boolean",
    help: "requests are pushed first (RFC 9126)",
  },
  "request-uri": {
    field: "request_uris",
    type: "string",
    multiple: true,
    value: "URL",
    help: "where its signed requests may be fetched from (RFC 9101)",
  },
  "first-party": {
    field: "first_party",
    type: "boolean",
    help: "it is yours: nobody is asked for consent",
  },
  "require-second-factor": {
    field: "require_second_factor",
    type: "boolean",
    help: "people show two factors, and set one up where they have none",
  },
  "refresh-reuse-interval": {
    field: "refresh_reuse_interval",
    as: "number",
    type: "string",
    value: "SECONDS",
    help: "how long the previous refresh token still works; 10 unless said",
  },
  "sign-up": {
    field: "sign_up",
    type: "string",
    value: "WHO",
    help: "who may make an account on the way to it: closed, invitation or open; as SIGN_UP unless said",
  },
  "require-verified-email": {
    field: "require_verified_email",
    type: "boolean",
    help: "nobody signs in to it whose e-mail address is not verified",
  },
  "required-claim": {
    field: "required_claims",
    type: "string",
    multiple: true,
    value: "CLAIM",
    help: "what people are asked for before they sign in to it, such as given_name",
  },
  "identity-provider": {
    field: "identity_providers",
    type: "string",
    multiple: true,
    value: "SLUG",
    help: "connection that its sign-in page offers; all that show a button unless said",
  },
  "token-exchange-impersonation": {
    field: "token_exchange_impersonation",
    type: "boolean",
    help: "it may exchange tokens without saying who acts (RFC 8693 §1.1)",
  },
  "cors-origin": {
    field: "cors_origins",
    type: "string",
    multiple: true,
    value: "ORIGIN",
    help: "origin whose scripts may call the token endpoint",
  },
} as const satisfies Record<string, Flag>;

/** The options of `client add` and `client update`. */
export const CLIENT_OPTIONS = {
  name: { type: "string", value: "NAME", help: "what people know the application as" },
  ...FLAGS,
  localized: {
    type: "string",
    multiple: true,
    value: "FIELD#LANGUAGE=TEXT",
    help: "client_name, policy_uri or tos_uri in a language of the pages: client_name#fr=Photos",
  },
  file: {
    type: "string",
    value: "FILE",
    help: "its metadata as JSON (RFC 7591), `-` for standard input; other options come on top",
  },
} as const satisfies Record<string, Option>;

/**
 * The metadata that the command line gives: the file's, with the options on top.
 *
 * @throws UsageError; AppError `invalid_client_metadata` where a file is no JSON object.
 */
export async function readMetadata(
  io: Io,
  values: Readonly<Record<string, unknown>>,
  verbName: string,
): Promise<Record<string, unknown>> {
  const { file } = values;
  const metadata = typeof file === "string" ? await readObject(io, file) : {};
  if (values["name"] !== undefined) metadata["client_name"] = values["name"];
  for (const text of (values["localized"] ?? []) as readonly string[]) {
    const [field = "", ...said] = text.split("=");
    metadata[field] = said.join("=");
  }
  for (const [name, flag] of Object.entries<Flag>(FLAGS)) {
    const value = values[name];
    if (value === undefined) continue;
    metadata[flag.field] = value;
    if (typeof value !== "string") continue;
    if (flag.as === "number") metadata[flag.field] = readWhole(name, value, verbName);
    if (flag.as === "json-file") metadata[flag.field] = await readObject(io, value);
  }
  return metadata;
}

/**
 * Reads a JSON object from a file, or from standard input where the path is `-`.
 *
 * @throws what `refuse` makes of the reason why it cannot.
 */
export async function readObject(
  io: Io,
  path: string,
  refuse: (detail: string) => AppError = errors.invalidClientMetadata,
): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(path === "-" ? await readStdin(io) : await readFile(path, "utf8"));
  } catch (error) {
    throw refuse(`${path} cannot be read as JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw refuse(`${path} must hold a JSON object`);
  return { ...value };
}
