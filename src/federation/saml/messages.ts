import { deflateRawSync } from "node:zlib";
import { SignedXml } from "xml-crypto";
import type { Leaving } from "../connector.ts";
import { extendXmlCrypto, signWith } from "./algorithms.ts";
import type { Endpoint } from "./metadata.ts";
import {
  BINDINGS,
  ENVELOPED,
  EXCLUSIVE_C14N,
  RSA_SHA256,
  SAML,
  SAMLP,
  SHA256,
  SUCCESS,
} from "./names.ts";
import type { NameId } from "./read.ts";
import type { SpKey } from "./sp-key.ts";
import { writeInstant } from "./time.ts";
import { xml, type Markup } from "./xml.ts";

extendXmlCrypto();

/** What all messages of ours begin with. */
interface Head {
  readonly id: string;
  /** Our entity ID. */
  readonly issuer: string;
  readonly destination: string;
  readonly now: Date;
}

function head({ id, destination, now }: Head): Markup {
  return xml`xmlns:samlp="${SAMLP}" xmlns:saml="${SAML}" ID="${id}" Version="2.0" IssueInstant="${writeInstant(now)}" Destination="${destination}"`;
}

/** An AuthnRequest (SAML Core §3.4.1). */
export function authnRequest(
  about: Head & {
    readonly acs: string;
    readonly nameIdFormat: string | undefined;
    readonly isForced: boolean;
    readonly classRefs: readonly string[];
    readonly comparison: string;
  },
): string {
  const { acs, nameIdFormat, isForced, classRefs, comparison } = about;
  const force = isForced ? xml` ForceAuthn="true"` : undefined;
  const format = nameIdFormat === undefined ? undefined : xml` Format="${nameIdFormat}"`;
  const refs = classRefs.map(
    (ref) => xml`<saml:AuthnContextClassRef>${ref}</saml:AuthnContextClassRef>`,
  );
  const context =
    refs.length === 0
      ? undefined
      : xml`<samlp:RequestedAuthnContext Comparison="${comparison}">${refs}</samlp:RequestedAuthnContext>`;
  return xml`<samlp:AuthnRequest ${head(about)}${force} ProtocolBinding="${BINDINGS.post}" AssertionConsumerServiceURL="${acs}"><saml:Issuer>${about.issuer}</saml:Issuer><samlp:NameIDPolicy${format} AllowCreate="true"/>${context}</samlp:AuthnRequest>`
    .text;
}

/** A LogoutRequest (SAML Core §3.7.1). */
export function logoutRequest(
  about: Head & { readonly nameId: NameId; readonly index: string | undefined },
): string {
  const { value, format, nameQualifier, spNameQualifier } = about.nameId;
  const qualifiers = [
    ["Format", format],
    ["NameQualifier", nameQualifier],
    ["SPNameQualifier", spNameQualifier],
  ].map(([name, text]) => (text === undefined ? undefined : xml` ${name}="${text}"`));
  const index =
    about.index === undefined
      ? undefined
      : xml`<samlp:SessionIndex>${about.index}</samlp:SessionIndex>`;
  return xml`<samlp:LogoutRequest ${head(about)}><saml:Issuer>${about.issuer}</saml:Issuer><saml:NameID${qualifiers}>${value}</saml:NameID>${index}</samlp:LogoutRequest>`
    .text;
}

/** A LogoutResponse that says that it is done (SAML Core §3.7.2). */
export function logoutResponse(about: Head & { readonly inResponseTo: string }): string {
  return xml`<samlp:LogoutResponse ${head(about)} InResponseTo="${about.inResponseTo}"><saml:Issuer>${about.issuer}</saml:Issuer><samlp:Status><samlp:StatusCode Value="${SUCCESS}"/></samlp:Status></samlp:LogoutResponse>`
    .text;
}

/** A message on its way. */
export interface Outgoing {
  readonly kind: "SAMLRequest" | "SAMLResponse";
  readonly text: string;
  readonly relayState: string | undefined;
  /** Our key, where the message is signed. */
  readonly key: SpKey | undefined;
}

/** How the browser takes a message to an endpoint. */
export function sendTo(
  { binding }: Pick<Endpoint, "binding">,
  location: string,
  message: Outgoing,
): Leaving["to"] {
  return binding === "redirect" ? byRedirect(location, message) : byPost(location, message);
}

/** SAML Bindings §3.4.4.1: what is signed is the query, in this order. */
function byRedirect(location: string, { kind, text, relayState, key }: Outgoing): Leaving["to"] {
  const fields: [string, string][] = [
    [kind, deflateRawSync(text).toString("base64")],
    ...(relayState === undefined ? [] : [["RelayState", relayState] as [string, string]]),
    ...(key === undefined ? [] : [["SigAlg", RSA_SHA256] as [string, string]]),
  ];
  const write = ([name, value]: [string, string]) => `${name}=${encodeURIComponent(value)}`;
  const query = fields.map(write).join("&");
  const url = new URL(location);
  const signature =
    key && write(["Signature", signWith(RSA_SHA256, query, key.privateKey).toString("base64")]);
  url.search = [url.search.slice(1), query, signature].filter(Boolean).join("&");
  return { url: url.href };
}

/** SAML Bindings §3.5.4. */
function byPost(location: string, { kind, text, relayState, key }: Outgoing): Leaving["to"] {
  const signed = key === undefined ? text : signXml(text, key);
  return {
    url: location,
    fields: {
      [kind]: Buffer.from(signed).toString("base64"),
      ...(relayState === undefined ? {} : { RelayState: relayState }),
    },
  };
}

/** Signs a message of ours, with the signature right after its issuer as the schema has it (SAML Core §5.4). */
function signXml(text: string, { certificate, privateKey }: SpKey): string {
  const signed = new SignedXml({
    privateKey,
    publicCert: certificate,
    signatureAlgorithm: RSA_SHA256,
    canonicalizationAlgorithm: EXCLUSIVE_C14N,
  });
  signed.addReference({
    xpath: "/*",
    transforms: [ENVELOPED, EXCLUSIVE_C14N],
    digestAlgorithm: SHA256,
  });
  signed.computeSignature(text, {
    prefix: "ds",
    location: { reference: "/*/*[local-name()='Issuer']", action: "after" },
  });
  return signed.getSignedXml();
}
