import { generateKeyPair, randomBytes, sign, X509Certificate } from "node:crypto";
import { promisify } from "node:util";
import type { Seal } from "../../keys/seal.ts";
import type { SamlConnection } from "../../models/saml-connection.ts";
import { bits, der, oid, sequence, time } from "../../lib/der.ts";

/** A key of ours for one connection, as PEM. */
export interface SpKey {
  readonly certificate: string;
  readonly privateKey: string;
}

const YEARS = 10;
/** What a common name may have (RFC 5280 appendix A.1, ub-common-name). */
const MAX_NAME = 64;

const DAY = 86_400_000;
const RSA_WITH_SHA256 = "1.2.840.113549.1.1.11";
const COMMON_NAME = "2.5.4.3";
const KEY_USAGE = "2.5.29.15";

/**
 * Makes a key for one connection and a certificate for it, signed by itself (RFC 5280 §4.1). Providers pin the
 * certificate from our metadata and look at nothing but its key; ten years, because some refuse one that has ended.
 * It is RSA, because assertions are encrypted for it (XML Encryption §5.5).
 *
 * @param entityId our entity ID, whose host the certificate names.
 */
export async function createSpKey(entityId: string, now = new Date()): Promise<SpKey> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)("rsa", {
    modulusLength: 3072,
  });
  const host = URL.parse(entityId)?.host ?? entityId;
  const name = sequence(
    der(0x31, sequence(oid(COMMON_NAME), der(0x0c, Buffer.from(host.slice(0, MAX_NAME))))),
  );
  const from = new Date(now.getTime() - DAY);
  const until = new Date(from);
  until.setUTCFullYear(from.getUTCFullYear() + YEARS);
  const algorithm = sequence(oid(RSA_WITH_SHA256), der(0x05));
  // digitalSignature and keyEncipherment.
  const usage = sequence(oid(KEY_USAGE), der(0x04, der(0x03, Buffer.from([5, 0b1010_0000]))));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1]), randomBytes(15)),
    algorithm,
    name,
    sequence(time(from), time(until)),
    name,
    publicKey.export({ format: "der", type: "spki" }),
    der(0xa3, sequence(usage)),
  );
  const signature = sign("sha256", body, privateKey);
  const certificate = new X509Certificate(sequence(body, algorithm, bits(signature)));
  return {
    certificate: certificate.toString(),
    privateKey: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
  };
}

/** Our keys for a connection: the first one is used, and others are published beside it. */
export function openSpKeys(
  seal: Seal,
  { providerId, spCertificate, spPrivateKeyEnc }: SamlConnection,
): SpKey[] {
  const keys = blocksIn(seal.decrypt(spPrivateKeyEnc, placeOf(providerId)).toString());
  return blocksIn(spCertificate).map((certificate, at) => ({
    certificate,
    privateKey: keys[at] ?? "",
  }));
}

/** The columns that keep them: several PEM blocks behind one another. */
export function sealSpKeys(
  seal: Seal,
  providerId: string,
  keys: readonly SpKey[],
): Pick<SamlConnection, "spCertificate" | "spPrivateKeyEnc"> {
  const privateKeys = keys.map(({ privateKey }) => privateKey).join("");
  return {
    spCertificate: keys.map(({ certificate }) => certificate).join(""),
    spPrivateKeyEnc: seal.encrypt(privateKeys, placeOf(providerId)),
  };
}

/** The certificates of a connection, in the order of its keys. */
export function spCertificates({ spCertificate }: Pick<SamlConnection, "spCertificate">): string[] {
  return blocksIn(spCertificate);
}

/** The certificate that others encrypt for: the newest, so that each older one can be forgotten. */
export function newest(certificates: readonly string[]): string {
  const made = (pem: string) => new X509Certificate(pem).validFromDate.getTime();
  return certificates.reduce((one, other) => (made(other) > made(one) ? other : one));
}

function placeOf(id: string) {
  return { table: "saml_connections", column: "sp_private_key_enc", id };
}

function blocksIn(pem: string): string[] {
  return pem.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n?/g) ?? [];
}
