import type { z } from "zod";
import { ATTESTED_METHODS, DECOUPLED_GRANTS, EXTENSION_GRANTS, type Preset } from "../issuers.ts";
import { hasCustomScheme, isHttpsOnLoopback } from "./addresses.ts";
import { broken } from "./profiles.ts";
import type { clientMetadata } from "./schema.ts";

/** Metadata of which some fields may be missing because they were wrong in themselves. */
type Metadata = Partial<z.output<typeof clientMetadata>>;

/** What of a client is signed, with one of the issuer's keys. */
const SIGNED = [
  "id_token_signed_response_alg",
  "userinfo_signed_response_alg",
  "authorization_signed_response_alg",
  "introspection_signed_response_alg",
] as const;

/** What is encrypted: the fields for its key and its content. */
const ENCRYPTED = [
  ["id_token_encrypted_response_alg", "id_token_encrypted_response_enc"],
  ["userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc"],
  ["authorization_encrypted_response_alg", "authorization_encrypted_response_enc"],
  ["introspection_encrypted_response_alg", "introspection_encrypted_response_enc"],
  ["request_object_encryption_alg", "request_object_encryption_enc"],
] as const;

/** How a client names the subject of its certificate. */
const SUBJECTS = [
  "tls_client_auth_subject_dn",
  "tls_client_auth_san_dns",
  "tls_client_auth_san_uri",
  "tls_client_auth_san_ip",
  "tls_client_auth_san_email",
] as const;

const BACKCHANNEL = [
  "backchannel_token_delivery_mode",
  "backchannel_client_notification_endpoint",
  "backchannel_authentication_request_signing_alg",
] as const;
const [TOKEN_EXCHANGE] = EXTENSION_GRANTS;

/** Names what is right field by field but not together or not at this issuer, each with the way to fix it. */
export function contradictions(metadata: Metadata, preset: Preset): string[] {
  return [
    ...grantRules(metadata),
    ...decoupledRules(metadata, preset),
    ...backchannelRules(metadata, preset),
    ...extensionGrantRules(metadata, preset),
    ...responseRules(metadata, preset),
    ...redirectRules(metadata),
    ...authenticationRules(metadata, preset),
    ...certificateRules(metadata, preset),
    ...attestationRules(metadata),
    ...logoutRules(metadata),
    ...frontchannelRules(metadata, preset),
    ...referenceRules(metadata, preset),
    ...algorithmRules(metadata, preset),
    ...issuerRules(metadata, preset),
    ...broken(metadata),
  ];
}

function* grantRules(metadata: Metadata): Generator<string> {
  const { grant_types: grants, redirect_uris: redirects } = metadata;
  if (grants === undefined) return;
  const usesRedirect = grants.includes("authorization_code") || grants.includes("implicit");
  if (usesRedirect && redirects?.length === 0)
    yield "redirect_uris must have at least one address, because grant_types has authorization_code";
  if (!usesRedirect && redirects !== undefined && redirects.length > 0)
    yield "redirect_uris must be empty, or grant_types must have authorization_code";
  const signsIn = grants.includes("authorization_code") || decoupledGrants(metadata).length > 0;
  if (!signsIn && grants.includes("refresh_token"))
    yield "grant_types must have authorization_code where it has refresh_token";
}

/** RFC 8628 §3.1: no address is needed, for nobody is sent back. */
function* decoupledRules(metadata: Metadata, preset: Preset): Generator<string> {
  const { subject_type: subject, token_endpoint_auth_method: method } = metadata;
  for (const [kind, grant] of decoupledGrants(metadata)) {
    if (!preset.decoupled.includes(kind)) yield `grant_types must not have ${grant} at this issuer`;
    // Without redirect_uris nothing but a key says to which sector a client belongs (CIBA Core §4).
    if (subject === "pairwise" && method !== undefined && method !== "private_key_jwt")
      yield `token_endpoint_auth_method must be private_key_jwt for a pairwise client with ${grant}`;
    const hasSector =
      kind === "device" &&
      (metadata.grant_types?.includes("authorization_code") === true ||
        metadata.sector_identifier_uri !== undefined);
    if (subject === "pairwise" && !hasSector && metadata.jwks_uri === undefined)
      yield `jwks_uri must be given for a pairwise client with ${grant}`;
  }
}

/** CIBA Core §4: only clients that prove who they are ask for people, and they say how they learn the answer. */
function* backchannelRules(metadata: Metadata, preset: Preset): Generator<string> {
  const {
    grant_types: grants,
    token_endpoint_auth_method: method,
    backchannel_token_delivery_mode: mode,
    backchannel_client_notification_endpoint: endpoint,
    backchannel_authentication_request_signing_alg: algorithm,
  } = metadata;
  if (grants === undefined) return;
  if (!grants.includes(DECOUPLED_GRANTS.ciba)) {
    for (const field of BACKCHANNEL)
      if (metadata[field] !== undefined)
        yield `${field} is for ${DECOUPLED_GRANTS.ciba} only, so remove it`;
    return;
  }
  if (mode === undefined)
    yield `backchannel_token_delivery_mode must be poll or ping for ${DECOUPLED_GRANTS.ciba}`;
  if (method === "none")
    yield `token_endpoint_auth_method must not be none for ${DECOUPLED_GRANTS.ciba}`;
  if (mode !== undefined && (mode === "ping") !== (endpoint !== undefined))
    yield `backchannel_client_notification_endpoint must ${mode === "ping" ? "" : "not "}be given where backchannel_token_delivery_mode is ${mode}`;
  if (algorithm === undefined && preset.requiresSignedRequests)
    yield "backchannel_authentication_request_signing_alg must be given at this issuer";
  if (algorithm === undefined) return;
  if (!preset.clientAlgorithms.includes(algorithm))
    yield `backchannel_authentication_request_signing_alg must be ${preset.clientAlgorithms.join(" or ")} at this issuer`;
  if (metadata.jwks === undefined && metadata.jwks_uri === undefined)
    yield "jwks or jwks_uri must be given for backchannel_authentication_request_signing_alg";
}

/** The grants by which people approve on another device, as far as the client registered them. */
function decoupledGrants({ grant_types: grants }: Metadata) {
  const all = Object.entries(DECOUPLED_GRANTS) as [Preset["decoupled"][number], string][];
  return all.filter(([, grant]) => (grants as readonly string[] | undefined)?.includes(grant));
}

function* extensionGrantRules(metadata: Metadata, preset: Preset): Generator<string> {
  const grants = metadata.grant_types ?? [];
  for (const grant of EXTENSION_GRANTS) {
    if (!grants.includes(grant)) continue;
    if (!preset.extensionGrants.includes(grant))
      yield `grant_types must not have ${grant} at this issuer`;
  }
  const exchanges = grants.includes(TOKEN_EXCHANGE);
  if (exchanges && metadata.token_endpoint_auth_method === "none")
    yield "token_endpoint_auth_method must not be none for token exchange (RFC 8693 §5)";
  if (metadata.token_exchange_impersonation === true && !exchanges)
    yield `grant_types must have ${TOKEN_EXCHANGE} where token_exchange_impersonation is true`;
}

/** OIDC Dynamic Client Registration §2: response types and grant types come in pairs. */
function* responseRules(metadata: Metadata, preset: Preset): Generator<string> {
  const { grant_types: grants, response_types: given } = metadata;
  if (grants === undefined) return;
  const usesCode = grants.includes("authorization_code");
  const answers = given ?? (usesCode ? ["code" as const] : []);
  const words = new Set(answers.flatMap((answer) => answer.split(" ")));
  if (words.has("code") !== usesCode)
    yield `response_types must ${usesCode ? "have" : "not have"} code for these grant_types, so leave it out`;
  const isImplicit = words.has("token") || words.has("id_token");
  if (isImplicit !== grants.includes("implicit"))
    yield `grant_types must ${isImplicit ? "have" : "not have"} implicit for these response_types`;
  for (const answer of answers)
    if (!preset.responseTypes.includes(answer))
      yield `response_types must be of ${preset.responseTypes.join(", ")} at this issuer`;
  if (metadata.application_type === "web" && isImplicit)
    for (const [index, address] of (metadata.redirect_uris ?? []).entries())
      // What comes back in the fragment is a token, and this machine's programs could read it.
      if (!address.startsWith("https:"))
        yield `redirect_uris[${index}] must use https, because tokens come back to it directly`;
}

function* redirectRules(metadata: Metadata): Generator<string> {
  const native = metadata.application_type === "native";
  if (metadata.application_type === undefined) return;
  for (const field of ["redirect_uris", "post_logout_redirect_uris"] as const) {
    for (const [index, address] of (metadata[field] ?? []).entries()) {
      if (!native && hasCustomScheme(address))
        yield `${field}[${index}] must use https, or application_type must be native`;
      // RFC 8252 §7.2: a claimed https address belongs to a domain, and nobody owns this machine's name.
      if (native && isHttpsOnLoopback(address))
        yield `${field}[${index}] must use http, because it is on this device (RFC 8252 §7.3)`;
    }
  }
  const hosts = new Set((metadata.redirect_uris ?? []).map((address) => URL.parse(address)?.host));
  if (
    metadata.subject_type === "pairwise" &&
    hosts.size > 1 &&
    metadata.sector_identifier_uri === undefined
  )
    yield "sector_identifier_uri must be given, because redirect_uris are on several hosts and subject_type is pairwise (OIDC Core §8.1)";
}

function* authenticationRules(metadata: Metadata, preset: Preset): Generator<string> {
  const { token_endpoint_auth_method: method, jwks, jwks_uri: jwksUri } = metadata;
  if (jwks !== undefined && jwksUri !== undefined)
    yield "jwks and jwks_uri must not both be given, so keep one";
  if (method === undefined) return;
  if (!preset.authMethods.includes(method))
    yield `token_endpoint_auth_method must be ${preset.authMethods.join(" or ")} at this issuer`;
  if (method === "none" && metadata.grant_types?.includes("client_credentials") === true)
    yield "token_endpoint_auth_method must not be none for the client_credentials grant (RFC 6749 §4.4)";
  if (method === "private_key_jwt" && jwks === undefined && jwksUri === undefined)
    yield "jwks or jwks_uri must be given for private_key_jwt";
  const algorithm = metadata.token_endpoint_auth_signing_alg;
  if (algorithm === undefined) return;
  if (method !== "private_key_jwt" && method !== "client_secret_jwt")
    yield "token_endpoint_auth_signing_alg is for private_key_jwt and client_secret_jwt only, so remove it";
  else if ((algorithm === "HS256") !== (method === "client_secret_jwt"))
    yield `token_endpoint_auth_signing_alg must ${method === "client_secret_jwt" ? "be HS256" : "not be HS256"} for ${method}`;
  else if (algorithm !== "HS256" && !preset.clientAlgorithms.includes(algorithm))
    yield `token_endpoint_auth_signing_alg must be ${preset.clientAlgorithms.join(" or ")} at this issuer`;
}

/** RFC 8705 §2.1.2: one way to name the certificate's subject; §2.2: certificates in the key set; §3. */
function* certificateRules(metadata: Metadata, preset: Preset): Generator<string> {
  const { token_endpoint_auth_method: method, jwks } = metadata;
  const given = SUBJECTS.filter((field) => metadata[field] !== undefined);
  if (method === "tls_client_auth" && given.length !== 1)
    yield `exactly one of ${SUBJECTS.join(", ")} must be given for tls_client_auth (RFC 8705 §2.1.2)`;
  if (method !== undefined && method !== "tls_client_auth" && given.length > 0)
    yield `${given.join(", ")} must be left out, or token_endpoint_auth_method must be tls_client_auth`;
  if (method === "self_signed_tls_client_auth") {
    if (jwks === undefined && metadata.jwks_uri === undefined)
      yield "jwks or jwks_uri must be given for self_signed_tls_client_auth";
    if (jwks !== undefined && !jwks.keys.some((key) => key["x5c"] !== undefined))
      yield "jwks must have the certificate as x5c for self_signed_tls_client_auth (RFC 8705 §2.2.2)";
  }
  if (metadata.tls_client_certificate_bound_access_tokens === true && !preset.bindsToCertificates)
    yield "tls_client_certificate_bound_access_tokens must be false, because no client certificates reach this issuer";
}

/** Whose word is taken for an instance is said once, and only where one is asked for. */
function* attestationRules(metadata: Metadata): Generator<string> {
  const { token_endpoint_auth_method: method } = metadata;
  const given = (["attester_jwks", "attester_jwks_uri"] as const).filter(
    (field) => metadata[field] !== undefined,
  );
  if (given.length > 1) yield "attester_jwks and attester_jwks_uri must not both be given";
  if (method === undefined) return;
  const isAttested = ATTESTED_METHODS.some((each) => each === method);
  if (isAttested && given.length === 0)
    yield `attester_jwks or attester_jwks_uri must be given, by an operator, for ${method}`;
  if (!isAttested && given.length > 0)
    yield `${given.join(", ")} must be left out, or token_endpoint_auth_method must be ${ATTESTED_METHODS.join(" or ")}`;
}

function* logoutRules(metadata: Metadata): Generator<string> {
  const { backchannel_logout_uri: uri, backchannel_logout_session_required: wantsSid } = metadata;
  if (wantsSid === true && uri === undefined)
    yield "backchannel_logout_uri must be given where backchannel_logout_session_required is true";
}

/** OIDC Front-Channel Logout §2: nobody's browser is sent elsewhere than where it goes with a code. */
function* frontchannelRules(metadata: Metadata, preset: Preset): Generator<string> {
  const { frontchannel_logout_uri: uri, redirect_uris: redirects = [] } = metadata;
  if (metadata.frontchannel_logout_session_required === true && uri === undefined)
    yield "frontchannel_logout_uri must be given where frontchannel_logout_session_required is true";
  if (uri === undefined) return;
  if (!preset.frontchannelLogout)
    yield "frontchannel_logout_uri must be left out, because this issuer has no front-channel logout";
  const origins = redirects.map((redirect) => URL.parse(redirect)?.origin);
  if (!origins.includes(new URL(uri).origin))
    yield "frontchannel_logout_uri must have the scheme, host and port of one of redirect_uris";
}

function* referenceRules({ request_uris: uris = [] }: Metadata, preset: Preset): Generator<string> {
  if (uris.length > 0 && !preset.takesRequestsByReference)
    yield "request_uris must be left out, because this issuer fetches no request objects";
}

function* algorithmRules(metadata: Metadata, preset: Preset): Generator<string> {
  for (const field of SIGNED) {
    const algorithm = metadata[field];
    if (algorithm !== undefined && !preset.algorithms.includes(algorithm))
      yield `${field} must be ${preset.algorithms.join(" or ")} at this issuer`;
  }
  const hasKeys = metadata.jwks !== undefined || metadata.jwks_uri !== undefined;
  for (const [key, content] of ENCRYPTED) {
    const algorithm = metadata[key];
    if (algorithm === undefined && metadata[content] !== undefined)
      yield `${key} must be given where ${content} is`;
    if (algorithm !== undefined && /^(RSA|ECDH)/.test(algorithm) && !hasKeys)
      yield `jwks or jwks_uri must be given for ${key}`;
  }
  // The other answers are signed by default.
  if (metadata.userinfo_encrypted_response_alg && !metadata.userinfo_signed_response_alg)
    yield "userinfo_signed_response_alg must be given where userinfo_encrypted_response_alg is, because what is encrypted is signed first (OIDC Core §10.2)";
  const request = metadata.request_object_signing_alg;
  if (request !== undefined && request !== "HS256" && !hasKeys)
    yield "jwks or jwks_uri must be given for request_object_signing_alg";
  const taken: string[] = [...preset.clientAlgorithms];
  if (preset.authMethods.includes("client_secret_jwt")) taken.push("HS256");
  if (request !== undefined && !taken.includes(request))
    yield `request_object_signing_alg must be ${taken.join(" or ")} at this issuer`;
}

/** What the preset of the issuer demands of every client. */
function* issuerRules(metadata: Metadata, preset: Preset): Generator<string> {
  const uses = (grant: "authorization_code") => metadata.grant_types?.includes(grant) === true;
  const isUnbound =
    metadata.dpop_bound_access_tokens === false &&
    metadata.tls_client_certificate_bound_access_tokens === false;
  if (preset.requiresBoundTokens && isUnbound)
    yield `dpop_bound_access_tokens ${preset.bindsToCertificates ? "or tls_client_certificate_bound_access_tokens " : ""}must be true at this issuer`;
  if (!uses("authorization_code")) return;
  if (preset.requiresPushedRequests && metadata.require_pushed_authorization_requests === false)
    yield "require_pushed_authorization_requests must be true at this issuer";
  if (preset.requiresSignedRequests && metadata.require_signed_request_object === false)
    yield "require_signed_request_object must be true at this issuer";
}
