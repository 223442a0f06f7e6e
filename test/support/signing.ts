import { createHash, randomUUID } from "node:crypto";
import {
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
} from "jose";
import type { Target } from "./rp.ts";

/** A key pair of a client. */
export interface ClientKey {
  readonly alg: string;
  readonly privateKey: CryptoKey;
  /** The public half, as the client registers it. */
  readonly jwk: JWK;
  /** RFC 7638 §3. */
  readonly thumbprint: string;
}

export async function aKey(alg = "ES256"): Promise<ClientKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const thumbprint = await calculateJwkThumbprint(jwk);
  const use = /^(RSA|ECDH)/.test(alg) ? "enc" : "sig";
  return { alg, privateKey, jwk: { ...jwk, kid: thumbprint, use, alg }, thumbprint };
}

/** A JWT with exactly these claims; `undefined` leaves one out. */
export async function sign(
  key: ClientKey,
  claims: Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: key.alg, kid: key.thumbprint, ...header })
    .sign(key.privateKey);
}

export const now = (): number => Math.floor(Date.now() / 1000);

/** A proof for one request (RFC 9449 §4.2), right except for `claims` and `header`. */
export async function proof(
  key: ClientKey,
  { htu, token, ...claims }: { htu: string; token?: string; [claim: string]: unknown },
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const { kty, crv, x, y, n, e } = key.jwk;
  const jwk = Object.fromEntries(
    Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined),
  );
  const ath = token === undefined ? undefined : createHash("sha256").update(token);
  return sign(
    key,
    {
      jti: randomUUID(),
      htm: "POST",
      htu,
      iat: now(),
      ath: ath?.digest("base64url"),
      ...claims,
    },
    { typ: "dpop+jwt", kid: undefined, jwk, ...header },
  );
}

/** A client that proves who it is with a key (RFC 7523 §2.2). */
export async function assertion(
  { issuer }: Pick<Target, "issuer">,
  clientId: string,
  key: ClientKey,
): Promise<Record<string, string>> {
  return {
    client_id: clientId,
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: await sign(key, {
      iss: clientId,
      sub: clientId,
      aud: issuer,
      jti: randomUUID(),
      iat: now(),
      exp: now() + 60,
    }),
  };
}
