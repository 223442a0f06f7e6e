import type { Knex } from "knex";
import type { Seal } from "../keys/seal.ts";
import type { Logger } from "../lib/log.ts";

/** One step of a conversation with an identity provider, for the operator who asks why it failed. No secrets. */
export interface TraceStep {
  /** Milliseconds since the conversation's first step. */
  readonly at: number;
  /** What was done or found, such as `token endpoint answered`. */
  readonly step: string;
  /** Figures and names: addresses, status codes, claim names, what was expected and what came. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** Notes a step. */
export type Trace = (step: string, detail?: TraceStep["detail"]) => void;

/** A sign-in at an identity provider that is about to begin. */
export interface Departure {
  /** Binds the answer to this request: `state` (RFC 6749 §4.1.1), or `RelayState` (SAML Bindings §3.4.3). */
  readonly state: string;
  /** Who is expected, where that is known. */
  readonly loginHint?: string;
  /** Whether the person must show once more who they are, though they may be signed in there. */
  readonly fresh?: boolean;
  /** Languages for the provider's pages, the best first (BCP 47). */
  readonly locales?: readonly string[];
}

/** Where the browser goes, and what the answer will be held against. */
export interface Leaving {
  /** The address to go to; or a form to post there, where the provider takes no other binding. */
  readonly to: { readonly url: string; readonly fields?: Readonly<Record<string, string>> };
  /** Kept sealed until the answer: `nonce`, `code_verifier`, the ID of an AuthnRequest. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** What the browser brought back. */
export interface Answer {
  /** How it came: query parameters of a GET, or fields of a POST. */
  readonly method: "GET" | "POST";
  /** The query of a GET as it came, undecoded: a signature may be over it (SAML Bindings §3.4.4.1). */
  readonly query?: string;
  /** Query or fields, as strings; one that came twice is refused before. */
  readonly parameters: Readonly<Record<string, string>>;
  /** What was kept when the person left. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** Who somebody is, as an identity provider says and as far as it was proven to us. */
export interface UpstreamIdentity {
  /** Who says so: `iss`, or the entity ID. */
  readonly issuer: string;
  /** Who it is there, for good: `sub`, or a persistent NameID. Never an address. */
  readonly subject: string;
  readonly email?: string;
  /** Whether the provider says that it has verified the address; believed only where its connection says so. */
  readonly emailVerified: boolean;
  /** Everything it said, by its own names; for the mapping of attributes and groups. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** How the person signed in there: `acr` or AuthnContextClassRef, `amr`, and when, in seconds since the epoch. */
  readonly acr?: string;
  readonly amr?: readonly string[];
  readonly authTime?: number;
  /** The session there, as a logout will name it. */
  readonly session?: UpstreamSession;
  readonly tokens?: UpstreamTokens;
}

/** A session at an identity provider. */
export interface UpstreamSession {
  /** `sid` (OIDC Back-Channel Logout §2.1), or SessionIndex (SAML Core §2.7.2). */
  readonly index?: string;
  /** What a SAML LogoutRequest names its person by. */
  readonly nameId?: {
    readonly value: string;
    readonly format?: string;
    readonly nameQualifier?: string;
    readonly spNameQualifier?: string;
  };
  /** The ID token, as a hint for logout there (OIDC RP-Initiated Logout §2). */
  readonly idToken?: string;
  /** When our session must end at the latest, in seconds since the epoch (SessionNotOnOrAfter, SAML Core §2.7.2). */
  readonly notAfter?: number;
}

/** What an identity provider lets us use its APIs with. */
export interface UpstreamTokens {
  readonly accessToken: string;
  readonly refreshToken?: string;
  readonly scopes: readonly string[];
  /** Seconds since the epoch. */
  readonly expiresAt?: number;
}

/** Whose session ended at an identity provider: everybody's with that index, or all of one person's. */
export interface UpstreamLogout {
  readonly issuer: string;
  readonly subject?: string;
  readonly index?: string;
  /** How to say that it is done, where the message came through the browser. */
  readonly reply?: Leaving["to"];
}

/** Our own addresses for one connection, as its identity provider knows them. */
export interface ConnectorSite {
  /** Where an OpenID or OAuth provider sends the browser back to (`redirect_uri`). */
  readonly callback: string;
  /** Where a SAML provider sends it back to (AssertionConsumerService). */
  readonly acs: string;
  /** SingleLogoutService. */
  readonly slo: string;
  /** Our entity ID, and where our SP metadata is. */
  readonly metadata: string;
  /** The keys that our assertions are signed with. */
  readonly jwks: string;
  /** Where the browser comes back to after it was signed out there. */
  readonly signedOut: string;
}

/** What every connector works with. */
export interface ConnectorNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  /** The one way out of the process, which refuses private addresses. */
  readonly fetch: typeof fetch;
  readonly log: Logger;
}

/**
 * An identity provider as we speak to it. All of them pass one suite, `test/federation/connectors.test.ts`.
 * Everything throws `UpstreamError` where the provider, or who pretends to be it, is at fault.
 */
export interface Connector {
  /** Begins a sign-in. */
  leave(departure: Departure, trace: Trace): Promise<Leaving>;
  /** Ends it: verifies everything in the answer and says who it is. */
  arrive(answer: Answer, trace: Trace): Promise<UpstreamIdentity>;
  /** Tries what can be tried without a person: addresses, keys, certificates, clocks. */
  test(trace: Trace): Promise<void>;
  /** Gets new tokens for a refresh token, where the provider issues any. */
  refresh?(refreshToken: string): Promise<UpstreamTokens>;
  /** What our own sign-out sends the browser on to, so that the person is signed out there as well. */
  signOut?(session: UpstreamSession, state: string): Promise<Leaving["to"] | undefined>;
  /** Reads a message that ends sessions: a logout token (OIDC Back-Channel Logout §2.5), a LogoutRequest (SAML Core §3.7). */
  readLogout?(answer: Omit<Answer, "secrets">, trace: Trace): Promise<UpstreamLogout>;
  /** Reads the answer to a message of ours that ended a session there. */
  readLogoutResponse?(answer: Omit<Answer, "secrets">): Promise<{ readonly isComplete: boolean }>;
  /** Whether an answer that nobody asked for may begin a sign-in; nothing else in it is believed (T-103). */
  isUnsolicited?(answer: Omit<Answer, "secrets">): Promise<boolean>;
  /** What the provider needs to know of us: SP metadata as XML, or a JWKS. */
  describe?(): Promise<{ readonly type: string; readonly body: string }>;
}

/** Why a sign-in at an identity provider did not end well; each has its own text for people, and for the audit. */
export const UPSTREAM_REASONS = [
  /** The person said no there, or went back. */
  "cancelled",
  /** The provider answered with an error of its own. */
  "refused",
  /** It cannot be reached, or answers too slowly or with nonsense. */
  "unavailable",
  /** What it sent is not to be believed: signature, issuer, audience, recipient, nonce, shape. */
  "invalid",
  /** What it sent is too old, or its clock is wrong. */
  "expired",
  /** What it sent was used before. */
  "replayed",
  /** It said too little: no stable identifier, no address where one is required. */
  "incomplete",
  /** Our own configuration of it is wrong: secret, certificate, address. */
  "misconfigured",
] as const;
export type UpstreamReason = (typeof UPSTREAM_REASONS)[number];

/** What went wrong with an identity provider. `message` is for operators, in the trace; people see the reason's text. */
export class UpstreamError extends Error {
  readonly reason: UpstreamReason;
  /** Names the broken rule for the audit, such as `saml.audience` or `oidc.nonce`. */
  readonly rule: string;
  /** What the operator could do. */
  readonly hint: string | undefined;

  constructor(
    reason: UpstreamReason,
    rule: string,
    message: string,
    { hint, ...options }: ErrorOptions & { hint?: string } = {},
  ) {
    super(message, options);
    this.name = "UpstreamError";
    this.reason = reason;
    this.rule = rule;
    this.hint = hint;
  }
}
