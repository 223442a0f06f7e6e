import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  jwtVerify,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
} from "jose";
import type { Workload } from "../models/workload.ts";

/** Seconds by which clocks may differ. */
const SKEW = 15;
/** Seconds that an assertion may be good for from now, and since it was made: as long as a cluster's tokens live. */
const LONGEST = 3_600;
/** Milliseconds for which fetched keys are kept, and between two attempts to find one that is not among them. */
const KEYS_MAX_AGE = 600_000;
const KEYS_COOLDOWN = 30_000;

/** The key sets of workload issuers, each fetched once in a while, and once more when a key is not there. */
export class WorkloadKeys {
  readonly #fetch: typeof fetch;
  readonly #remote = new Map<string, JWTVerifyGetKey>();

  /** @param fetch the one way out of the process, which refuses private addresses. */
  constructor(fetch: typeof globalThis.fetch) {
    this.#fetch = fetch;
  }

  of({ jwks, jwksUri }: Pick<Workload, "jwks" | "jwksUri">): JWTVerifyGetKey {
    if (jwksUri === null) return createLocalJWKSet(jwks as unknown as JSONWebKeySet);
    const known = this.#remote.get(jwksUri);
    if (known !== undefined) return known;
    const keys = createRemoteJWKSet(new URL(jwksUri), {
      [customFetch]: withRests(this.#fetch),
      cacheMaxAge: KEYS_MAX_AGE,
      cooldownDuration: KEYS_COOLDOWN,
    });
    this.#remote.set(jwksUri, keys);
    return keys;
  }
}

/** After a failure nobody is asked for a while: anybody can make us fetch, and a server in trouble needs no more. */
function withRests(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  let restsUntil = 0;
  return async (input, init) => {
    if (Date.now() < restsUntil) throw new Error("the last attempt failed a moment ago");
    restsUntil = Date.now() + KEYS_COOLDOWN;
    const answer = await fetch(input, init);
    if (answer.ok) restsUntil = 0;
    return answer;
  };
}

/**
 * The claims of an assertion that is good for this workload, and for `audience` alone (RFC 7523 §3).
 *
 * @throws Error that says what is wrong; not for people.
 */
export async function verifyAssertion(
  assertion: string,
  workload: Workload,
  { keys, audience }: { keys: WorkloadKeys; audience: string },
): Promise<JWTPayload & { exp: number }> {
  const { payload } = await jwtVerify(assertion, keys.of(workload), {
    issuer: workload.issuerUrl,
    audience,
    algorithms: workload.algorithms,
    requiredClaims: ["iss", "sub", "aud", "exp", "iat"],
    clockTolerance: SKEW,
    maxTokenAge: LONGEST,
  });
  const { aud, exp = 0 } = payload;
  // What other servers take as well, they could show here.
  if ([aud].flat().length > 1) throw new Error("aud names others as well");
  if (exp > Date.now() / 1000 + LONGEST + SKEW) throw new Error("exp is too far ahead");
  for (const [name, wanted] of Object.entries(workload.claims))
    if (!matches(payload[name], wanted)) throw new Error(`${name} is not this workload's`);
  return { ...payload, exp };
}

/** Whether a claim is what is wanted, or begins with it where that ends with `*`. */
function matches(claim: unknown, wanted: string): boolean {
  if (typeof claim !== "string") return false;
  return wanted.endsWith("*") ? claim.startsWith(wanted.slice(0, -1)) : claim === wanted;
}
