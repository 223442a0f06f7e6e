import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { UpstreamError } from "../../../src/federation/connector.ts";
import { parseMetadata } from "../../../src/federation/saml/metadata.ts";
import { samlSettings } from "../../../src/federation/saml/settings.ts";
import { createSpKey } from "../../../src/federation/saml/sp-key.ts";
import { aCertificate } from "../../support/certificates.ts";

const [one, other] = [aCertificate(), aCertificate()].map(({ certificate, der }) => ({
  pem: certificate.toString(),
  base64: der.toString("base64"),
})) as [{ pem: string; base64: string }, { pem: string; base64: string }];

const MD =
  'xmlns="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"';
const REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
const POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

const key = (base64: string, use = ' use="signing"') =>
  `<KeyDescriptor${use}><ds:KeyInfo><ds:X509Data><ds:X509Certificate>
    ${base64.replaceAll(/(.{64})/g, "$1\n")}
  </ds:X509Certificate></ds:X509Data></ds:KeyInfo></KeyDescriptor>`;

function entity({
  id = "https://idp.example/",
  attributes = "",
  role = "",
  keys = key(one.base64),
  services = `<SingleSignOnService Binding="${POST}" Location="https://idp.example/post"/>
    <SingleSignOnService Binding="${REDIRECT}" Location="https://idp.example/sso"/>`,
  namespaces = MD,
} = {}): string {
  return `<EntityDescriptor ${namespaces} entityID="${id}" ${attributes}>
    <IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol" ${role}>
      ${keys}${services}
    </IDPSSODescriptor></EntityDescriptor>`;
}

const refuses = (xml: string, text: RegExp, entityId?: string) =>
  assert.throws(
    () => parseMetadata(xml, entityId),
    (error) => {
      assert.ok(error instanceof UpstreamError);
      assert.deepEqual([error.reason, error.rule], ["misconfigured", "saml.metadata"]);
      assert.match(`${error.message} ${error.hint}`, text);
      return true;
    },
  );

describe("SAML metadata of identity providers", () => {
  it("reads entity ID, endpoints, certificates, formats and wishes (SAML Metadata §2.4.3)", () => {
    const found = parseMetadata(
      `<?xml version="1.0" encoding="UTF-8"?>\n<!-- by hand -->${entity({
        role: 'WantAuthnRequestsSigned="true"',
        keys:
          key(one.base64) +
          key(other.base64, "") +
          key(aCertificate().der.toString("base64"), ' use="encryption"'),
        services: `<SingleLogoutService Binding="${REDIRECT}" Location="https://idp.example/slo" ResponseLocation="https://idp.example/slo/done"/>
          <NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:persistent</NameIDFormat>
          <SingleSignOnService Binding="${POST}" Location="https://idp.example/post"/>
          <SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:SOAP" Location="https://idp.example/soap"/>
          <SingleSignOnService Binding="${REDIRECT}" Location="https://idp.example/sso?a=1&amp;b=2"/>`,
      })}`,
    );
    assert.deepEqual(found, {
      entityId: "https://idp.example/",
      signOn: [
        {
          binding: "redirect",
          location: "https://idp.example/sso?a=1&b=2",
          responseLocation: "https://idp.example/sso?a=1&b=2",
        },
        {
          binding: "post",
          location: "https://idp.example/post",
          responseLocation: "https://idp.example/post",
        },
      ],
      logout: [
        {
          binding: "redirect",
          location: "https://idp.example/slo",
          responseLocation: "https://idp.example/slo/done",
        },
      ],
      certificates: [one.pem, other.pem],
      wantsSignedRequests: true,
      nameIdFormats: ["urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"],
      validUntil: undefined,
      cacheDuration: undefined,
    });
  });

  it("takes the chosen one out of an EntitiesDescriptor, with the earliest end of all around it (§2.3.1)", () => {
    const bare = { namespaces: "" };
    const all = `<EntitiesDescriptor ${MD} validUntil="2030-01-01T00:00:00Z" cacheDuration="P1DT1H">
      ${entity({ ...bare, id: "urn:one" })}
      <EntitiesDescriptor cacheDuration="PT2H">${entity({ ...bare, id: "urn:two", attributes: 'validUntil="2031-01-01T00:00:00.5Z"' })}</EntitiesDescriptor>
    </EntitiesDescriptor>`;
    const { entityId, validUntil, cacheDuration } = parseMetadata(all, "urn:two");
    assert.deepEqual(
      [entityId, validUntil?.toISOString(), cacheDuration],
      ["urn:two", "2030-01-01T00:00:00.000Z", 7200],
    );
    refuses(all, /2 identity providers, such as urn:one, urn:two\. .*entity ID/);
    refuses(all, /does not have exactly one urn:three/, "urn:three");
  });

  for (const [what, xml, text] of [
    ["nothing", "", /well-formed|exactly one/],
    ["HTML", "<!DOCTYPE html><html></html>", /document type/],
    ["an entity bomb", `<!DOCTYPE a [<!ENTITY b "c">]>${entity()}`, /document type/],
    [
      "two with one entity ID",
      `<EntitiesDescriptor ${MD}>${entity({ namespaces: "" })}${entity({ namespaces: "" })}</EntitiesDescriptor>`,
      /2 identity providers/,
    ],
    [
      "a service provider",
      `<EntityDescriptor ${MD} entityID="a"><SPSSODescriptor/></EntityDescriptor>`,
      /our own/,
    ],
    [
      "SAML 1.1",
      entity().replace("SAML:2.0:protocol", "SAML:1.1:protocol"),
      /no identity provider/,
    ],
    ["no certificate", entity({ keys: "" }), /no signing certificate/],
    ["a certificate that is none", entity({ keys: key("AAAA") }), /cannot be read/],
    ["no way to sign in", entity({ services: "" }), /no SingleSignOnService/],
    [
      "an address that is a script",
      entity({
        services: `<SingleSignOnService Binding="${POST}" Location="javascript:alert(1)"/>`,
      }),
      /not https/,
    ],
    ["an end that is no time", entity({ attributes: 'validUntil="soon"' }), /no instant/],
  ] as const)
    it(`refuses ${what}`, () => refuses(xml, text));
});

describe("our key for a SAML connection", () => {
  it("has a certificate for ten years that fits its key (RFC 5280 §4.1)", async () => {
    const { certificate: pem, privateKey } = await createSpKey(
      "https://id.example/federation/acme/metadata",
    );
    const certificate = new X509Certificate(pem);
    assert.ok(certificate.checkPrivateKey(createPrivateKey(privateKey)));
    assert.ok(certificate.verify(certificate.publicKey));
    assert.equal(certificate.subject, "CN=id.example");
    const years = (Date.parse(certificate.validTo) - Date.now()) / 31_557_600_000;
    assert.ok(years > 9.98 && years < 10.01, certificate.validTo);
    assert.equal(certificate.publicKey.asymmetricKeyDetails?.modulusLength, 3072);
  });
});

describe("settings of a SAML connection", () => {
  it("have safe defaults", () => {
    assert.deepEqual(samlSettings.parse({}), {
      subject_formats: ["persistent"],
      want_assertions_signed: true,
      sign_out: false,
      force_authn: false,
      authn_context: [],
      authn_context_comparison: "exact",
      groups_claim: "groups",
      roles_claim: "roles",
    });
  });

  for (const wrong of [
    { subject_formats: ["transient"] },
    { subject_formats: [] },
    { want_assertion_signed: true },
    { metadata_certificate: "abc" },
  ])
    it(`refuse ${JSON.stringify(wrong)}`, () =>
      assert.equal(samlSettings.safeParse(wrong).success, false));
});
