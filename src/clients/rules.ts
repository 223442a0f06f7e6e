import { hasCustomScheme, isHttpsOnLoopback } from "./addresses.ts";
import type { clientMetadata } from "./schema.ts";
import type { z } from "zod";

/** Metadata of which some fields may be missing because they were wrong in themselves. */
type Metadata = Partial<z.output<typeof clientMetadata>>;

/** Names what is right field by field but not together, each with the way to fix it. */
export function contradictions(metadata: Metadata): string[] {
  return [...grantRules(metadata), ...redirectRules(metadata), ...authenticationRules(metadata)];
}

function* grantRules(metadata: Metadata): Generator<string> {
  const { grant_types: grants, response_types: answers, redirect_uris: redirects } = metadata;
  if (grants === undefined) return;
  const usesCode = grants.includes("authorization_code");
  if (usesCode && redirects?.length === 0)
    yield "redirect_uris must have at least one address, because grant_types has authorization_code";
  if (!usesCode && redirects !== undefined && redirects.length > 0)
    yield "redirect_uris must be empty, or grant_types must have authorization_code";
  if (!usesCode && grants.includes("refresh_token"))
    yield "grant_types must have authorization_code where it has refresh_token";
  if (answers !== undefined && answers.length > 0 !== usesCode)
    yield `response_types must be ${usesCode ? '["code"]' : "[]"} for these grant_types, so leave it out`;
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
}

function* authenticationRules(metadata: Metadata): Generator<string> {
  const { token_endpoint_auth_method: method, jwks, jwks_uri: jwksUri } = metadata;
  if (jwks !== undefined && jwksUri !== undefined)
    yield "jwks and jwks_uri must not both be given, so keep one";
  if (method === undefined) return;
  if (method === "none" && metadata.grant_types?.includes("client_credentials") === true)
    yield "token_endpoint_auth_method must not be none for the client_credentials grant (RFC 6749 §4.4)";
  if (method === "private_key_jwt" && jwks === undefined && jwksUri === undefined)
    yield "jwks or jwks_uri must be given for private_key_jwt";
  if (method !== "private_key_jwt" && metadata.token_endpoint_auth_signing_alg !== undefined)
    yield "token_endpoint_auth_signing_alg is for private_key_jwt only, so remove it";
}
