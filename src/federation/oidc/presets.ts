import { z } from "zod";
import { serviceUri } from "../../clients/addresses.ts";
import type { IdentityProvider } from "../../models/identity-provider.ts";
import { TENANT, type oauth2Settings, type oidcSettings } from "./settings.ts";

/** What a preset makes of a connection; every part of it may be replaced. */
export interface PresetValues {
  readonly kind: Exclude<IdentityProvider["kind"], "saml">;
  readonly name: string;
  readonly issuer: string;
  readonly settings: z.input<typeof oidcSettings> | z.input<typeof oauth2Settings>;
  readonly attribute_mapping: Readonly<Record<string, string>>;
  /** Whether it is the vendor's own practice to verify every address of which it says so. */
  readonly trust_email_verified: boolean;
}

/** What an operator has beside a client ID: a secret, or a private key as PEM that is kept sealed. */
type Credential = "client_secret" | "private_key";

interface Preset<Parameters extends z.ZodRawShape = z.ZodRawShape> {
  readonly credential: Credential;
  /** What only the operator knows. */
  readonly parameters: z.ZodObject<Parameters, z.core.$strict>;
  readonly fill: (given: z.output<z.ZodObject<Parameters>>) => PresetValues;
}

const HOST = /^(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+(:\d{1,5})?$/;
const hostOf = (example: string) =>
  z.string({ error: `is missing, such as ${example}` }).regex(HOST, {
    error: `must be a host name in lower case without https://, such as ${example}`,
  });
const directoryId = z.guid({ error: "must be a directory (tenant) ID, a UUID" });

const google = preset({
  credential: "client_secret",
  parameters: z.strictObject({
    /** Whose people only: the primary domain of a Google Workspace. */
    hosted_domain: hostOf("example.com").optional(),
  }),
  fill: ({ hosted_domain: domain }) => ({
    kind: "oidc",
    name: "Google",
    issuer: "https://accounts.google.com",
    settings: {
      // It has no max_age, and no prompt that asks for a password again.
      max_age: false,
      ...(domain === undefined
        ? {}
        : { authorization_params: { hd: domain }, required_claims: { hd: domain } }),
    },
    attribute_mapping: {},
    trust_email_verified: true,
  }),
});

const microsoft = preset({
  credential: "client_secret",
  parameters: z.strictObject({
    /** The directories whose people may sign in. */
    tenants: z
      .array(directoryId, {
        error:
          "is missing: list the directory (tenant) IDs, from the app's Overview page in the Entra admin center",
      })
      .min(1, { error: "must name at least one directory (tenant) ID" })
      .max(100),
  }),
  fill: ({ tenants }) => {
    const [tenant = "", ...others] = tenants.map((id) => id.toLowerCase());
    const site = "https://login.microsoftonline.com";
    const many = {
      discovery_url: `${site}/common/v2.0/.well-known/openid-configuration`,
      allowed_tenants: [tenant, ...others],
    };
    return {
      kind: "oidc",
      name: "Microsoft",
      issuer: `${site}/${others.length > 0 ? TENANT : tenant}/v2.0`,
      settings: {
        ...(others.length > 0 ? many : {}),
        // `sub` differs between apps; these two are the same person for good, and no address ever is.
        subject_claims: ["tid", "oid"],
        userinfo: false,
      },
      attribute_mapping: {},
      trust_email_verified: false,
    };
  },
});

const apple = preset({
  credential: "private_key",
  parameters: z.strictObject({
    team_id: z
      .string({ error: "is missing: the 10 characters under Membership in the developer account" })
      .regex(/^[A-Z0-9]{10}$/, { error: "must be the 10 characters of the developer team" }),
    key_id: z
      .string({ error: "is missing: the 10 characters of the key for Sign in with Apple" })
      .regex(/^[A-Z0-9]{10}$/, { error: "must be the 10 characters of the key" }),
  }),
  fill: (team) => ({
    kind: "oidc",
    name: "Apple",
    issuer: "https://appleid.apple.com",
    settings: {
      ...team,
      scopes: ["openid", "name", "email"],
      // Apple sends names and addresses in no other way.
      response_mode: "form_post",
      token_endpoint_auth_method: "client_secret_post",
      user_parameter: true,
      userinfo: false,
      max_age: false,
    },
    attribute_mapping: {},
    trust_email_verified: true,
  }),
});

const github = preset({
  credential: "client_secret",
  parameters: z.strictObject({
    /** The host of a GitHub Enterprise Server. */
    domain: hostOf("github.example.com").optional(),
  }),
  fill: ({ domain }) => {
    const site = `https://${domain ?? "github.com"}`;
    const api = domain === undefined ? "https://api.github.com" : `${site}/api/v3`;
    return {
      kind: "oauth2",
      name: "GitHub",
      // As it names itself in its answers (RFC 9207).
      issuer: `${site}/login/oauth`,
      settings: {
        scopes: ["read:user", "user:email"],
        authorization_endpoint: `${site}/login/oauth/authorize`,
        token_endpoint: `${site}/login/oauth/access_token`,
        userinfo_endpoint: `${api}/user`,
        emails_endpoint: `${api}/user/emails`,
        token_endpoint_auth_method: "client_secret_post",
        // A login name can be given up and taken by somebody else.
        subject_claims: ["id"],
      },
      attribute_mapping: {
        preferred_username: "login",
        picture: "avatar_url",
        profile: "html_url",
      },
      trust_email_verified: true,
    };
  },
});

const gitlab = preset({
  credential: "client_secret",
  parameters: z.strictObject({ domain: hostOf("gitlab.example.com").optional() }),
  fill: ({ domain = "gitlab.com" }) => ({
    kind: "oidc",
    name: "GitLab",
    issuer: `https://${domain}`,
    settings: {},
    attribute_mapping: {},
    trust_email_verified: domain === "gitlab.com",
  }),
});

const okta = preset({
  credential: "client_secret",
  parameters: z.strictObject({
    domain: hostOf("example.okta.com"),
    /** Another authorization server than the organisation's own, such as `default`. */
    authorization_server: z
      .string()
      .regex(/^\w{1,64}$/, { error: "must be the ID of an authorization server, such as default" })
      .optional(),
  }),
  fill: ({ domain, authorization_server: server }) => ({
    kind: "oidc",
    name: "Okta",
    issuer: `https://${domain}${server === undefined ? "" : `/oauth2/${server}`}`,
    settings: { assertion_audience: "token_endpoint" },
    attribute_mapping: {},
    trust_email_verified: false,
  }),
});

const auth0 = preset({
  credential: "client_secret",
  parameters: z.strictObject({ domain: hostOf("example.eu.auth0.com") }),
  fill: ({ domain }) => ({
    kind: "oidc",
    name: "Auth0",
    issuer: `https://${domain}/`,
    settings: {},
    attribute_mapping: {},
    trust_email_verified: false,
  }),
});

const keycloak = preset({
  credential: "client_secret",
  parameters: z.strictObject({
    realm_url: z
      .string({ error: "is missing, such as https://sso.example.com/realms/staff" })
      .pipe(serviceUri)
      .transform((url) => url.replace(/\/+$/, ""))
      .refine((url) => /\/realms\/[^/]+$/.test(url), {
        error: "must end with /realms/ and the name of the realm",
      }),
  }),
  fill: ({ realm_url: issuer }) => ({
    kind: "oidc",
    name: "Keycloak",
    issuer,
    settings: {},
    attribute_mapping: {},
    trust_email_verified: false,
  }),
});

const discord = preset({
  credential: "client_secret",
  parameters: z.strictObject({}),
  fill: () => ({
    kind: "oauth2",
    name: "Discord",
    issuer: "https://discord.com",
    settings: {
      scopes: ["identify", "email"],
      authorization_endpoint: "https://discord.com/oauth2/authorize",
      token_endpoint: "https://discord.com/api/oauth2/token",
      userinfo_endpoint: "https://discord.com/api/users/@me",
      subject_claims: ["id"],
    },
    attribute_mapping: {
      email_verified: "verified",
      name: "global_name",
      preferred_username: "username",
    },
    trust_email_verified: true,
  }),
});

const linkedin = preset({
  credential: "client_secret",
  parameters: z.strictObject({}),
  fill: () => ({
    kind: "oidc",
    name: "LinkedIn",
    issuer: "https://www.linkedin.com/oauth",
    settings: {
      token_endpoint_auth_method: "client_secret_post",
      // It refuses a code verifier from servers, and repeats no nonce.
      pkce: false,
      nonce: false,
      max_age: false,
    },
    attribute_mapping: {},
    trust_email_verified: true,
  }),
});

/** What is known of well-known providers. */
export const PRESETS = {
  google,
  microsoft,
  apple,
  github,
  gitlab,
  okta,
  auth0,
  keycloak,
  discord,
  linkedin,
} as const;
export type PresetName = keyof typeof PRESETS;
export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[];

/**
 * A connection to a well-known provider, from what only the operator knows.
 *
 * @throws ZodError that names each parameter and says what it should be.
 */
export function applyPreset(name: PresetName, parameters: unknown = {}): PresetValues {
  const chosen: Preset = PRESETS[name];
  return chosen.fill(chosen.parameters.parse(parameters));
}

/** A preset whose `fill` takes what its `parameters` let through. */
function preset<Parameters extends z.ZodRawShape>(described: Preset<Parameters>): Preset {
  return described as unknown as Preset;
}
