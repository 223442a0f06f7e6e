import { constants, createHash, sign, verify, type KeyLike } from "node:crypto";
import { SignedXml, type HashAlgorithm, type SignatureAlgorithm } from "xml-crypto";
import { DS, EXCLUSIVE_C14N } from "./names.ts";

const MORE = "http://www.w3.org/2001/04/xmldsig-more#";
const MORE_2007 = "http://www.w3.org/2007/05/xmldsig-more#";
const XENC = "http://www.w3.org/2001/04/xmlenc#";

type Scheme = "rsa" | "pss" | "ecdsa";
interface Signing {
  readonly scheme: Scheme;
  readonly hash: string;
}

/** How messages may be signed (T-105): RSA, RSA-PSS and ECDSA with SHA-2 (RFC 9231 §2.3). No HMAC, no DSA. */
const SIGNATURES: Readonly<Record<string, Signing>> = Object.fromEntries(
  ["sha256", "sha384", "sha512"].flatMap((hash) => [
    [`${MORE}rsa-${hash}`, { scheme: "rsa", hash }],
    [`${MORE_2007}${hash}-rsa-MGF1`, { scheme: "pss", hash }],
    [`${MORE}ecdsa-${hash}`, { scheme: "ecdsa", hash }],
  ]),
);
const LEGACY_SIGNATURES: Readonly<Record<string, Signing>> = {
  [`${DS}rsa-sha1`]: { scheme: "rsa", hash: "sha1" },
};

const DIGESTS: Readonly<Record<string, string>> = {
  [`${XENC}sha256`]: "sha256",
  [`${MORE}sha384`]: "sha384",
  [`${XENC}sha512`]: "sha512",
};
const LEGACY_DIGESTS: Readonly<Record<string, string>> = { [`${DS}sha1`]: "sha1" };

/** Whether a signature may be made like this; SHA-1 only where the operator switched it on for one connection. */
export function isAllowedSignature(uri: string, allowsLegacy: boolean): boolean {
  return Object.hasOwn(SIGNATURES, uri) || (allowsLegacy && Object.hasOwn(LEGACY_SIGNATURES, uri));
}

export function isAllowedDigest(uri: string, allowsLegacy: boolean): boolean {
  return Object.hasOwn(DIGESTS, uri) || (allowsLegacy && Object.hasOwn(LEGACY_DIGESTS, uri));
}

/** Exclusive canonicalization only (SAML Core §5.4.3); where there are no comments, with and without are the same. */
export function isAllowedCanonicalization(uri: string): boolean {
  return [EXCLUSIVE_C14N, `${EXCLUSIVE_C14N}WithComments`].includes(uri);
}

/**
 * Verifies the signature of a query (SAML Bindings §3.4.4.1) or of a SignedInfo.
 *
 * @returns `false` also for a key that is not of the algorithm's kind.
 */
export function verifyWith(uri: string, data: string, key: KeyLike, signature: Buffer): boolean {
  const { scheme, hash } = signingOf(uri);
  try {
    return verify(hash, Buffer.from(data), { key, ...PARAMETERS[scheme] } as never, signature);
  } catch {
    return false;
  }
}

/** Signs one of our own messages. */
export function signWith(uri: string, data: string, key: KeyLike): Buffer {
  const { scheme, hash } = signingOf(uri);
  return sign(hash, Buffer.from(data), { key, ...PARAMETERS[scheme] } as never);
}

const PARAMETERS: Readonly<Record<Scheme, object>> = {
  rsa: { padding: constants.RSA_PKCS1_PADDING },
  pss: {
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
  },
  ecdsa: { dsaEncoding: "ieee-p1363" },
};

function signingOf(uri: string): Signing {
  const found = { ...SIGNATURES, ...LEGACY_SIGNATURES }[uri];
  if (found === undefined) throw new Error(`no signature algorithm: ${uri}`);
  return found;
}

/**
 * Gives xml-crypto the algorithms of this file instead of its own, which lack ECDSA and SHA-384. It has a way to add
 * some to one verifier, but the verifiers are made inside of node-saml.
 */
export function extendXmlCrypto(): void {
  SignedXml.prototype["findSignatureAlgorithm"] = (uri?: string): SignatureAlgorithm => {
    const name = uri ?? "";
    signingOf(name);
    return {
      getAlgorithmName: () => name,
      getSignature: (data: unknown, key: KeyLike) =>
        signWith(name, String(data), key).toString("base64"),
      verifySignature: (data: string, key: KeyLike, signature: string) =>
        verifyWith(name, data, key, Buffer.from(signature, "base64")),
    };
  };
  SignedXml.prototype["findHashAlgorithm"] = (uri: string): HashAlgorithm => {
    const hash = { ...DIGESTS, ...LEGACY_DIGESTS }[uri];
    if (hash === undefined) throw new Error(`no digest algorithm: ${uri}`);
    return {
      getAlgorithmName: () => uri,
      getHash: (data) => createHash(hash).update(data, "utf8").digest("base64"),
    };
  };
}
