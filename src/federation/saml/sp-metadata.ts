import { BINDINGS, DS, MD, SAMLP, XENC, XENC11 } from "./names.ts";
import { newest } from "./sp-key.ts";
import { xml, type Markup } from "./xml.ts";

/** What a provider is told of us. */
export interface SpDescription {
  readonly entityId: string;
  readonly acs: string;
  readonly slo: string;
  /** PEM of those that we may sign with (SAML Metadata §2.4.1.1): several while we change from one to the next. */
  readonly certificates: readonly string[];
  readonly nameIdFormat: string | undefined;
  readonly signsRequests: boolean;
  readonly wantsAssertionsSigned: boolean;
  /** Whether a key to encrypt for is published. Several providers encrypt as soon as there is one, and with AES-CBC. */
  readonly wantsEncrypted: boolean;
}

/** Ways to encrypt for us, the best first. */
const ENCRYPTION = [
  `${XENC11}aes256-gcm`,
  `${XENC11}aes128-gcm`,
  `${XENC11}rsa-oaep`,
  `${XENC}rsa-oaep-mgf1p`,
];

/** Our metadata for one connection (SAML Metadata §2.4.4). */
export function describeSp(about: SpDescription): string {
  const { entityId, acs, slo, nameIdFormat, signsRequests, wantsAssertionsSigned } = about;
  const signing = about.certificates.map(
    (pem) => xml`<KeyDescriptor use="signing">${keyInfo(pem)}</KeyDescriptor>`,
  );
  const methods = ENCRYPTION.map((method) => xml`<EncryptionMethod Algorithm="${method}"/>`);
  const encryption = about.wantsEncrypted
    ? xml`<KeyDescriptor use="encryption">${keyInfo(newest(about.certificates))}${methods}</KeyDescriptor>`
    : undefined;
  const logouts = [BINDINGS.redirect, BINDINGS.post].map(
    (binding) => xml`<SingleLogoutService Binding="${binding}" Location="${slo}"/>`,
  );
  const format =
    nameIdFormat === undefined ? undefined : xml`<NameIDFormat>${nameIdFormat}</NameIDFormat>`;
  return xml`<?xml version="1.0" encoding="UTF-8"?>
<EntityDescriptor xmlns="${MD}" xmlns:ds="${DS}" entityID="${entityId}"><SPSSODescriptor protocolSupportEnumeration="${SAMLP}" AuthnRequestsSigned="${signsRequests}" WantAssertionsSigned="${wantsAssertionsSigned}">${signing}${encryption}${logouts}${format}<AssertionConsumerService Binding="${BINDINGS.post}" Location="${acs}" index="0" isDefault="true"/></SPSSODescriptor></EntityDescriptor>
`.text;
}

function keyInfo(pem: string): Markup {
  const certificate = pem.replaceAll(/-----[^-]+-----|\s/g, "");
  return xml`<ds:KeyInfo><ds:X509Data><ds:X509Certificate>${certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`;
}
