import { LEVEL_NUMBERS, type LevelNames } from "./authn/levels.ts";

/**
 * Which parts of the specifications an issuer offers. A preset is chosen as a whole, because the security of a
 * profile is in the combination: `production` is the safe list of today (RFC 9700), `fapi2` and `fapi1` are what the
 * FAPI profiles allow and nothing besides, and `conformance` switches on everything the OpenID plans exercise,
 * including what nobody should deploy.
 */
export const PRESET_NAMES = ["production", "conformance", "fapi2", "fapi1"] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

/** Response types (OAuth 2.0 Multiple Response Type Encoding Practices §3). */
export const RESPONSE_TYPES = [
  "code",
  "id_token",
  "id_token token",
  "code id_token",
  "code token",
  "code id_token token",
  "none",
] as const;
export type ResponseType = (typeof RESPONSE_TYPES)[number];

/** Where each instance of a client shows what its maker attests of it (Attestation-Based Client Authentication). */
export const ATTESTED_METHODS = ["attest_jwt_client_auth", "attest_jwt_client_auth_dpop"] as const;

/** How a client proves who it is at the token endpoint (OIDC Core §9, RFC 8705 §2). */
export const AUTH_METHODS = [
  "none",
  "client_secret_basic",
  "client_secret_post",
  "client_secret_jwt",
  "private_key_jwt",
  "tls_client_auth",
  "self_signed_tls_client_auth",
  ...ATTESTED_METHODS,
] as const;
type AuthMethod = (typeof AUTH_METHODS)[number];

/** Grants in which a token stands for a person or a client: one of ours (RFC 8693), another's (RFC 7523 §2.1). */
export const EXTENSION_GRANTS = [
  "urn:ietf:params:oauth:grant-type:token-exchange",
  "urn:ietf:params:oauth:grant-type:jwt-bearer",
] as const;
type ExtensionGrant = (typeof EXTENSION_GRANTS)[number];

/** Algorithms we have signing keys for, where an issuer's preset asks for them (RFC 7518 §3.1, RFC 8037 §3.1). */
export const SIGNING_ALGORITHMS = ["ES256", "RS256", "PS256", "EdDSA"] as const;
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number];

/** Grants by which a person approves on another device than the one that asks (RFC 8628 §3.4, CIBA Core §4). */
export const DECOUPLED_GRANTS = {
  device: "urn:ietf:params:oauth:grant-type:device_code",
  ciba: "urn:openid:params:grant-type:ciba",
} as const;
type DecoupledGrant = keyof typeof DECOUPLED_GRANTS;

/** Where a conformance suite tries the tokens that it was given, below an issuer; only where one is expected. */
export const ACCOUNTS_PATH = "/conformance/accounts";

/** Who may register clients over HTTP (RFC 7591): nobody, whoever has an initial access token, or anybody. */
export const REGISTRATION = ["off", "token", "open"] as const;
type Registration = (typeof REGISTRATION)[number];

/** Who may make an account: nobody, who is invited, or anybody. */
export const SIGN_UP = ["closed", "invitation", "open"] as const;
export type SignUp = (typeof SIGN_UP)[number];

/** Everything a preset decides. Settings may switch on what it leaves off. */
export interface Preset {
  readonly responseTypes: readonly ResponseType[];
  readonly authMethods: readonly AuthMethod[];
  /** What tokens and other answers may be signed with; the first is what a client gets that asks for none. */
  readonly algorithms: readonly [SigningAlgorithm, ...SigningAlgorithm[]];
  /** What clients may sign with. */
  readonly clientAlgorithms: readonly SigningAlgorithm[];
  readonly subjectTypes: readonly ("public" | "pairwise")[];
  /** Whether every authorization request carries a code challenge (RFC 7636, RFC 9700 §2.1.1). */
  readonly requiresPkce: boolean;
  /** Whether every authorization request is pushed first (RFC 9126 §5). */
  readonly requiresPushedRequests: boolean;
  /** Whether access tokens are bound to a key of the client (RFC 9449, RFC 8705 §3). */
  readonly requiresBoundTokens: boolean;
  /** Whether client certificates reach this issuer, so that tokens can be bound to them (RFC 8705 §3). */
  readonly bindsToCertificates: boolean;
  /** Whether authorization requests are signed (RFC 9101). */
  readonly requiresSignedRequests: boolean;
  /** Whether a request object may be fetched from an address that the client registered (RFC 9101 §5.2). */
  readonly takesRequestsByReference: boolean;
  /** Whether clients are told of a logout through frames in the browser (OIDC Front-Channel Logout). */
  readonly frontchannelLogout: boolean;
  /** Whether clients can ask the browser if the session is still theirs (OIDC Session Management). */
  readonly sessionManagement: boolean;
  /** Whether a refresh token is replaced whenever it is used (RFC 9700 §4.14.2); FAPI 2.0 §5.3.2.1 says not to. */
  readonly rotatesRefreshTokens: boolean;
  /** Whether a client assertion must name this issuer, as a string, as its only audience (FAPI 2.0 §5.3.2.1). */
  readonly strictAssertionAudience: boolean;
  /** How people sign in on a device that has no browser (RFC 8628) or that is not theirs (CIBA Core). */
  readonly decoupled: readonly DecoupledGrant[];
  /** Grants beyond those of OAuth itself. */
  readonly extensionGrants: readonly ExtensionGrant[];
  /** The profile whose further rules the engine keeps. */
  readonly fapi: "2.0" | "1.0 Final" | undefined;
}

const PRESETS: Readonly<Record<PresetName, Preset>> = {
  production: {
    responseTypes: ["code"],
    authMethods: ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
    algorithms: ["ES256", "RS256"],
    clientAlgorithms: SIGNING_ALGORITHMS,
    subjectTypes: ["public", "pairwise"],
    requiresPkce: true,
    requiresPushedRequests: false,
    requiresBoundTokens: false,
    bindsToCertificates: false,
    requiresSignedRequests: false,
    takesRequestsByReference: true,
    frontchannelLogout: false,
    sessionManagement: false,
    rotatesRefreshTokens: true,
    strictAssertionAudience: true,
    decoupled: ["device", "ciba"],
    extensionGrants: EXTENSION_GRANTS,
    fapi: undefined,
  },
  conformance: {
    responseTypes: RESPONSE_TYPES,
    authMethods: [
      "none",
      "client_secret_basic",
      "client_secret_post",
      "client_secret_jwt",
      "private_key_jwt",
    ],
    // RS256 first: what OIDC Dynamic Client Registration §2 says a client gets that registers none.
    algorithms: ["RS256", "ES256", "PS256", "EdDSA"],
    clientAlgorithms: SIGNING_ALGORITHMS,
    subjectTypes: ["public", "pairwise"],
    requiresPkce: false,
    requiresPushedRequests: false,
    requiresBoundTokens: false,
    bindsToCertificates: false,
    requiresSignedRequests: false,
    takesRequestsByReference: true,
    frontchannelLogout: true,
    sessionManagement: true,
    rotatesRefreshTokens: true,
    strictAssertionAudience: false,
    decoupled: ["device", "ciba"],
    extensionGrants: EXTENSION_GRANTS,
    fapi: undefined,
  },
  fapi2: {
    responseTypes: ["code"],
    authMethods: ["private_key_jwt"],
    algorithms: ["PS256", "ES256"],
    clientAlgorithms: ["PS256", "ES256", "EdDSA"],
    subjectTypes: ["public", "pairwise"],
    requiresPkce: true,
    requiresPushedRequests: true,
    requiresBoundTokens: true,
    bindsToCertificates: false,
    requiresSignedRequests: false,
    takesRequestsByReference: false,
    frontchannelLogout: false,
    sessionManagement: false,
    rotatesRefreshTokens: false,
    strictAssertionAudience: true,
    decoupled: [],
    extensionGrants: [],
    fapi: "2.0",
  },
  fapi1: {
    responseTypes: ["code", "code id_token"],
    authMethods: ["private_key_jwt"],
    algorithms: ["PS256", "ES256"],
    clientAlgorithms: ["PS256", "ES256", "EdDSA"],
    subjectTypes: ["public", "pairwise"],
    requiresPkce: false,
    requiresPushedRequests: false,
    requiresBoundTokens: true,
    bindsToCertificates: false,
    requiresSignedRequests: true,
    takesRequestsByReference: false,
    frontchannelLogout: false,
    sessionManagement: false,
    rotatesRefreshTokens: false,
    strictAssertionAudience: false,
    decoupled: ["ciba"],
    extensionGrants: [],
    fapi: "1.0 Final",
  },
};

/** How client certificates reach an issuer (RFC 8705). */
export interface CertificateReach {
  /** Whether their chains are checked, which `tls_client_auth` needs (§2.1). */
  readonly verified: boolean;
  /** Where clients that have one go instead of the issuer's own address, where that is another (§5). */
  readonly origin: string | undefined;
}

/**
 * One `iss`. A process may serve several, each with its preset; they share the users, and every client belongs to
 * exactly one of them, and with it its codes, tokens and grants.
 */
export interface Issuer {
  /** What rows of the database call it; empty for the one of `ISSUER`. */
  readonly name: string;
  /** The issuer identifier (RFC 8414 §2), without a slash at the end. */
  readonly url: string;
  /** The part of the address after the host; empty or beginning with a slash. */
  readonly path: string;
  readonly presetName: PresetName;
  readonly preset: Preset;
  readonly registration: Registration;
  /** Undefined where no client certificate reaches it. */
  readonly certificates: CertificateReach | undefined;
  /** The hosts whose client ID metadata documents it takes: names, `*.example.com`, or `*` for any. */
  readonly documentHosts: readonly string[];
  /** How many clients may register themselves in a day without a token; any number where it is undefined. */
  readonly registrationQuota: number | undefined;
  /** Hosts of the redirect addresses of clients that register themselves; any where it is empty. */
  readonly registrationHosts: readonly string[];
  /** Types of authorization details that they may ask for, too; none where it is empty (RFC 9396 §10). */
  readonly registrationTypes: readonly string[];
  /** The names by which clients may ask for a level of sign-in (`acr_values_supported`). */
  readonly levels: LevelNames;
  readonly secondFactor: SecondFactorPolicy;
  /** Whether people may sign in with a code by e-mail instead of a password. */
  readonly emailSignIn: boolean;
  /** How long sign-ins last. */
  readonly sessionLimits: SessionLimits;
  /** Who may make an account, where a client does not say otherwise. */
  readonly signUp: SignUp;
  /** Domains of the addresses that may; any where it is empty. */
  readonly signUpDomains: readonly string[];
  /** Whether nobody signs in whose address is not verified. */
  readonly requiresVerifiedEmail: boolean;
  /** What passkeys are made for here; undefined where the host is a bare address, for which browsers make none. */
  readonly relyingParty: RelyingParty | undefined;
}

/** What an issuer asks of people who have set up nothing for a second step. */
export interface SecondFactorPolicy {
  readonly required: boolean;
  /** How often somebody may put it off. */
  readonly skips: number;
  /** Whether a mailbox is enough; it reaches no level (NIST SP 800-63B-4 §3.1.3.1). */
  readonly byEmail: boolean;
}

/** How long sign-ins last, in seconds. */
export interface SessionLimits {
  /** Of who wants to stay signed in on this device. */
  readonly kept: SessionLimit;
  /** Of everybody else; their cookie also ends with the browser. */
  readonly unkept: SessionLimit;
}

interface SessionLimit {
  /** From the last use on. */
  readonly idle: number;
  /** From the sign-in on, however much the session is used. */
  readonly absolute: number;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const AAL2: SessionLimit = { idle: HOUR, absolute: 24 * HOUR };
const AAL3: SessionLimit = { idle: 15 * MINUTE, absolute: 12 * HOUR };

/** What NIST SP 800-63B-4 §2.1.3, §2.2.3 and §2.3.3 allow at each authenticator assurance level; the first is AAL1. */
const SESSION_LIMITS = {
  standard: {
    kept: { idle: 14 * DAY, absolute: 30 * DAY },
    unkept: { idle: 12 * HOUR, absolute: 24 * HOUR },
  },
  aal2: { kept: AAL2, unkept: AAL2 },
  aal3: { kept: AAL3, unkept: AAL3 },
} as const satisfies Record<string, SessionLimits>;
export const SESSION_PRESETS = ["standard", "aal2", "aal3"] as const;
type SessionPreset = (typeof SESSION_PRESETS)[number];

/** The site that passkeys belong to (WebAuthn §4, "WebAuthn Relying Party"). */
export interface RelyingParty {
  /** A domain: no browser shows a passkey to another. */
  readonly id: string;
  /** Every origin whose pages may ask for them, letter by letter; the issuer's own is the first. */
  readonly origins: readonly string[];
}

/** What a preset decides. */
export function presetOf(name: PresetName): Preset {
  return PRESETS[name];
}

/** What settings say of every issuer, beside its preset. */
interface Choices {
  readonly registration?: Registration;
  readonly documentHosts?: readonly string[];
  readonly registrationQuota?: number;
  readonly registrationHosts?: readonly string[];
  readonly registrationTypes?: readonly string[];
  readonly frontchannelLogout?: boolean;
  readonly sessionManagement?: boolean;
  readonly clientAttestation?: boolean;
  readonly certificates?: CertificateReach | undefined;
  readonly levels?: LevelNames;
  readonly sessionPreset?: SessionPreset;
  /** Seconds that shorten what the preset of sessions says. */
  readonly sessionIdle?: number | undefined;
  readonly sessionAbsolute?: number | undefined;
  readonly passkeyRpId?: string | undefined;
  readonly passkeyOrigins?: readonly string[];
  readonly secondFactor?: SecondFactorPolicy;
  readonly emailSignIn?: boolean;
  readonly signUp?: SignUp;
  readonly signUpDomains?: readonly string[];
  readonly requiresVerifiedEmail?: boolean;
}

/** An issuer from what the settings say. */
export function issuerOf(
  name: string,
  url: string,
  presetName: PresetName,
  { registration = "off", documentHosts = [], certificates, ...choices }: Choices = {},
): Issuer {
  const preset = PRESETS[presetName];
  return {
    name,
    url,
    path: new URL(url).pathname.replace(/\/$/, ""),
    presetName,
    preset: withCertificates(
      {
        ...preset,
        // FAPI names the methods that it allows, and these are none of them.
        authMethods:
          choices.clientAttestation === true && preset.fapi === undefined
            ? [...preset.authMethods, ...ATTESTED_METHODS]
            : preset.authMethods,
        frontchannelLogout: preset.frontchannelLogout || choices.frontchannelLogout === true,
        sessionManagement: preset.sessionManagement || choices.sessionManagement === true,
      },
      certificates,
    ),
    certificates,
    // The suites register a client for every test.
    registration: presetName === "conformance" ? "open" : registration,
    documentHosts,
    registrationQuota: presetName === "conformance" ? undefined : choices.registrationQuota,
    registrationHosts: choices.registrationHosts ?? [],
    registrationTypes: choices.registrationTypes ?? [],
    levels: new Map([...LEVEL_NUMBERS, ...(choices.levels ?? [])]),
    sessionLimits: sessionLimitsOf(choices),
    relyingParty: relyingPartyOf(new URL(url), choices),
    secondFactor: choices.secondFactor ?? { required: false, skips: 0, byEmail: false },
    emailSignIn: choices.emailSignIn ?? true,
    signUp: choices.signUp ?? "closed",
    signUpDomains: choices.signUpDomains ?? [],
    requiresVerifiedEmail: choices.requiresVerifiedEmail === true,
  };
}

function sessionLimitsOf({
  sessionPreset = "standard",
  sessionIdle = Infinity,
  sessionAbsolute = Infinity,
}: Choices): SessionLimits {
  const shorter = ({ idle, absolute }: SessionLimit): SessionLimit => ({
    idle: Math.min(idle, sessionIdle),
    absolute: Math.min(absolute, sessionAbsolute),
  });
  const { kept, unkept } = SESSION_LIMITS[sessionPreset];
  return { kept: shorter(kept), unkept: shorter(unkept) };
}

function relyingPartyOf(
  { hostname, origin }: URL,
  { passkeyRpId, passkeyOrigins = [] }: Choices,
): RelyingParty | undefined {
  const isBareAddress = /^[\d.]+$|^\[/.test(hostname);
  if (isBareAddress) return undefined;
  return { id: passkeyRpId ?? hostname, origins: [...new Set([origin, ...passkeyOrigins])] };
}

/** A preset with what client certificates make possible, where they reach the issuer. */
function withCertificates(preset: Preset, certificates: CertificateReach | undefined): Preset {
  if (certificates === undefined) return preset;
  const chained = certificates.verified ? (["tls_client_auth"] as const) : [];
  return {
    ...preset,
    authMethods: [...preset.authMethods, ...chained, "self_signed_tls_client_auth"],
    bindsToCertificates: true,
  };
}

/** The algorithms that any of the issuers signs with. */
export function algorithmsOf(issuers: readonly Issuer[]): SigningAlgorithm[] {
  const used = new Set(issuers.flatMap(({ preset }) => preset.algorithms));
  return SIGNING_ALGORITHMS.filter((algorithm) => used.has(algorithm));
}
