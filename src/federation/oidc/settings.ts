import { z } from "zod";
import { serviceUri } from "../../clients/addresses.ts";
import { KEY_ENCRYPTION } from "./decryption.ts";

/** What stands for the directory in the issuer of a provider that serves many (Microsoft Entra ID). */
export const TENANT = "{tenantid}";

/** What ID tokens may be signed with: never `none`, and never a secret that both sides know (RFC 8725 §3.1). */
export const ID_TOKEN_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "Ed25519",
  "EdDSA",
] as const;

/** How we show a provider who we are; what its metadata allows decides, unless said. */
export const UPSTREAM_AUTH_METHODS = [
  "client_secret_basic",
  "client_secret_post",
  "private_key_jwt",
  "none",
] as const;

/** What we say in an authorization request ourselves. */
const OWN_PARAMETERS = new Set([
  "client_id",
  "client_secret",
  "code_challenge",
  "code_challenge_method",
  "login_hint",
  "max_age",
  "nonce",
  "redirect_uri",
  "request",
  "request_uri",
  "response_mode",
  "response_type",
  "scope",
  "state",
]);

const text = z.string().min(1).max(1_000);
const claimName = z.string().min(1).max(200);
const names = z.array(claimName).max(50);
/** RFC 6749 §3.3. */
const scope = z
  .string()
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/, { error: "must be one scope, without spaces" });

const authorizationParams = z.record(z.string(), text).superRefine((parameters, context) => {
  for (const name of Object.keys(parameters))
    if (OWN_PARAMETERS.has(name))
      context.addIssue({
        code: "custom",
        path: [name],
        message: "is sent by Lintel itself, so remove it",
      });
});

const authMethod = z.enum(UPSTREAM_AUTH_METHODS);

/** What every provider of tokens may need beside its identifier and its credentials. */
const common = {
  /** `client_secret_basic` or what else the provider says that it supports, unless given. */
  token_endpoint_auth_method: authMethod.optional(),
  /** Whom a client assertion is for: the issuer (RFC 7523 §3), or as older servers want it the token endpoint. */
  assertion_audience: z.enum(["issuer", "token_endpoint"]).default("issuer"),
  /** Whether requests carry a code challenge (RFC 7636). Off only for servers that refuse one. */
  pkce: z.boolean().default(true),
  response_mode: z.enum(["query", "form_post"]).optional(),
  /** Further parameters of the authorization request, such as `prompt`. */
  authorization_params: authorizationParams.default({}),
  /** The claims that together say who it is, for good. */
  subject_claims: names.min(1).max(3),
  /** The claim that lists groups, for the mapping of groups. */
  groups_claim: claimName.default("groups"),
  /** The claim that lists roles, for the mapping of roles. */
  roles_claim: claimName.default("roles"),
};

/** The settings of a connection of kind `oidc`. What is an endpoint here counts more than what discovery says. */
export const oidcSettings = z
  .strictObject({
    ...common,
    subject_claims: common.subject_claims.default(["sub"]),
    scopes: z.array(scope).max(50).default(["openid", "profile", "email"]),
    /** Where its metadata is, where that is not below the issuer (OIDC Discovery §4). */
    discovery_url: serviceUri.optional(),
    /** Off for a provider that publishes no metadata; then the endpoints are given here. */
    discovery: z.boolean().default(true),
    authorization_endpoint: serviceUri.optional(),
    token_endpoint: serviceUri.optional(),
    userinfo_endpoint: serviceUri.optional(),
    jwks_uri: serviceUri.optional(),
    end_session_endpoint: serviceUri.optional(),
    /** Whether who signs out here is signed out there too: right for a company's provider, rude for a public one. */
    sign_out: z.boolean().default(false),
    /** Whether the userinfo endpoint is asked as well, where there is one (OIDC Core §5.3). */
    userinfo: z.boolean().default(true),
    /** Whether authorization requests are sent ahead (RFC 9126 §6); always where the provider says that it asks for it. */
    require_pushed_authorization_requests: z.boolean().default(false),
    /** Off for servers that do not repeat it in the ID token, against OIDC Core §3.1.3.6. */
    nonce: z.boolean().default(true),
    /** Off for servers that take no `max_age` and say no `auth_time`, so that nothing proves a fresh sign-in. */
    max_age: z.boolean().default(true),
    /** The one algorithm that ID tokens are signed with; any that is safe unless said. */
    id_token_signed_response_alg: z.enum(ID_TOKEN_ALGORITHMS).optional(),
    /** How ID tokens must be encrypted, for a key that is made for it and published; they are not, unless said. */
    id_token_encrypted_response_alg: z.enum(KEY_ENCRYPTION).optional(),
    /** Others that its ID tokens may be for as well (OIDC Core §3.1.3.7 point 3). */
    trusted_audiences: names.default([]),
    /** Claims that an ID token must have, such as Google's `hd`. */
    required_claims: z.record(claimName, text).default({}),
    /** Which directories may send their people, where the issuer contains `{tenantid}`. */
    allowed_tenants: z
      .array(z.guid({ error: "must be the ID of a directory (tenant), a UUID" }))
      .max(100)
      .default([]),
    acr_values: names.default([]),
    /** Whether the first answer has a field `user` with the person's name (Sign in with Apple). */
    user_parameter: z.boolean().default(false),
    /** With these the client secret is a JWT of the developer team's key (Sign in with Apple). */
    team_id: z.string().min(1).max(50).optional(),
    key_id: z.string().min(1).max(50).optional(),
  })
  .superRefine((settings, context) => {
    const refuse = (field: string, message: string) =>
      context.addIssue({ code: "custom", path: [field], message });
    if (!settings.scopes.includes("openid"))
      refuse("scopes", "must contain openid (OIDC Core §3.1.2.1)");
    if (!settings.discovery)
      for (const field of ["authorization_endpoint", "token_endpoint", "jwks_uri"] as const)
        if (settings[field] === undefined) refuse(field, "must be given where discovery is off");
    if ((settings.team_id === undefined) !== (settings.key_id === undefined))
      refuse("key_id", "and team_id belong together, so give both or none");
    if (!settings.pkce && !settings.nonce && settings.token_endpoint_auth_method === "none")
      refuse("pkce", "must be on where there is neither nonce nor client authentication");
  });
export type OidcSettings = z.output<typeof oidcSettings>;

/** The settings of a connection of kind `oauth2`: a vendor with an API that says who somebody is, and no ID tokens. */
export const oauth2Settings = z.strictObject({
  ...common,
  scopes: z.array(scope).max(50).default([]),
  authorization_endpoint: serviceUri,
  token_endpoint: serviceUri,
  /** Answers with a JSON object about the person to whom the access token belongs. */
  userinfo_endpoint: serviceUri,
  /** Answers with a list of `{ email, primary, verified }` (GitHub). */
  emails_endpoint: serviceUri.optional(),
});
export type Oauth2Settings = z.output<typeof oauth2Settings>;

/** The issuer of a connection of kind `oidc`, letter by letter as the provider spells it; `{tenantid}` may be in it. */
export const oidcIssuer = z
  .string()
  .max(1_000, { error: "must have at most 1000 characters" })
  .superRefine((issuer, context) => {
    const { error } = serviceUri.safeParse(issuer.replace(TENANT, "tenant"));
    for (const { message } of error?.issues ?? []) context.addIssue({ code: "custom", message });
    if (issuer.includes("?"))
      context.addIssue({ code: "custom", message: "must have no query (OIDC Discovery §3)" });
  });

/**
 * What is wrong between the issuer and the settings of a connection of kind `oidc`, as ends of sentences that begin
 * with the field.
 */
export function oidcContradictions(issuer: string, settings: OidcSettings): string[] {
  const isTemplate = issuer.includes(TENANT);
  const problems: string[] = [];
  if (isTemplate && settings.allowed_tenants.length === 0)
    problems.push("allowed_tenants must name at least one directory, because the issuer is many");
  if (!isTemplate && settings.allowed_tenants.length > 0)
    problems.push(`allowed_tenants is for an issuer with ${TENANT} in it, so remove it`);
  if (isTemplate && settings.discovery && settings.discovery_url === undefined)
    problems.push(`discovery_url must be given, because the issuer contains ${TENANT}`);
  return problems;
}
