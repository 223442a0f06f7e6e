import { createHash, randomUUID } from "node:crypto";
import {
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
  type JWTHeaderParameters,
} from "jose";

/** A key pair of a client's. */
export interface Key {
  readonly alg: string;
  readonly privateKey: CryptoKey;
  /** Its public half, as a client registers it. */
  readonly jwk: JWK & { kid: string };
}

export type Claims = Readonly<Record<string, unknown>>;
type Header = Partial<JWTHeaderParameters>;

/** Seconds since 1970. */
export const now = (): number => Math.floor(Date.now() / 1000);

/** Makes a key pair for an algorithm; `use` is `enc` for those of RFC 7518 §4. */
export async function aKey(alg: string, kid: string = randomUUID()): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const use = /^(RSA-|ECDH)/.test(alg) ? "enc" : "sig";
  return { alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use } };
}

/** A client assertion that is right except for `claims` and `header` (RFC 7523 §3). */
export async function assertion(
  key: Key,
  { clientId, audience }: { clientId: string; audience: string },
  claims: Claims = {},
  header: Header = {},
): Promise<string> {
  const right = {
    iss: clientId,
    sub: clientId,
    aud: audience,
    iat: now(),
    exp: now() + 60,
    jti: randomUUID(),
  };
  return new SignJWT({ ...right, ...claims })
    .setProtectedHeader({ alg: key.alg, kid: key.jwk.kid, ...header })
    .sign(key.privateKey);
}

/** The two parameters that carry a client assertion (RFC 7521 §4.2). */
export function asserted(jwt: string): Record<string, string> {
  return {
    client_assertion: jwt,
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
  };
}

/** A DPoP proof that is right except for `claims` (RFC 9449 §4.2). */
export async function proof(
  key: Key,
  { method, url, accessToken }: { method: string; url: string; accessToken?: string },
  claims: Claims = {},
): Promise<string> {
  const { kty, crv, x, y, e, n } = key.jwk;
  const jwk = Object.fromEntries(
    Object.entries({ kty, crv, x, y, e, n }).filter(([, value]) => value !== undefined),
  );
  const ath =
    accessToken === undefined
      ? {}
      : { ath: createHash("sha256").update(accessToken).digest("base64url") };
  const right = { jti: randomUUID(), htm: method, htu: url, iat: now(), ...ath };
  return new SignJWT({ ...right, ...claims })
    .setProtectedHeader({ alg: key.alg, typ: "dpop+jwt", jwk })
    .sign(key.privateKey);
}
