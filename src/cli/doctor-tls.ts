import type { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { Config } from "../config.ts";
import { certificatesIn } from "../lib/tls.ts";
import type { Check } from "./doctor.ts";

const name = "tls";
const DAY = 86_400_000;
/** Days before its end at which a certificate should have been renewed. */
const RENEWED_BEFORE = 14;

/** Looks at the certificate with which Lintel ends TLS itself: whom it is for, and how long it lasts. */
export function checkTls({ tls, issuers }: Pick<Config, "tls" | "issuers">, now: Date): Check[] {
  if (tls === undefined) return [];
  const [certificate] = certificatesIn(readFileSync(tls.certificate, "utf8"), tls.certificate);
  if (certificate === undefined) return [];
  const hosts = new Set(issuers.map(({ url }) => new URL(url).hostname));
  const missing = [...hosts].filter((host) => !isFor(certificate, host.replaceAll(/[[\]]/g, "")));
  if (missing.length > 0)
    return [
      {
        name,
        status: "fail",
        message: `the certificate is not for ${missing.join(", ")}`,
        fix: "TLS_CERT_FILE must name the host of every issuer as a subject alternative name.",
      },
    ];
  const days = Math.floor((certificate.validToDate.getTime() - now.getTime()) / DAY);
  if (days >= RENEWED_BEFORE)
    return [{ name, status: "ok", message: `the certificate is good for ${days} days` }];
  return [
    {
      name,
      status: days < 0 ? "fail" : "warn",
      message: days < 0 ? "the certificate has expired" : `the certificate ends in ${days} days`,
      fix: "Renew the files of TLS_CERT_FILE and TLS_KEY_FILE; running servers take them up by themselves.",
    },
  ];
}

function isFor(certificate: X509Certificate, host: string): boolean {
  return (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
}
