import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  errors,
  exportJWK,
  generateKeyPair,
  importPKCS8,
  type JWK,
  type JWTVerifyGetKey,
} from "jose";
import type { Seal } from "../../keys/seal.ts";
import { UpstreamError, type Trace } from "../connector.ts";
import { ask, jsonOf } from "./ask.ts";
import { Remembered } from "./remembered.ts";

const FRESH_FOR = 10 * 60_000;

/** The keys that a provider signs with, as it publishes them. */
export class ProviderKeys {
  readonly #sets: Remembered<{ keys: JWK[]; find: JWTVerifyGetKey }>;

  /** @param address says where they are. */
  constructor(fetch: typeof globalThis.fetch, address: (trace: Trace) => Promise<string>) {
    this.#sets = new Remembered(async (trace) => {
      const keys = await readKeys(fetch, await address(trace), trace);
      return { keys, find: createLocalJWKSet({ keys }) };
    }, FRESH_FOR);
  }

  /** Every key there is. */
  async all(trace: Trace): Promise<JWK[]> {
    return (await this.#sets.get(trace)).keys;
  }

  /** Finds the key of a token; a key that is not known is looked for once more, at most once a minute (T-95). */
  finder(trace: Trace): JWTVerifyGetKey {
    return async (header, token) => {
      try {
        return await (await this.#sets.get(trace)).find(header, token);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
        trace("key not known", { kid: header.kid, alg: header.alg });
      }
      return await (await this.#sets.renew(trace)).find(header, token);
    };
  }
}

async function readKeys(fetch: typeof globalThis.fetch, url: string, trace: Trace): Promise<JWK[]> {
  const reply = await ask(fetch, { what: "key set", url }, trace);
  const { keys } = reply.status === 200 ? jsonOf(reply) : {};
  if (Array.isArray(keys) && keys.every((key) => typeof key === "object" && key !== null))
    return keys as JWK[];
  throw new UpstreamError(
    "unavailable",
    "oidc.jwks",
    `The key set ${reply.url} answered with status ${reply.status}, and is no JWK Set (RFC 7517 §5).`,
    { hint: "Check jwks_uri." },
  );
}

/**
 * A key pair for the assertions of one connection (`private_key_jwt`), as a private JWK.
 *
 * @param alg is what every provider takes, unless said otherwise (OIDC Core §15.1).
 */
export async function newConnectionKey(alg = "RS256"): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return await identified(await exportJWK(privateKey), alg);
}

/** A key pair that ID tokens are encrypted for, as a private JWK without `alg`: the settings say how. */
export async function newDecryptionKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair("RSA-OAEP-256", { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, use: "enc", kid: await calculateJwkThumbprint(jwk) };
}

/** Whether a key is for what is encrypted for us, and not for what we sign (RFC 7517 §4.2). */
export function isForDecryption({ use }: JWK): boolean {
  return use === "enc";
}

/**
 * The keys of a connection. Of those that sign, the first one is used, and others are published beside it; of those that
 * decrypt, the last one is published, and all are tried.
 */
export function openKeys(seal: Seal, id: string, privateKeyEnc: Buffer): JWK[] {
  const place = { table: "identity_providers", column: "private_key_enc", id };
  const kept = JSON.parse(seal.decrypt(privateKeyEnc, place).toString()) as { keys: JWK[] } | JWK;
  // One by itself is how it was kept at first.
  return "keys" in kept ? kept.keys : [kept];
}

/**
 * A private key as a private JWK, from PEM (PKCS #8), such as Apple's .p8 files are.
 *
 * @throws Error that says how it should be; the key is not in it.
 */
export async function readPrivateKey(pem: string): Promise<JWK> {
  for (const alg of ["ES256", "RS256"]) {
    try {
      const key = await importPKCS8(pem.trim(), alg, { extractable: true });
      return await identified(await exportJWK(key), alg);
    } catch {
      // It may be of the other kind.
    }
  }
  throw new Error(
    "must be a private key as PEM that begins with -----BEGIN PRIVATE KEY-----, P-256 or RSA",
  );
}

async function identified(jwk: JWK, alg: string): Promise<JWK> {
  return { ...jwk, alg, use: "sig", kid: await calculateJwkThumbprint(jwk) };
}

/** What a provider needs to verify what a private key signed. */
export function publicHalf(jwk: JWK): JWK {
  const { kty, crv, x, y, n, e, kid, alg, use } = jwk;
  const members = Object.entries({ kty, crv, x, y, n, e, kid, alg, use });
  return Object.fromEntries(members.filter(([, value]) => value !== undefined)) as JWK;
}
