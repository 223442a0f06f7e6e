import { DECOUPLED_GRANTS } from "../issuers.ts";

type Metadata = Readonly<Record<string, unknown>>;

/** What belongs together for one kind of client. */
interface Profile {
  /** What the client gets where nothing else is said. */
  readonly defaults: (given: Readonly<Record<string, unknown>>) => Record<string, unknown>;
  /** What it must keep to whatever is said, each with the reason. */
  readonly demands: readonly Demand[];
}

interface Demand {
  readonly field: string;
  readonly allows: (value: never, metadata: Metadata) => boolean;
  /** The end of a sentence that begins with the field. */
  readonly says: string;
}

const HOUR = 3600;
const DAY = 24 * HOUR;
const SECRETS_TRAVEL = "secrets travel, keys do not (§5.3.2.1)";
const KEYS_ONLY = "its clients show a key or a certificate of their own (§5.3.2.1)";
const SHIPPED = "a secret that is shipped is known";
const DEVICE_CODE = DECOUPLED_GRANTS.device;
const SIGNS_IN = ["authorization_code", "refresh_token"];

/**
 * Security profiles: the parts of a client's registration that only make sense together, by what kind of program it
 * is (RFC 6749 §2.1, RFC 8252, OAuth 2.0 for Browser-Based Applications, FAPI 2.0 Security Profile §5.3.3). A profile
 * is a set of defaults, and of demands that no override gets past.
 */
const PROFILES = {
  /** An application on a server, which can keep a secret. */
  web: {
    defaults: () => ({ application_type: "web", grant_types: SIGNS_IN }),
    demands: [
      is("application_type", "web", "a program on a device is native"),
      isNot("token_endpoint_auth_method", "none", "a server keeps a secret or a key"),
    ],
  },
  /** Scripts of a page: they keep no secret, but a key that they cannot read out. */
  spa: {
    defaults: ({ redirect_uris: redirects }) => ({
      application_type: "web",
      grant_types: SIGNS_IN,
      token_endpoint_auth_method: "none",
      dpop_bound_access_tokens: true,
      refresh_token_lifetime: DAY,
      cors_origins: originsOf(redirects),
    }),
    demands: [
      is("token_endpoint_auth_method", "none", "everybody can read what a page holds"),
      grantsOf(SIGNS_IN),
      atMost("refresh_token_lifetime", 7 * DAY, "a page's storage is easily read"),
    ],
  },
  /** A program on the person's device (RFC 8252). */
  native: {
    defaults: () => ({
      application_type: "native",
      grant_types: SIGNS_IN,
      token_endpoint_auth_method: "none",
    }),
    demands: [
      is("application_type", "native", "its redirect addresses follow RFC 8252"),
      isNot(
        "token_endpoint_auth_method",
        "client_secret_basic",
        "a secret that is shipped is known",
      ),
      isNot(
        "token_endpoint_auth_method",
        "client_secret_post",
        "a secret that is shipped is known",
      ),
    ],
  },
  /** A program that acts for itself. */
  machine: {
    defaults: ({ jwks, jwks_uri: jwksUri }) => ({
      grant_types: ["client_credentials"],
      token_endpoint_auth_method:
        jwks === undefined && jwksUri === undefined ? "client_secret_basic" : "private_key_jwt",
    }),
    demands: [
      grantsOf(["client_credentials"]),
      isNot("token_endpoint_auth_method", "none", "nobody else vouches for it"),
    ],
  },
  /** A program on something without a browser: a television, a command line (RFC 8628). */
  device: {
    defaults: () => ({
      application_type: "native",
      grant_types: [DEVICE_CODE, "refresh_token"],
      token_endpoint_auth_method: "none",
    }),
    demands: [
      grantsOf([DEVICE_CODE, "refresh_token"]),
      isNot("token_endpoint_auth_method", "client_secret_basic", SHIPPED),
      isNot("token_endpoint_auth_method", "client_secret_post", SHIPPED),
    ],
  },
  /** What moves money or health records (FAPI 2.0 Security Profile). */
  fapi2: {
    defaults: ({ tls_client_certificate_bound_access_tokens: binds }) => ({
      grant_types: SIGNS_IN,
      token_endpoint_auth_method: "private_key_jwt",
      require_pushed_authorization_requests: true,
      dpop_bound_access_tokens: binds !== true,
      id_token_signed_response_alg: "ES256",
      access_token_lifetime: 300,
    }),
    demands: [
      isNot("token_endpoint_auth_method", "none", "its clients prove who they are (§5.3.2.1)"),
      isNot("token_endpoint_auth_method", "client_secret_basic", SECRETS_TRAVEL),
      isNot("token_endpoint_auth_method", "client_secret_post", SECRETS_TRAVEL),
      isNot("token_endpoint_auth_method", "client_secret_jwt", SECRETS_TRAVEL),
      isNot("token_endpoint_auth_method", "attest_jwt_client_auth", KEYS_ONLY),
      isNot("token_endpoint_auth_method", "attest_jwt_client_auth_dpop", KEYS_ONLY),
      is(
        "require_pushed_authorization_requests",
        true,
        "the browser carries no request (§5.3.2.2)",
      ),
      {
        field: "dpop_bound_access_tokens",
        allows: (bound, { tls_client_certificate_bound_access_tokens: toCertificate }) =>
          bound === true || toCertificate === true,
        says: "must be true, because tokens are bound to a key or a certificate (§5.3.2.1)",
      },
      isNot("id_token_signed_response_alg", "RS256", "PS256 and ES256 are allowed (§5.4)"),
      grantsOf([...SIGNS_IN, "client_credentials"]),
      atMost("access_token_lifetime", 600, "tokens of this profile are short"),
    ],
  },
} as const satisfies Record<string, Profile>;

/** The names of the profiles. */
export const PROFILE_NAMES = Object.keys(PROFILES) as [ProfileName, ...ProfileName[]];
export type ProfileName = keyof typeof PROFILES;

/** Metadata with what its profile, if it names one, says of the fields that are not given. */
export function withProfile(input: unknown): unknown {
  if (typeof input !== "object" || input === null) return input;
  const given = Object.fromEntries(
    Object.entries(input).filter(([, value]) => value !== undefined),
  );
  const { security_profile: name } = given;
  const profile = PROFILE_NAMES.find((each) => each === name);
  return profile === undefined ? given : { ...PROFILES[profile].defaults(given), ...given };
}

/** Where metadata breaks what its profile demands, each with the reason. */
export function* broken(metadata: Metadata): Generator<string> {
  const name = PROFILE_NAMES.find((each) => each === metadata["security_profile"]);
  if (name === undefined) return;
  for (const { field, allows, says } of PROFILES[name].demands as readonly Demand[]) {
    const value = metadata[field];
    if (value !== undefined && !allows(value as never, metadata))
      yield `${field} ${says}; change it, or the security_profile ${name}`;
  }
}

function is(field: string, value: unknown, why: string): Demand {
  return {
    field,
    allows: (actual) => actual === value,
    says: `must be ${String(value)}, because ${why}`,
  };
}

function isNot(field: string, value: unknown, why: string): Demand {
  return {
    field,
    allows: (actual) => actual !== value,
    says: `must not be ${String(value)}, because ${why}`,
  };
}

function atMost(field: string, seconds: number, why: string): Demand {
  return {
    field,
    allows: (actual) => actual <= seconds,
    says: `must be at most ${seconds}, because ${why}`,
  };
}

function grantsOf(grants: readonly string[]): Demand {
  return {
    field: "grant_types",
    allows: (actual: readonly string[]) => actual.every((grant) => grants.includes(grant)),
    says: `must be of ${grants.join(", ")}`,
  };
}

/** Where scripts of these addresses run. */
function originsOf(redirects: unknown): string[] {
  const addresses: unknown[] = Array.isArray(redirects) ? redirects : [];
  const origins = addresses.map((address) =>
    typeof address === "string" ? URL.parse(address)?.origin : undefined,
  );
  return [...new Set(origins)].filter(
    (origin) => origin !== undefined && origin !== "null",
  ) as string[];
}
