import { createSpKey } from "../../src/federation/saml/sp-key.ts";

/** What an identity provider says of itself, for tests (SAML Metadata §2.4.3). */
export async function aMetadata({
  entityId = "https://idp.example/metadata",
  signOn = "https://idp.example/sso",
  certificate,
  validUntil,
}: {
  entityId?: string;
  signOn?: string;
  /** PEM; a new one unless given. */
  certificate?: string;
  validUntil?: Date;
} = {}): Promise<string> {
  const pem = certificate ?? (await createSpKey(entityId)).certificate;
  const base64 = pem.replaceAll(/-----[^-]+-----|\s/g, "");
  const until = validUntil === undefined ? "" : ` validUntil="${validUntil.toISOString()}"`;
  return `<?xml version="1.0"?>
<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="${entityId}"${until}>
  <IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
    <KeyDescriptor use="signing">
      <KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>${base64}</X509Certificate></X509Data></KeyInfo>
    </KeyDescriptor>
    <SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="${signOn}"/>
  </IDPSSODescriptor>
</EntityDescriptor>`;
}
