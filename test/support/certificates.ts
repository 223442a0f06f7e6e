import {
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from "node:crypto";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { bits, der, oid, sequence, time } from "../../src/lib/der.ts";

/** What a certificate of a test says, where it is not what most say. */
export interface CertificateOptions {
  /** Pairs of an object identifier and a text, outermost first; several in one list make one step. */
  readonly subject?: readonly (readonly [type: string, value: string][])[];
  readonly san?: readonly (readonly [kind: "dns" | "uri" | "ip" | "email", value: string])[];
  /** Days from now. */
  readonly from?: number;
  readonly until?: number;
  readonly isAuthority?: boolean;
}

/** A certificate and its key, as files and as headers have them. */
export interface Identity {
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
  readonly cert: string;
  readonly key: string;
  readonly der: Buffer;
  readonly subject: Buffer;
}

export const CN = "2.5.4.3";
export const O = "2.5.4.10";
export const OU = "2.5.4.11";
export const C = "2.5.4.6";

const DAY = 86_400_000;

/** Makes a certificate (RFC 5280 §4.1), signed by `issuer` or by itself. */
export function aCertificate(options: CertificateOptions = {}, issuer?: Identity): Identity {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const subject = nameOf(options.subject ?? [[[CN, "a client"]]]);
  const day = (days: number) => time(new Date(Date.now() + days * DAY));
  const algorithm = sequence(oid("1.2.840.10045.4.3.2"));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    issuer?.subject ?? subject,
    sequence(day(options.from ?? -1), day(options.until ?? 30)),
    subject,
    publicKey.export({ format: "der", type: "spki" }),
    der(0xa3, sequence(...extensions(options))),
  );
  const signature = sign("sha256", body, issuer?.privateKey ?? privateKey);
  const raw = sequence(body, algorithm, bits(signature));
  const certificate = new X509Certificate(raw);
  return {
    certificate,
    privateKey,
    cert: certificate.toString(),
    key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    der: raw,
    subject,
  };
}

/** The key of a certificate as a client registers it (RFC 8705 §2.2.2). */
export function asJwks({ certificate, der: raw }: Identity): { keys: Record<string, unknown>[] } {
  const jwk = certificate.publicKey.export({ format: "jwk" });
  return { keys: [{ ...jwk, kid: certificate.serialNumber, x5c: [raw.toString("base64")] }] };
}

function extensions({ san, isAuthority }: CertificateOptions): Buffer[] {
  const extension = (id: string, value: Buffer, isCritical = false) =>
    sequence(oid(id), ...(isCritical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value));
  const basic = isAuthority === true ? sequence(der(0x01, Buffer.from([0xff]))) : sequence();
  const names = (san ?? []).map(([kind, value]) => alternative(kind, value));
  return [
    extension("2.5.29.19", basic, true),
    ...(names.length === 0 ? [] : [extension("2.5.29.17", sequence(...names))]),
  ];
}

function alternative(kind: "dns" | "uri" | "ip" | "email", value: string): Buffer {
  if (kind === "ip" && isIP(value) !== 0)
    return der(0x87, Buffer.from(ipaddr.parse(value).toByteArray()));
  return der({ email: 0x81, dns: 0x82, uri: 0x86, ip: 0x87 }[kind], Buffer.from(value));
}

function nameOf(steps: NonNullable<CertificateOptions["subject"]>): Buffer {
  return sequence(
    ...steps.map((step) =>
      der(0x31, ...step.map(([type, value]) => sequence(oid(type), der(0x0c, Buffer.from(value))))),
    ),
  );
}
