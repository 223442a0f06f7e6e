import { createPublicKey, X509Certificate, type KeyObject } from "node:crypto";
import { z } from "zod";

const MAX_KEYS = 10;
const MAX_KEY_CHARACTERS = 8_192;
const MIN_RSA_BITS = 2_048;
/** Verifying with a larger key is slow enough to be used against us. */
const MAX_RSA_BITS = 8_192;
const CURVES = new Set(["P-256", "P-384", "P-521", "Ed25519"]);
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/**
 * The public keys with which a client signs (RFC 7517 §5). What is weak, symmetric or private is refused (T-37): a
 * private key that reached us is no longer private.
 */
export const keySet = z
  .strictObject({ keys: z.array(z.record(z.string(), z.json())) })
  .superRefine(({ keys }, context) => {
    const refuse = (message: string, ...path: (string | number)[]) =>
      context.addIssue({ code: "custom", message, path: ["keys", ...path] });
    if (keys.length === 0) refuse("must hold at least one key");
    if (keys.length > MAX_KEYS) {
      refuse(`must hold at most ${MAX_KEYS} keys, or use jwks_uri for keys that change often`);
      return;
    }
    for (const [index, key] of keys.entries()) {
      const problem = keyProblem(key);
      if (problem !== undefined) refuse(problem, index);
    }
    const ids = keys.flatMap((key) => (key["kid"] === undefined ? [] : [key["kid"]]));
    if (new Set(ids).size < ids.length) refuse("must not use the same kid twice");
  });

function keyProblem(jwk: Record<string, unknown>): string | undefined {
  const { kty, crv, kid } = jwk;
  if (kty === "oct")
    return 'must be a public key, and a symmetric one (kty "oct") has no public half';
  const secret = PRIVATE_MEMBERS.filter((member) => member in jwk);
  if (secret.length > 0)
    return `must be a public key without ${secret.join(", ")} (make a new key pair, because the private half was sent)`;
  if (kty !== "RSA" && kty !== "EC" && kty !== "OKP") return "must have kty RSA, EC or OKP";
  if (kty !== "RSA" && (typeof crv !== "string" || !CURVES.has(crv)))
    return `must use one of the curves ${[...CURVES].join(", ")}`;
  if (kid !== undefined && (typeof kid !== "string" || kid === ""))
    return "must have a kid that is a text, or none";
  if (JSON.stringify(jwk).length > MAX_KEY_CHARACTERS)
    return "is larger than a key needs, so remove its certificates";
  const key = parse(jwk);
  if (key === undefined) return "is not a valid public key";
  return certificateProblem(jwk["x5c"], key) ?? (kty === "RSA" ? rsaProblem(key) : undefined);
}

/** RFC 7517 §4.7: the first certificate is of this very key. */
function certificateProblem(x5c: unknown, key: KeyObject): string | undefined {
  if (x5c === undefined) return undefined;
  const [first]: unknown[] = Array.isArray(x5c) ? x5c : [];
  try {
    const { publicKey } = new X509Certificate(Buffer.from(String(first), "base64"));
    return publicKey.equals(key) ? undefined : "must have an x5c that is of the same key";
  } catch {
    return "must have an x5c of certificates in base64, or none";
  }
}

function parse(jwk: Record<string, unknown>): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk, format: "jwk" });
  } catch {
    return undefined;
  }
}

function rsaProblem({ asymmetricKeyDetails: details }: KeyObject): string | undefined {
  const bits = details?.modulusLength ?? 0;
  if (bits < MIN_RSA_BITS)
    return `must have at least ${MIN_RSA_BITS} bits, and this one has ${bits}`;
  if (bits > MAX_RSA_BITS)
    return `must have at most ${MAX_RSA_BITS} bits, and this one has ${bits}`;
  const exponent = details?.publicExponent ?? 0n;
  if (exponent < 65_537n || exponent % 2n === 0n)
    return "must have an odd public exponent of at least 65537";
  return undefined;
}
