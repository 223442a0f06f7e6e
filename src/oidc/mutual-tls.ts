import type { X509Certificate } from "node:crypto";
import ipaddr from "ipaddr.js";
import type { Configuration, KoaContextWithOIDC } from "oidc-provider";
import {
  clientCertificate,
  type CertificateHeaders,
  type ClientCertificate,
} from "../http/client-certificate.ts";
import type { Issuer } from "../issuers.ts";
import { parseDistinguishedName, sameName, subjectOf } from "../lib/distinguished-name.ts";
import type { Afterwards } from "./afterwards.ts";

type Feature = NonNullable<NonNullable<Configuration["features"]>["mTLS"]>;

/** Nobody's header is believed. */
const NONE: CertificateHeaders = { header: undefined, verifiedHeader: undefined, proxies: [] };

/** The endpoints where a client may need its certificate (RFC 8705 §5). */
const ALIASED = [
  "token_endpoint",
  "revocation_endpoint",
  "introspection_endpoint",
  "userinfo_endpoint",
  "pushed_authorization_request_endpoint",
  "device_authorization_endpoint",
  "backchannel_authentication_endpoint",
] as const;

/**
 * Mutual TLS for the engine (RFC 8705). It is on even where no certificate can reach us: a client or a token that
 * was bound to one when that was possible is refused then, and not served without.
 */
export function mutualTls(issuer: Issuer, headers: CertificateHeaders = NONE): Feature {
  const shownBy = certificateShown(issuer, headers);
  return {
    enabled: true,
    certificateBoundAccessTokens: true,
    selfSignedTlsClientAuth: issuer.preset.authMethods.includes("self_signed_tls_client_auth"),
    tlsClientAuth: issuer.preset.authMethods.includes("tls_client_auth"),
    getCertificate: (ctx) => shownBy(ctx)?.certificate,
    certificateAuthorized: (ctx) => shownBy(ctx)?.isVerified === true,
    certificateSubjectMatches(ctx, property, expected) {
      const shown = shownBy(ctx);
      return shown !== undefined && SUBJECTS[property](shown.certificate, expected);
    },
  };
}

/**
 * What clients show at an issuer. Where certificates have an address of their own, only there does a proxy vouch for
 * the header: at any other it may pass on what a client sent.
 */
export function certificateShown(
  issuer: Issuer,
  headers: CertificateHeaders = NONE,
): (ctx: KoaContextWithOIDC) => ClientCertificate | undefined {
  const origin = issuer.certificates?.origin;
  const elsewhere = origin === undefined ? undefined : new URL(origin).host;
  return ({ req, host }) =>
    clientCertificate(req, elsewhere === undefined || host === elsewhere ? headers : NONE);
}

/** Says in the metadata whether certificates reach this issuer, and where (RFC 8705 §3.3, §5). */
export function describeMutualTls(answered: Afterwards, { url, certificates }: Issuer): void {
  answered.at(["discovery"], (ctx) => {
    if (typeof ctx.body !== "object" || ctx.body === null) return;
    const metadata = ctx.body as Record<string, unknown>;
    if (certificates === undefined) delete metadata["tls_client_certificate_bound_access_tokens"];
    const origin = certificates?.origin;
    if (origin === undefined) return;
    const own = new URL(url).origin;
    metadata["mtls_endpoint_aliases"] = Object.fromEntries(
      ALIASED.flatMap((name) => {
        const address = metadata[name];
        return typeof address === "string" ? [[name, origin + address.slice(own.length)]] : [];
      }),
    );
  });
}

/** How what a client registered is compared with its certificate (RFC 8705 §2.1.2). */
const SUBJECTS: Readonly<
  Record<
    | "tls_client_auth_subject_dn"
    | "tls_client_auth_san_dns"
    | "tls_client_auth_san_uri"
    | "tls_client_auth_san_ip"
    | "tls_client_auth_san_email",
    (certificate: X509Certificate, expected: string) => boolean
  >
> = {
  tls_client_auth_subject_dn(certificate, expected) {
    const [actual, wanted] = [subjectOf(certificate), parseDistinguishedName(expected)];
    return actual !== undefined && wanted !== undefined && sameName(actual, wanted);
  },
  tls_client_auth_san_dns: (certificate, expected) =>
    alternatives(certificate, "DNS").some((name) => name.toLowerCase() === expected.toLowerCase()),
  tls_client_auth_san_uri: (certificate, expected) =>
    alternatives(certificate, "URI").includes(expected),
  tls_client_auth_san_ip: (certificate, expected) =>
    alternatives(certificate, "IP Address").some(
      (address) =>
        ipaddr.isValid(address) &&
        ipaddr.parse(address).toNormalizedString() === ipaddr.parse(expected).toNormalizedString(),
    ),
  tls_client_auth_san_email: (certificate, expected) =>
    alternatives(certificate, "email").some((address) => mailbox(address) === mailbox(expected)),
};

/** One entry of what Node shows as `subjectAltName`; it quotes every value that could be taken for several. */
const ENTRY = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/gy;

function alternatives({ subjectAltName }: X509Certificate, kind: string): string[] {
  const entries = [...(subjectAltName ?? "").matchAll(ENTRY)];
  return entries.flatMap(([, name, value = ""]) => {
    if (name !== kind) return [];
    return [value.startsWith('"') ? String(JSON.parse(value)) : value];
  });
}

/** A mailbox as RFC 5280 §7.5 compares it: only the host is indifferent to case. */
function mailbox(address: string): string {
  const at = address.lastIndexOf("@");
  return address.slice(0, at) + address.slice(at).toLowerCase();
}
