import { isNetwork, type CertificateHeaders } from "./http/client-certificate.ts";
import type { CertificateReach } from "./issuers.ts";
import { readTls, type TlsFiles } from "./lib/tls.ts";

/** How client certificates reach this process: through a port of ours or a header of a proxy. */
export interface MutualTls extends CertificateHeaders {
  readonly port: number | undefined;
}

/** The settings of this file, as `config.ts` parsed them. */
interface Settings {
  readonly PORT: number;
  readonly TRUSTED_PROXIES: number;
  readonly TLS_CERT_FILE?: string | undefined;
  readonly TLS_KEY_FILE?: string | undefined;
  readonly TLS_CLIENT_CA_FILE?: string | undefined;
  readonly MTLS_PORT?: number | undefined;
  readonly MTLS_ORIGIN?: string | undefined;
  readonly MTLS_HEADER?: string | undefined;
  readonly MTLS_VERIFIED_HEADER?: string | undefined;
  readonly MTLS_PROXIES: readonly string[];
}

interface TlsSettings {
  readonly tls: TlsFiles | undefined;
  readonly mutualTls: MutualTls | undefined;
  /** How client certificates reach the issuer at an address. */
  readonly certificatesAt: (issuer: string) => CertificateReach | undefined;
}

/** What the settings say about TLS, for issuers at these addresses; what is wrong is added to `problems`. */
export function readTlsSettings(
  settings: Settings,
  issuers: readonly string[],
  problems: string[],
): TlsSettings {
  const { MTLS_PORT: port, MTLS_ORIGIN: origin, MTLS_HEADER: header } = settings;
  const tls = tlsFiles(settings);
  problems.push(
    ...certificateProblems(settings, tls, issuers),
    ...mutualProblems(settings, issuers),
    ...proxyProblems(settings),
  );
  const verified =
    (port !== undefined && settings.TLS_CLIENT_CA_FILE !== undefined) ||
    settings.MTLS_VERIFIED_HEADER !== undefined;
  const isReached = port !== undefined || header !== undefined;
  return {
    tls,
    mutualTls: isReached
      ? {
          port,
          header,
          verifiedHeader: settings.MTLS_VERIFIED_HEADER,
          proxies: settings.MTLS_PROXIES,
        }
      : undefined,
    certificatesAt: (issuer) =>
      isReached ? { verified, origin: origin ?? besides(issuer, port) } : undefined,
  };
}

function tlsFiles(settings: Settings): TlsFiles | undefined {
  const { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key } = settings;
  if (certificate === undefined || key === undefined) return undefined;
  return { certificate, key, clientAuthorities: settings.TLS_CLIENT_CA_FILE };
}

function* certificateProblems(
  settings: Settings,
  tls: TlsFiles | undefined,
  issuers: readonly string[],
): Generator<string> {
  if ((settings.TLS_CERT_FILE === undefined) !== (settings.TLS_KEY_FILE === undefined))
    yield "TLS_CERT_FILE and TLS_KEY_FILE belong together; set both, or neither where a proxy ends TLS";
  if (tls === undefined) return;
  if (issuers.some((issuer) => !issuer.startsWith("https:")))
    yield "ISSUER and MORE_ISSUERS must use https where TLS_CERT_FILE is set";
  try {
    readTls(tls);
  } catch (error) {
    yield `TLS_CERT_FILE, TLS_KEY_FILE or TLS_CLIENT_CA_FILE cannot be used: ${(error as Error).message}`;
  }
}

function* mutualProblems(settings: Settings, issuers: readonly string[]): Generator<string> {
  const { MTLS_PORT: port, MTLS_ORIGIN: origin } = settings;
  if (port !== undefined && settings.TLS_CERT_FILE === undefined)
    yield "MTLS_PORT needs TLS_CERT_FILE and TLS_KEY_FILE; behind a proxy that ends TLS set MTLS_HEADER instead";
  if (port !== undefined && port !== 0 && port === settings.PORT)
    yield "MTLS_PORT must not be PORT, because browsers would ask people for certificates";
  if (settings.TLS_CLIENT_CA_FILE !== undefined && port === undefined)
    yield "TLS_CLIENT_CA_FILE is for MTLS_PORT, so set that or remove it";
  if (origin === undefined) return;
  if (port === undefined && settings.MTLS_HEADER === undefined)
    yield "MTLS_ORIGIN needs MTLS_PORT or MTLS_HEADER";
  if (!origin.startsWith("https://") || URL.parse(origin)?.origin !== origin)
    yield "MTLS_ORIGIN must be like https://mtls.example.com, without a path or a slash at the end";
  const addresses = issuers.flatMap((issuer) => URL.parse(issuer) ?? []);
  if (addresses.some((address) => address.origin === origin))
    yield "MTLS_ORIGIN must be another origin than ISSUER's; leave it out where certificates are asked for there";
  if (new Set(addresses.map(({ pathname }) => pathname)).size < addresses.length)
    yield "MTLS_ORIGIN cannot stand for issuers that differ in their host only; leave it out";
}

function* proxyProblems(settings: Settings): Generator<string> {
  const { MTLS_HEADER: header, MTLS_PROXIES: proxies } = settings;
  if (header === undefined) {
    if (settings.MTLS_VERIFIED_HEADER !== undefined) yield "MTLS_VERIFIED_HEADER needs MTLS_HEADER";
    if (proxies.length > 0) yield "MTLS_PROXIES needs MTLS_HEADER";
    return;
  }
  if (settings.MTLS_PORT !== undefined)
    yield "MTLS_PORT is for TLS that Lintel ends and MTLS_HEADER for TLS that a proxy ends; keep one";
  if (settings.TRUSTED_PROXIES === 0)
    yield "MTLS_HEADER comes from a proxy, so TRUSTED_PROXIES must be at least 1";
  if (proxies.length === 0)
    yield "MTLS_PROXIES must name the networks of the proxies whose MTLS_HEADER is believed, such as 10.0.0.0/8";
  for (const network of proxies)
    if (!isNetwork(network))
      yield `MTLS_PROXIES has ${network}, which is no address and no network`;
}

/** The same host at another port. */
function besides(issuer: string, port: number | undefined): string | undefined {
  if (port === undefined) return undefined;
  const url = new URL(issuer);
  url.port = String(port);
  return url.origin;
}
