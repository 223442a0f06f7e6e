import { z } from "zod";
import { errors } from "../errors.ts";
import {
  AUTH_METHODS,
  DECOUPLED_GRANTS,
  EXTENSION_GRANTS,
  RESPONSE_TYPES,
  SIGN_UP,
  SIGNING_ALGORITHMS,
  type Preset,
  type ResponseType,
} from "../issuers.ts";
import { describe, problemsIn } from "../lib/problems.ts";
import { httpsUri, origin, pictureUri, redirectUri, requestUri, serviceUri } from "./addresses.ts";
import { keySet } from "./key-set.ts";
import { inEachLanguage } from "./localized.ts";
import { PROFILE_NAMES, withProfile } from "./profiles.ts";
import { certificateSubjects } from "./certificate-subjects.ts";
import { contradictions } from "./rules.ts";

const MAX_ADDRESSES = 20;

/**
 * What a client may do at the token endpoint (RFC 6749 §4, §6, RFC 7523 §2.1, RFC 8628 §3.4, RFC 8693, CIBA Core §4);
 * `implicit` is for tokens that come without it.
 */
export const GRANT_TYPES = [
  "authorization_code",
  "refresh_token",
  "client_credentials",
  "implicit",
  DECOUPLED_GRANTS.device,
  DECOUPLED_GRANTS.ciba,
  ...EXTENSION_GRANTS,
] as const;

/** The scopes a client may be limited to (OIDC Core §5.4, §11), and ours for groups, roles and organizations. */
export const SCOPES = [
  "openid",
  "offline_access",
  "profile",
  "email",
  "phone",
  "address",
  "groups",
  "roles",
  "organizations",
] as const;

/** What a client may sign with: its keys, or where nothing else is possible its secret (RFC 7518 §3.1). */
const CLIENT_ALGORITHMS = [...SIGNING_ALGORITHMS, "HS256"] as const;

/** How the key of an encrypted answer is protected, and the answer itself (RFC 7518 §4, §5). */
const KEY_MANAGEMENT = [
  "RSA-OAEP",
  "RSA-OAEP-256",
  "ECDH-ES",
  "ECDH-ES+A128KW",
  "ECDH-ES+A256KW",
  "A128KW",
  "A256KW",
  "dir",
] as const;
const CONTENT_ENCRYPTION = ["A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"] as const;

/** What a client may demand to be told of a person, who is asked for it (OIDC Core §5.1). */
const ASKED_CLAIMS = [
  "name",
  "given_name",
  "family_name",
  "nickname",
  "birthdate",
  "phone_number",
] as const;

const signedWith = z.enum(SIGNING_ALGORITHMS).optional();
const encryptedFor = z.enum(KEY_MANAGEMENT).optional();
const encryptedWith = z.enum(CONTENT_ENCRYPTION).optional();

/** Response modes (OAuth 2.0 Multiple Response Types §2, Form Post, JARM §2.3). */
const RESPONSE_MODES = [
  "query",
  "fragment",
  "form_post",
  "jwt",
  "query.jwt",
  "fragment.jwt",
  "form_post.jwt",
] as const;

/** A response type says the same in any order of its words. */
const responseType = z
  .string()
  .transform((text) => text.split(" ").sort().join(" "))
  .pipe(z.enum(RESPONSE_TYPES));

/** Controls, invisible characters and those that change the direction of text: they make one name look like another. */
const DECEPTIVE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

const clientName = z
  .string()
  .trim()
  .transform((name) => name.normalize("NFC"))
  .superRefine((name, context) => {
    const refuse = (message: string) => context.addIssue({ code: "custom", message });
    if (name === "") refuse("must say what people know the application as");
    if (Array.from(name).length > 64) refuse("must have at most 64 characters");
    if (DECEPTIVE.test(name))
      refuse("must not contain control, invisible or direction-changing characters");
  });

/** They are kept with the rest of the metadata, which is short. */
const attesterKeys = keySet.refine((keys) => JSON.stringify(keys).length <= 8_192, {
  error: "must be at most 8192 characters, or use attester_jwks_uri",
});

const contact = z.email({ error: "must be an e-mail address" }).max(254);

const scope = z.string().superRefine((value, context) => {
  const unknown = value.split(" ").filter((word) => !(SCOPES as readonly string[]).includes(word));
  if (unknown.length > 0)
    context.addIssue({
      code: "custom",
      message: `must be words of ${SCOPES.join(", ")}, separated by single spaces`,
    });
});

const addresses = (item: typeof redirectUri) => distinct(item, MAX_ADDRESSES).default([]);

/**
 * The metadata of a client by their registered names (RFC 7591 §2, OpenID Connect Dynamic Client Registration §2,
 * RP-Initiated Logout §3.1, RFC 9449 §5.2, RFC 9126 §6, RFC 8705 §2.1.2, §3.4, RFC 9396 §10), then our own policy. The one definition for the command line,
 * imported files and registration; the engine's own checks are looser and come after these.
 */
export const clientMetadata = z.strictObject({
  client_name: clientName,
  application_type: z.enum(["web", "native"]).default("web"),
  redirect_uris: addresses(redirectUri),
  post_logout_redirect_uris: addresses(redirectUri),
  grant_types: distinct(z.enum(GRANT_TYPES), GRANT_TYPES.length)
    .min(1, {
      error: "must name at least one grant type",
    })
    .default(["authorization_code"]),
  /** `code` unless said, where the grant types have authorization_code. */
  response_types: distinct(responseType, RESPONSE_TYPES.length).optional(),
  response_modes: distinct(z.enum(RESPONSE_MODES), RESPONSE_MODES.length).min(1).optional(),
  token_endpoint_auth_method: z.enum(AUTH_METHODS).default("client_secret_basic"),
  token_endpoint_auth_signing_alg: z.enum(CLIENT_ALGORITHMS).optional(),
  jwks: keySet.optional(),
  jwks_uri: httpsUri.optional(),
  /** The keys of whoever attests its instances. */
  attester_jwks: attesterKeys.optional(),
  attester_jwks_uri: httpsUri.optional(),
  scope: scope.optional(),
  subject_type: z.enum(["public", "pairwise"]).default("public"),
  /** A list of redirect URIs that clients of one owner share, so that a user is the same to all of them. */
  sector_identifier_uri: httpsUri.optional(),
  /** What the issuer's preset names first, unless said. */
  id_token_signed_response_alg: signedWith,
  id_token_encrypted_response_alg: encryptedFor,
  id_token_encrypted_response_enc: encryptedWith,
  userinfo_signed_response_alg: signedWith,
  userinfo_encrypted_response_alg: encryptedFor,
  userinfo_encrypted_response_enc: encryptedWith,
  authorization_signed_response_alg: signedWith,
  authorization_encrypted_response_alg: encryptedFor,
  authorization_encrypted_response_enc: encryptedWith,
  introspection_signed_response_alg: signedWith,
  introspection_encrypted_response_alg: encryptedFor,
  introspection_encrypted_response_enc: encryptedWith,
  request_object_signing_alg: z.enum(CLIENT_ALGORITHMS).optional(),
  request_object_encryption_alg: z.enum(["A128KW", "A256KW", "dir"]).optional(),
  request_object_encryption_enc: encryptedWith,
  require_signed_request_object: z.boolean().default(false),
  /** Where its request objects are; others are not fetched (OIDC Core §6.2, RFC 9101 §5.2). */
  request_uris: distinct(requestUri, MAX_ADDRESSES).optional(),
  /** Seconds after which a sign-in is too old for this client. */
  default_max_age: z.int().min(0).max(31_536_000).optional(),
  require_auth_time: z.boolean().default(false),
  /** Where it is told that a session ended (OIDC Back-Channel Logout §2.2). */
  backchannel_logout_uri: serviceUri.optional(),
  backchannel_logout_session_required: z.boolean().default(false),
  /** Its page that a browser shows in a frame when a session ends (OIDC Front-Channel Logout §2). */
  frontchannel_logout_uri: serviceUri.optional(),
  frontchannel_logout_session_required: z.boolean().optional(),
  /** How it learns that a person decided elsewhere (CIBA Core §4); `push` is not offered. */
  backchannel_token_delivery_mode: z.enum(["poll", "ping"]).optional(),
  backchannel_client_notification_endpoint: httpsUri.optional(),
  backchannel_authentication_request_signing_alg: signedWith,
  /** People have no code of their own here that a client could ask for. */
  backchannel_user_code_parameter: z.literal(false).optional(),
  initiate_login_uri: httpsUri.optional(),
  client_uri: httpsUri.optional(),
  logo_uri: pictureUri.optional(),
  policy_uri: httpsUri.optional(),
  tos_uri: httpsUri.optional(),
  ...inEachLanguage("client_name", clientName.optional()),
  ...inEachLanguage("policy_uri", httpsUri.optional()),
  ...inEachLanguage("tos_uri", httpsUri.optional()),
  contacts: distinct(contact, 10).optional(),
  software_id: z.string().min(1).max(255).optional(),
  software_version: z.string().min(1).max(255).optional(),
  /** What kind of program it is, and with it what it gets unless said and must keep to. */
  security_profile: z.enum(PROFILE_NAMES).optional(),
  /** Seconds for which an access token is good. */
  access_token_lifetime: z.int().min(60).max(86_400).optional(),
  /** Seconds after which a refresh token that nobody used ends. */
  refresh_token_lifetime: z.int().min(300).max(31_536_000).optional(),
  /** The types of authorization details that it may ask for (RFC 9396 §10); none unless said. */
  authorization_details_types: distinct(z.string().min(1).max(200), 50).default([]),
  dpop_bound_access_tokens: z.boolean().default(false),
  tls_client_certificate_bound_access_tokens: z.boolean().default(false),
  ...certificateSubjects,
  require_pushed_authorization_requests: z.boolean().default(false),
  /** The operator's own: nobody is asked for consent. */
  first_party: z.boolean().default(false),
  /** Its people show two factors (level 2), and set up a second one where they have none. */
  require_second_factor: z.boolean().default(false),
  /** Who may make an account on the way to it; as the issuer says unless given. */
  sign_up: z.enum(SIGN_UP).optional(),
  /** Whether nobody signs in to it whose e-mail address is not verified. */
  require_verified_email: z.boolean().optional(),
  /** What nobody signs in to it without having said. */
  required_claims: distinct(z.enum(ASKED_CLAIMS), ASKED_CLAIMS.length).optional(),
  /** Which connections its sign-in page offers; all that show a button unless given, none where it is empty. */
  identity_providers: distinct(z.string().min(1).max(50), 50).optional(),
  /** Whether it may exchange a person's token for one that does not say who acts (RFC 8693 §1.1). */
  token_exchange_impersonation: z.boolean().default(false),
  /** Seconds in which the previous refresh token is answered with the current one; 0 is strict. */
  refresh_reuse_interval: z.int().min(0).max(300).default(10),
  /** Origins whose scripts may call the token and userinfo endpoints. */
  cors_origins: distinct(origin, MAX_ADDRESSES).default([]),
});

/** The metadata of a client, complete with defaults and free of contradictions. */
export type ClientMetadata = Omit<
  z.output<typeof clientMetadata>,
  "response_types" | "id_token_signed_response_alg"
> & {
  response_types: ResponseType[];
  id_token_signed_response_alg: (typeof SIGNING_ALGORITHMS)[number];
};

/** The names of everything that can be registered. */
export const METADATA_FIELDS: ReadonlySet<string> = new Set(Object.keys(clientMetadata.shape));

/** What an operator decides about a client and no client about itself. */
export const OPERATOR_ONLY: ReadonlySet<string> = new Set([
  "attester_jwks",
  "attester_jwks_uri",
  "security_profile",
  "access_token_lifetime",
  "refresh_token_lifetime",
  "first_party",
  "require_second_factor",
  "sign_up",
  "require_verified_email",
  "required_claims",
  "identity_providers",
  "token_exchange_impersonation",
  "refresh_reuse_interval",
  "cors_origins",
]);

/**
 * What a client may say of itself of everything that it sent: the rest is not understood and ignored (RFC 7591 §2),
 * and a client without a name is called by its address.
 */
export function registeredMetadata(
  sent: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const known = Object.entries(sent).filter(
    ([field, value]) =>
      METADATA_FIELDS.has(field) && !OPERATOR_ONLY.has(field) && value !== undefined,
  );
  const { redirect_uris: redirects } = sent;
  const [first]: unknown[] = Array.isArray(redirects) ? redirects : [];
  const host = typeof first === "string" ? URL.parse(first)?.host : undefined;
  return { client_name: host || "Unnamed application", ...Object.fromEntries(known) };
}

/**
 * Reads client metadata from outside, for a client of an issuer with this preset.
 *
 * @throws AppError `invalid_client_metadata` (RFC 7591 §3.2.2) that lists every problem with its field and the way to
 *   fix it, not only the first.
 */
export function parseClientMetadata(given: unknown, preset: Preset): ClientMetadata {
  const input = withProfile(given);
  const parsed = clientMetadata.safeParse(input, { error: describe });
  const problems = parsed.success ? [] : problemsIn(parsed.error, "metadata");
  problems.push(...contradictions(validFields(input), preset));
  if (!parsed.success || problems.length > 0)
    throw errors.invalidClientMetadata([...new Set(problems)].join("; "));
  const { response_types: answers, id_token_signed_response_alg: algorithm } = parsed.data;
  const usesCode = parsed.data.grant_types.includes("authorization_code");
  return {
    ...parsed.data,
    response_types: answers ?? (usesCode ? ["code"] : []),
    id_token_signed_response_alg: algorithm ?? preset.algorithms[0],
  };
}

/** What is right by itself, with defaults, so that contradictions are found beside other problems. */
function validFields(input: unknown): Partial<z.output<typeof clientMetadata>> {
  if (typeof input !== "object" || input === null) return {};
  const valid: Record<string, unknown> = {};
  for (const [field, type] of Object.entries(clientMetadata.shape)) {
    const parsed = type.safeParse((input as Record<string, unknown>)[field]);
    if (parsed.success) valid[field] = parsed.data;
  }
  return valid;
}

function distinct<Item extends z.ZodType>(item: Item, most: number) {
  return z
    .array(item)
    .max(most, { error: `must have at most ${most} entries` })
    .refine((list) => new Set(list).size === list.length, {
      error: "must not list anything twice",
    });
}
