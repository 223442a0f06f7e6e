import { X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import ipaddr from "ipaddr.js";

/** From which proxies, and how, client certificates come that ended TLS before us. */
export interface CertificateHeaders {
  /** The header with the certificate; undefined where no proxy passes any on. */
  readonly header: string | undefined;
  /** The header with the proxy's verdict on its chain. */
  readonly verifiedHeader: string | undefined;
  /** Networks of the proxies that are believed. */
  readonly proxies: readonly string[];
}

/** What a client showed in its TLS handshake, and so can sign with. */
export interface ClientCertificate {
  readonly certificate: X509Certificate;
  /** Whether it is from an authority that the operator trusts for this, and neither too old nor too new. */
  readonly isVerified: boolean;
}

/**
 * The certificate of whoever sent a request: from our own handshake, or from a header where a proxy that is believed
 * set it. From anybody else the header is what the sender wishes, and counts as nothing (RFC 9440 §2.4).
 */
export function clientCertificate(
  request: Pick<IncomingMessage, "socket" | "headers">,
  { header, verifiedHeader, proxies }: CertificateHeaders,
): ClientCertificate | undefined {
  const { socket, headers } = request;
  const shown = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  if (shown !== undefined)
    return {
      certificate: shown,
      isVerified: socket instanceof TLSSocket && socket.authorized && isInForce(shown),
    };
  if (header === undefined || !isOneOf(proxies, socket.remoteAddress)) return undefined;
  const certificate = readCertificate(String(headers[header] ?? ""));
  if (certificate === undefined) return undefined;
  const verdict = verifiedHeader === undefined ? "" : String(headers[verifiedHeader] ?? "");
  return { certificate, isVerified: /^(SUCCESS|0)$/.test(verdict) && isInForce(certificate) };
}

/** Whether text is an address or a network, as `proxies` has them. */
export function isNetwork(text: string): boolean {
  return ipaddr.isValidCIDR(text) || ipaddr.isValid(text);
}

function isOneOf(networks: readonly string[], address: string | undefined): boolean {
  if (address === undefined) return false;
  const peer = ipaddr.process(address);
  return networks.some((network) => {
    const [base, bits] = network.includes("/")
      ? ipaddr.parseCIDR(network)
      : ([ipaddr.parse(network), undefined] as const);
    return (
      base.kind() === peer.kind() && peer.match(base, bits ?? (base.kind() === "ipv4" ? 32 : 128))
    );
  });
}

function isInForce({ validFromDate, validToDate }: X509Certificate): boolean {
  const now = Date.now();
  return validFromDate.getTime() <= now && now < validToDate.getTime();
}

/** Reads what proxies write; of two certificates it is not known whose they are, so they are none. */
function readCertificate(value: string): X509Certificate | undefined {
  // RFC 9440 §2.2: a byte sequence of structured fields.
  const [, bytes] = /^:([A-Za-z0-9+/]+=*):$/.exec(value) ?? [];
  try {
    if (bytes !== undefined) return new X509Certificate(Buffer.from(bytes, "base64"));
    const pem = decodeURIComponent(value.startsWith("-----") ? value : forwarded(value));
    const isOne = /^-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\s*$/.test(pem);
    return isOne ? new X509Certificate(pem) : undefined;
  } catch {
    return undefined;
  }
}

/** One `name=value` of Envoy's X-Forwarded-Client-Cert, and what follows it. */
const PAIR = /([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^";,]*)([;,]|$)/y;

/** The certificate of Envoy's X-Forwarded-Client-Cert; nothing where several proxies wrote into it. */
function forwarded(value: string): string {
  const found: string[] = [];
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < value.length) {
    const match = PAIR.exec(value);
    if (match === null || match[3] === ",") return "";
    if (match[1]?.toLowerCase() === "cert") found.push((match[2] ?? "").replaceAll('"', ""));
  }
  const [certificate = "", ...others] = found;
  return others.length === 0 ? certificate : "";
}
