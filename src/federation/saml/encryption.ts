import { constants, createDecipheriv, privateDecrypt, type CipherGCMTypes } from "node:crypto";
import type { UpstreamError } from "../connector.ts";
import { broken } from "./failure.ts";
import { DS, XENC, XENC11 } from "./names.ts";
import { attribute, elementAt, elementsIn, everyElement, textOf } from "./xml.ts";

/** How content may be encrypted (XML Encryption §5.2). CBC can be changed on its way, unless a signature is around it. */
const CONTENT: Readonly<Record<string, { cipher: string; isChangeable: boolean }>> =
  Object.fromEntries(
    ["128", "192", "256"].flatMap((size) => [
      [`${XENC11}aes${size}-gcm`, { cipher: `aes-${size}-gcm`, isChangeable: false }],
      [`${XENC}aes${size}-cbc`, { cipher: `aes-${size}-cbc`, isChangeable: true }],
    ]),
  );

const OAEP_SHA1 = `${XENC}rsa-oaep-mgf1p`;
const OAEP = `${XENC11}rsa-oaep`;
const RSA_1_5 = `${XENC}rsa-1_5`;

/** Hashes of OAEP, by the names of digests and of mask generation functions. */
const HASHES: Readonly<Record<string, string>> = {
  [`${DS}sha1`]: "sha1",
  [`${XENC}sha256`]: "sha256",
  "http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
  [`${XENC}sha512`]: "sha512",
  [`${XENC11}mgf1sha1`]: "sha1",
  [`${XENC11}mgf1sha256`]: "sha256",
  [`${XENC11}mgf1sha384`]: "sha384",
  [`${XENC11}mgf1sha512`]: "sha512",
};

/**
 * Decrypts an EncryptedAssertion or EncryptedID (SAML Core §2.3.4, §2.2.4, XML Encryption §4.2) with one of our keys.
 *
 * @param isSigned whether it was read from signed bytes, so that nobody can try what changed ones do to us.
 * @throws UpstreamError `saml.encryption` for what we do not take, `saml.decryption` for everything that goes wrong
 *   after, which says nothing of how, because who guesses must not learn (XML Encryption §6.2).
 */
export function decrypt(
  encrypted: Element,
  {
    privateKeys,
    allowsLegacy,
    isSigned,
  }: { privateKeys: readonly string[]; allowsLegacy: boolean; isSigned: boolean },
): string {
  const data = elementsIn(encrypted, XENC, "EncryptedData")[0];
  const keys = everyElement(encrypted).filter(({ localName }) => localName === "EncryptedKey");
  const [key] = keys;
  if (data === undefined || key === undefined || keys.length > 1)
    throw unfit(`It has ${keys.length} encrypted keys, not one.`);
  const { cipher, isChangeable } = CONTENT[methodOf(data)] ?? {
    cipher: undefined,
    isChangeable: false,
  };
  if (cipher === undefined || (isChangeable && !isSigned && !allowsLegacy))
    throw unfit(`The content is encrypted with ${methodOf(data)}.`);
  const padding = paddingOf(key, allowsLegacy);
  for (const privateKey of privateKeys) {
    try {
      const secret = privateDecrypt({ key: privateKey, ...padding }, cipherValue(key));
      return open(cipher, secret, cipherValue(data));
    } catch {
      // It may be for another key.
    }
  }
  throw broken(
    "saml.decryption",
    "What is encrypted cannot be decrypted with our key.",
    "Give the provider our metadata again: it may encrypt for another key.",
  );
}

function paddingOf(key: Element, allowsLegacy: boolean) {
  const method = methodOf(key);
  if (method === RSA_1_5 && allowsLegacy) return { padding: constants.RSA_PKCS1_PADDING };
  if (method !== OAEP && method !== OAEP_SHA1) throw unfit(`The key is encrypted with ${method}.`);
  const inside = elementsIn(key, XENC, "EncryptionMethod")[0];
  const hash =
    HASHES[attribute(elementAt(inside, [DS, "DigestMethod"]), "Algorithm") ?? `${DS}sha1`];
  const mask = HASHES[attribute(elementAt(inside, [XENC11, "MGF"]), "Algorithm") ?? `${DS}sha1`];
  // OpenSSL by way of Node has one hash for both.
  if (hash === undefined || hash !== mask)
    throw unfit("OAEP has another hash for its mask than for its label.");
  const label = textOf(elementAt(inside, [XENC, "OAEPparams"]));
  return {
    padding: constants.RSA_PKCS1_OAEP_PADDING,
    oaepHash: hash,
    ...(label ? { oaepLabel: Buffer.from(label, "base64") } : {}),
  };
}

function open(cipher: string, secret: Buffer, content: Buffer): string {
  const isGcm = cipher.endsWith("gcm");
  const [nonceBytes, tagBytes] = isGcm ? [12, 16] : [16, 0];
  const body = content.subarray(nonceBytes, content.length - tagBytes);
  const nonce = content.subarray(0, nonceBytes);
  const plain = isGcm
    ? openGcm(cipher as CipherGCMTypes, { secret, nonce, tag: content.subarray(-tagBytes) }, body)
    : openCbc(cipher, { secret, nonce }, body);
  return new TextDecoder("utf-8", { fatal: true }).decode(plain);
}

function openGcm(
  cipher: CipherGCMTypes,
  { secret, nonce, tag }: { secret: Buffer; nonce: Buffer; tag: Buffer },
  body: Buffer,
): Buffer {
  const decipher = createDecipheriv(cipher, secret, nonce, { authTagLength: 16 });
  decipher.setAuthTag(tag);
  return Buffer.concat([decipher.update(body), decipher.final()]);
}

/** The last byte says how many were added, and the others of those may be anything (XML Encryption §5.2.1). */
function openCbc(
  cipher: string,
  { secret, nonce }: { secret: Buffer; nonce: Buffer },
  body: Buffer,
): Buffer {
  const decipher = createDecipheriv(cipher, secret, nonce).setAutoPadding(false);
  const padded = Buffer.concat([decipher.update(body), decipher.final()]);
  const added = padded.at(-1) ?? 0;
  if (added < 1 || added > 16) throw new Error("padding");
  return padded.subarray(0, -added);
}

function methodOf(element: Element): string {
  return attribute(elementAt(element, [XENC, "EncryptionMethod"]), "Algorithm") ?? "nothing";
}

function cipherValue(element: Element): Buffer {
  const value = elementAt(element, [XENC, "CipherData"], [XENC, "CipherValue"]);
  return Buffer.from(textOf(value)?.replaceAll(/\s/g, "") ?? "", "base64");
}

function unfit(message: string): UpstreamError {
  return broken(
    "saml.encryption",
    message,
    "Let the provider encrypt with AES-GCM and RSA-OAEP, with one hash for digest and mask. AES-CBC is taken where it signs the whole response; allow_legacy_crypto takes it anywhere, and RSA 1.5.",
  );
}
