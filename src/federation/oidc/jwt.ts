import { errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from "jose";
import { UpstreamError, type Trace } from "../connector.ts";
import { brief } from "./authorization.ts";
import { TENANT } from "./settings.ts";

/** Seconds by which a provider's clock may differ from ours. */
export const SKEW = 60;
/** Seconds since a token was made, after which nobody can just have received it. */
export const LONGEST = 600;

/** What a token from a provider must be. */
export interface Expected {
  /** Which token it is, in words. */
  readonly what: string;
  readonly issuer: Issuer;
  readonly clientId: string;
  /** Others that it may be for as well. */
  readonly trustedAudiences: readonly string[];
  readonly algorithms: readonly string[];
  readonly requiredClaims: readonly string[];
  readonly typ?: RegExp;
}

/** Who may say something: one issuer, or one for each directory that is allowed (`{tenantid}`). */
export class Issuer {
  readonly name: string;
  readonly #tenants: readonly string[];

  constructor(name: string, tenants: readonly string[]) {
    this.name = name;
    this.#tenants = tenants;
  }

  get all(): string[] {
    return this.name.includes(TENANT)
      ? this.#tenants.map((tenant) => this.name.replace(TENANT, tenant))
      : [this.name];
  }

  includes(iss: unknown): boolean {
    return typeof iss === "string" && this.all.includes(iss);
  }
}

/**
 * The claims of a token that a provider signed for us (OIDC Core §3.1.3.7, OIDC Back-Channel Logout §2.6): signature,
 * algorithm, `iss`, `aud` and `azp`, `exp` and `iat`.
 *
 * @throws UpstreamError `expired` where only time speaks against it, else `invalid`; the rule names the claim.
 */
export async function verifyToken(
  token: string,
  keys: JWTVerifyGetKey,
  expected: Expected,
  trace: Trace,
): Promise<JWTPayload> {
  const { what, issuer, clientId, algorithms } = expected;
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      algorithms: [...algorithms],
      issuer: issuer.all,
      audience: clientId,
      requiredClaims: [...expected.requiredClaims],
      clockTolerance: SKEW,
    });
    const { alg, kid, typ } = protectedHeader;
    if (expected.typ !== undefined && typ !== undefined && !expected.typ.test(typ))
      throw wrong(what, "typ", typ, "its own type, or none");
    assertAudience(payload, expected);
    assertAge(payload, expected);
    trace(`${what} verified`, { alg, kid, claims: Object.keys(payload).toSorted() });
    return payload;
  } catch (error) {
    if (error instanceof UpstreamError) throw error;
    throw refusal(error, expected);
  }
}

/** OIDC Core §3.1.3.7 points 3 to 5: nobody else could have been given it to use against us. */
function assertAudience(payload: JWTPayload, expected: Expected): void {
  const { what, clientId, trustedAudiences } = expected;
  const audiences = [payload.aud ?? []].flat();
  const stranger = audiences.find((aud) => aud !== clientId && !trustedAudiences.includes(aud));
  if (stranger !== undefined)
    throw wrong(what, "aud", audiences, `${clientId} alone`, {
      hint: "If the provider means it, name the others in trusted_audiences.",
    });
  const { azp } = payload;
  const mustHaveParty = audiences.length > 1;
  if (azp === undefined ? mustHaveParty : azp !== clientId) throw wrong(what, "azp", azp, clientId);
}

function assertAge({ iat }: JWTPayload, { what }: Expected): void {
  if (iat === undefined) return;
  const age = ageOf(iat);
  if (age >= -SKEW && age <= LONGEST + SKEW) return;
  throw new UpstreamError(
    "expired",
    "oidc.iat",
    `The ${what} was made ${Math.abs(age)} seconds ${age < 0 ? "from now" : "ago"} (iat), and now was expected.`,
    { hint: "Compare the clocks of the provider and of this server." },
  );
}

/** What is wrong with a claim, as an operator can use it. */
export function wrong(
  what: string,
  claim: string,
  came: unknown,
  expected: string,
  options: { hint?: string } = {},
): UpstreamError {
  const shown = came === undefined ? "none" : brief(JSON.stringify(came));
  return new UpstreamError(
    "invalid",
    `oidc.${claim}`,
    `The ${what} has the ${claim} ${shown}, and ${expected} was expected.`,
    {
      hint: HINTS[claim] ?? "Begin again; where it happens each time, the provider is at fault.",
      ...options,
    },
  );
}

const HINTS: Readonly<Record<string, string>> = {
  iss: "Check the issuer of the connection, and which directories are allowed.",
  aud: "Check the client ID.",
};

function refusal(error: unknown, { what, issuer, clientId, algorithms }: Expected): UpstreamError {
  if (error instanceof errors.JWTExpired)
    return new UpstreamError(
      "expired",
      "oidc.exp",
      `The ${what} expired ${ageOf(error.payload.exp)} seconds ago (exp).`,
      { cause: error, hint: "Compare the clocks of the provider and of this server." },
    );
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, payload } = error;
    const expectations: Record<string, string> = { iss: issuer.all.join(" or "), aud: clientId };
    return wrong(what, claim, payload[claim], expectations[claim] ?? "a usable one");
  }
  const [rule, message, hint] = problemOf(error, what, algorithms);
  return new UpstreamError("invalid", rule, message, { cause: error, hint });
}

/** The rule that a token breaks as a whole, in which way, and what the operator could do. */
function problemOf(
  error: unknown,
  what: string,
  algorithms: readonly string[],
): [string, string, string] {
  if (error instanceof errors.JOSEAlgNotAllowed)
    return [
      "oidc.alg",
      `The ${what} is not signed with an algorithm that is allowed: ${algorithms.join(", ")}.`,
      "Register the client there for RS256, or another of these; a secret proves nothing here.",
    ];
  if (error instanceof errors.JWKSNoMatchingKey)
    return [
      "oidc.key",
      `The ${what} is signed with a key that the provider does not publish.`,
      "Compare the kid in the trace with jwks_uri; new keys are looked for once a minute.",
    ];
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return [
      "oidc.key",
      `The ${what} names no key (kid), and several fit (OIDC Core §10.1).`,
      "The provider must name the key in its tokens.",
    ];
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return [
      "oidc.signature",
      `The signature of the ${what} is wrong.`,
      "Somebody else may have made it; if not, the provider publishes another key than it uses.",
    ];
  const why = error instanceof Error ? brief(error.message) : "unknown";
  return [
    "oidc.jwt",
    `The ${what} is no signed JWT that can be verified: ${why}.`,
    "Register the client there for signed tokens that are not encrypted.",
  ];
}

/** Whole seconds since a time, which a provider may have made up. */
function ageOf(time = 0): number {
  return Math.round(Date.now() / 1000 - time);
}
