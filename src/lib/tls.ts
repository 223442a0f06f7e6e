import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import type { TlsOptions } from "node:tls";

/** Where the PEM files are with which connections are encrypted. */
export interface TlsFiles {
  /** The server's certificate, and behind it those that lead to its authority. */
  readonly certificate: string;
  readonly key: string;
  /** Authorities whose client certificates count as verified. */
  readonly clientAuthorities: string | undefined;
}

/** What BCP 195 (RFC 9325 §4.2) and FAPI 2.0 §5.2.1 leave: forward secrecy and authenticated encryption. */
const CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
].join(":");

/** Milliseconds between two looks at the files: whoever renews a certificate need not tell us. */
const WATCHED_EVERY = 2_000;

/** One certificate of a PEM file that may hold several. */
const PEM = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * Reads the files for a server, and for one that asks its clients for certificates. None is refused at this level:
 * who needs one, and whether it is the right one, is decided for each request.
 *
 * @throws Error that says which file is wrong and how.
 */
export function readTls(files: TlsFiles, asksForCertificates = false): TlsOptions {
  const cert = readFileSync(files.certificate, "utf8");
  const key = readFileSync(files.key, "utf8");
  const [own] = certificatesIn(cert, files.certificate);
  const privateKey = parsed(`${files.key} is not a private key in PEM without a password`, () =>
    createPrivateKey(key),
  );
  if (own?.checkPrivateKey(privateKey) !== true)
    throw new Error(`${files.key} is not the key of the first certificate in ${files.certificate}`);
  const { clientAuthorities } = files;
  const authorities =
    clientAuthorities === undefined ? [] : readFileSync(clientAuthorities, "utf8").match(PEM);
  if (clientAuthorities !== undefined)
    certificatesIn((authorities ?? []).join("\n"), clientAuthorities);
  return {
    cert,
    key,
    minVersion: "TLSv1.2",
    ciphers: CIPHERS,
    honorCipherOrder: true,
    requestCert: asksForCertificates,
    rejectUnauthorized: false,
    // Said even when there are none, because without it Node takes the authorities that browsers trust.
    ca: authorities ?? [],
  };
}

/** Every certificate of a PEM file. */
export function certificatesIn(pem: string, file: string): X509Certificate[] {
  const blocks = pem.match(PEM) ?? [];
  if (blocks.length === 0) throw new Error(`${file} has no certificate in PEM`);
  return blocks.map((block) =>
    parsed(`${file} has a certificate that cannot be read`, () => new X509Certificate(block)),
  );
}

/** Calls back when one of the files changed; returns how to stop. */
export function watchTls(files: TlsFiles, onChange: () => void): () => void {
  const { certificate, key, clientAuthorities } = files;
  const paths = [certificate, key, ...(clientAuthorities === undefined ? [] : [clientAuthorities])];
  for (const path of paths)
    watchFile(path, { interval: WATCHED_EVERY, persistent: false }, onChange);
  return () => paths.forEach((path) => unwatchFile(path, onChange));
}

function parsed<Value>(problem: string, read: () => Value): Value {
  try {
    return read();
  } catch (cause) {
    throw new Error(problem, { cause });
  }
}
