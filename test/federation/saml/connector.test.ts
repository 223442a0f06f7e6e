import assert from "node:assert/strict";
import { createPublicKey, randomBytes, verify, X509Certificate } from "node:crypto";
import { inflateRawSync } from "node:zlib";
import { DOMParser } from "@xmldom/xmldom";
import { UpstreamError, type Answer, type TraceStep } from "../../../src/federation/connector.ts";
import { signedBytes } from "../../../src/federation/saml/signatures.ts";
import { parseXml } from "../../../src/federation/saml/xml.ts";
import { openSeal, type Seal } from "../../../src/keys/seal.ts";
import { testDatabase, type TestDatabase } from "../../support/database.ts";
import {
  aConnector,
  assertion,
  at,
  attribute,
  confirmation,
  IDP,
  metadata,
  nameId,
  posted,
  REQUEST_ID,
  response,
  RSA_SHA256,
  sharedKey,
  signed,
  SITE,
  statement,
  type ConnectionOptions,
} from "../../support/saml.ts";

const EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
const POST_ONLY = {
  services:
    '<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://idp.example/post"/>',
};
/** RSA with 1024 bits. */
const WEAK_CERTIFICATE = Buffer.from(
  "MIIB/DCCAWWgAwIBAgIUIbDTdXBxuJ7HNTK9hD+DLHwV0TMwDQYJKoZIhvcNAQELBQAwDzENMAsGA1UEAwwEd2VhazAgFw0yNjExMjExNzU5MjlaGA8yMTI2MTAyODE3NTkyOVowDzENMAsGA1UEAwwEd2VhazCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEAuqKk1f2wHZcpDN2CsVowI2lDY7K40uToNveq6lstXVR/UdELQuislCoejxEKMEeRV1IAB8G30gaCiOi4qpaYoN9PMHD6MfGLEfYddduthVVKIS2dL04+d7ESa06HIiFljgC6/gt3IVUp8U8RLj0wVgTFO0GQEbKT54i2bIuQapUCAwEAAaNTMFEwHQYDVR0OBBYEFNiHmwakRzTLxXFpzirppwKAgtPbMB8GA1UdIwQYMBaAFNiHmwakRzTLxXFpzirppwKAgtPbMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEALI/TDQ+D79syofJINguLAZpfpy/c4hlke+H4WRek5d/+ITlIN3JLCfQCMQAp+msyKBp9uaSnT0rxxTbm+p8BeA796m69z6mPYucTjXDcnp/HMlZT/QRLAyTqJC+CqWe0zX0r9fh8c4LwTjymhYkhfJIsGupDkyxwxnuewHiZUt0=",
  "base64",
);
const quiet = () => undefined;

describe("a SAML connector", () => {
  let database: TestDatabase;
  let seal: Seal;

  before(async () => {
    database = await testDatabase();
    seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  });
  after(() => database.drop());

  const open = (options: ConnectionOptions = {}) =>
    aConnector({ knex: database.knex, seal }, options);
  const rejects = (promise: Promise<unknown>, reason: string, rule: string) =>
    assert.rejects(promise, (error) => {
      assert.ok(error instanceof UpstreamError, String(error));
      assert.deepEqual([error.reason, error.rule], [reason, rule], error.message);
      return true;
    });
  const answer = (
    xml: string,
    secrets: Answer["secrets"] = { request_id: REQUEST_ID },
  ): Answer => ({
    method: "POST",
    parameters: { SAMLResponse: posted(xml), RelayState: "fs_state" },
    secrets,
  });
  const good = (...parts: Parameters<typeof assertion>) =>
    signed(response(assertion(...parts)), "Assertion");

  describe("leaving", () => {
    const inflated = (url: string) => {
      const message = new URL(url).searchParams.get("SAMLRequest") ?? "";
      return inflateRawSync(Buffer.from(message, "base64")).toString();
    };
    const root = (xml: string) => new DOMParser().parseFromString(xml, "text/xml").documentElement;

    it("reads the metadata once, for as many as leave at once", async () => {
      const connector = await open();
      const leave = () => connector.leave({ state: "fs_x" }, quiet);
      assert.equal((await Promise.all(Array.from({ length: 150 }, leave))).length, 150);
    });

    it("sends an AuthnRequest by redirect, its query signed with our key (SAML Bindings §3.4.4.1)", async () => {
      const { to, secrets } = await (await open()).leave({ state: "fs_a+b/c" }, quiet);
      assert.equal(to.fields, undefined);
      const url = new URL(to.url);
      assert.equal(url.origin + url.pathname, "https://idp.example/sso");
      assert.deepEqual(
        [...url.searchParams.keys()],
        ["SAMLRequest", "RelayState", "SigAlg", "Signature"],
      );
      assert.equal(url.searchParams.get("RelayState"), "fs_a+b/c");
      assert.equal(url.searchParams.get("SigAlg"), RSA_SHA256);
      const [query = "", signature = ""] = url.search.slice(1).split("&Signature=");
      const key = createPublicKey((await sharedKey()).certificate);
      assert.ok(
        verify(
          "sha256",
          Buffer.from(query),
          key,
          Buffer.from(decodeURIComponent(signature), "base64"),
        ),
      );
      const request = root(inflated(to.url));
      assert.equal(request.localName, "AuthnRequest");
      assert.equal(request.getAttribute("ID"), secrets["request_id"]);
      assert.equal(request.getAttribute("Destination"), "https://idp.example/sso");
      assert.equal(request.getAttribute("AssertionConsumerServiceURL"), SITE.acs);
      assert.equal(
        request.getAttribute("ProtocolBinding"),
        "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
      );
      assert.equal(request.getAttribute("ForceAuthn"), "");
      assert.match(
        inflated(to.url),
        /<saml:Issuer>https:\/\/id\.example\/federation\/acme\/metadata<\/saml:Issuer><samlp:NameIDPolicy Format="urn:oasis:names:tc:SAML:2\.0:nameid-format:persistent" AllowCreate="true"\/>/,
      );
    });

    it("has another ID for every request", async () => {
      const connector = await open();
      const ids = [
        await connector.leave({ state: "a" }, quiet),
        await connector.leave({ state: "a" }, quiet),
      ].map(({ secrets }) => secrets["request_id"]);
      assert.notEqual(ids[0], ids[1]);
    });

    it("keeps the query that the provider's address has", async () => {
      const xml = metadata([(await sharedKey()).certificate], {
        services:
          '<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example/sso?idpid=C01&amp;x=%20y"/>',
      });
      const { to } = await (await open({ xml })).leave({ state: "fs_a" }, quiet);
      assert.match(to.url, /^https:\/\/idp\.example\/sso\?idpid=C01&x=%20y&SAMLRequest=/);
    });

    it("sends it by a form, signed as XML, where the provider takes no redirect (SAML Bindings §3.5)", async () => {
      const { certificate } = await sharedKey();
      const connector = await open({ xml: metadata([certificate], POST_ONLY) });
      const { to } = await connector.leave({ state: "fs_a" }, quiet);
      assert.equal(to.url, "https://idp.example/post");
      assert.deepEqual(Object.keys(to.fields ?? {}), ["SAMLRequest", "RelayState"]);
      const xml = Buffer.from(to.fields?.["SAMLRequest"] ?? "", "base64").toString();
      const document = parseXml(xml);
      assert.match(signedBytes(document, document.root, [certificate]), /^<samlp:AuthnRequest/);
      // The schema has the signature behind the issuer (SAML Core §3.2.1).
      assert.match(xml, /<\/saml:Issuer><ds:Signature /);
    });

    it("signs nothing where that is switched off, unless the provider demands it (SAML Metadata §2.4.3)", async () => {
      const { certificate } = await sharedKey();
      const saml = { signRequests: false };
      const { to } = await (await open({ saml })).leave({ state: "fs_a" }, quiet);
      assert.deepEqual([...new URL(to.url).searchParams.keys()], ["SAMLRequest", "RelayState"]);
      const xml = metadata([certificate], { role: 'WantAuthnRequestsSigned="true"' });
      const demanded = await (await open({ saml, xml })).leave({ state: "fs_a" }, quiet);
      assert.ok(new URL(demanded.to.url).searchParams.has("Signature"));
    });

    it("asks for a new sign-in, a format and a way to sign in (SAML Core §3.4.1)", async () => {
      const connector = await open({
        saml: { nameIdFormat: EMAIL },
        settings: {
          authn_context: ["https://refeds.org/profile/mfa", "a&b"],
          authn_context_comparison: "minimum",
        },
      });
      const { to, secrets } = await connector.leave({ state: "fs_a", fresh: true }, quiet);
      const xml = inflated(to.url);
      assert.match(xml, / ForceAuthn="true" /);
      assert.match(
        xml,
        /<samlp:NameIDPolicy Format="urn:oasis:names:tc:SAML:1\.1:nameid-format:emailAddress"/,
      );
      assert.match(
        xml,
        /<samlp:RequestedAuthnContext Comparison="minimum"><saml:AuthnContextClassRef>https:\/\/refeds\.org\/profile\/mfa<\/saml:AuthnContextClassRef><saml:AuthnContextClassRef>a&#38;b</,
      );
      assert.ok(Math.abs(Number(secrets["forced_at"]) - Date.now() / 1000) < 5);
    });

    it("does not leave for a provider whose metadata has ended (SAML Metadata §2.3.2)", async () => {
      const xml = metadata([(await sharedKey()).certificate], {
        attributes: `validUntil="${at(-1)}"`,
      });
      await rejects(
        (await open({ xml })).leave({ state: "fs_a" }, quiet),
        "misconfigured",
        "saml.metadata_expired",
      );
    });
  });

  describe("arriving", () => {
    for (const name of [
      "mail",
      "urn:oid:0.9.2342.19200300.100.1.3",
      "urn:oid:1.2.840.113549.1.9.1",
    ])
      it(`knows an address that is called ${name}`, async () => {
        const xml = await good({ attributes: attribute(name, "ada@example.com") });
        assert.equal((await (await open()).arrive(answer(xml), () => {})).email, "ada@example.com");
      });

    it("says who it is from the signed bytes: NameID, attributes, context, session", async () => {
      const steps: TraceStep["step"][] = [];
      const xml = await good({
        attributes:
          attribute("urn:oid:2.5.4.42", "Ada") +
          attribute("mail", "ada@example.com", "ada@example.org") +
          attribute("groups", "eng", "ops") +
          attribute("__proto__", "x") +
          attribute("groups", "all"),
        nameId:
          '<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent" NameQualifier="urn:q" SPNameQualifier="urn:sp">ada-0001</saml:NameID>',
        statements: statement({
          instant: "2026-01-01T00:00:00.123Z",
          more: `SessionIndex="_s1" SessionNotOnOrAfter="${at(3600)}"`,
        }),
      });
      const identity = await (await open()).arrive(answer(xml), (step) => steps.push(step));
      const { claims, session, ...rest } = identity;
      assert.deepEqual(rest, {
        issuer: IDP,
        subject: "ada-0001",
        email: "ada@example.com",
        emailVerified: true,
        acr: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        authTime: Date.parse("2026-01-01T00:00:00.123Z") / 1000,
      });
      assert.deepEqual(claims["groups"], ["eng", "ops", "all"]);
      assert.equal(claims["given_name"], "Ada");
      assert.equal(claims["urn:oid:2.5.4.42"], "Ada");
      assert.equal(Object.getPrototypeOf(claims), Object.prototype);
      assert.equal(session?.index, "_s1");
      assert.ok(Math.abs((session?.notAfter ?? 0) - Date.now() / 1000 - 3600) < 5);
      assert.deepEqual(session?.nameId, {
        value: "ada-0001",
        format: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
        nameQualifier: "urn:q",
        spNameQualifier: "urn:sp",
      });
      assert.deepEqual(steps, ["response received", "signature verified", "assertion accepted"]);
    });

    it("tells an attribute without a value from one that is not there (SAML Core §2.7.3.1.1)", async () => {
      const said = async (attributes: string) =>
        (await (await open()).arrive(answer(await good({ attributes })), quiet)).claims["groups"];
      assert.equal(await said(attribute("mail", "ada@example.com")), undefined);
      assert.deepEqual(await said(attribute("memberOf")), []);
      assert.deepEqual(await said(attribute("memberOf") + attribute("Role", "eng")), "eng");
    });

    it("takes an attribute as subject, and an address where the connection says so", async () => {
      const transient = nameId("_x", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient");
      const byAttribute = await open({ settings: { subject_attribute: "uid" } });
      const xml = await good({ nameId: transient, attributes: attribute("uid", "u1") });
      assert.equal((await byAttribute.arrive(answer(xml), quiet)).subject, "u1");
      const byAddress = await open({ settings: { subject_formats: ["emailAddress"] } });
      const found = await byAddress.arrive(
        answer(
          await good({ nameId: nameId("ada@example.com", EMAIL), attributes: attribute("x", "y") }),
        ),
        quiet,
      );
      assert.deepEqual([found.subject, found.email], ["ada@example.com", "ada@example.com"]);
    });

    it("reads the address from the attribute that is mapped to it", async () => {
      const connector = await open({ provider: { attributeMapping: { email: "contact" } } });
      const xml = await good({
        attributes: attribute("contact", "a@b.example") + attribute("mail", "c@d.example"),
      });
      assert.equal((await connector.arrive(answer(xml), quiet)).email, "a@b.example");
    });

    it("keeps names and attributes to the letter, because with a space they are others", async () => {
      const xml = await good({ nameId: nameId(" ada-0001"), attributes: attribute("uid", "u1 ") });
      const { subject, claims } = await (await open()).arrive(answer(xml), quiet);
      assert.deepEqual([subject, claims["uid"]], [" ada-0001", "u1 "]);
    });

    it("ends the session when the first of several statements does", async () => {
      const ends = [600, 300].map((after) => at(after));
      const statements = ends.map((end) => statement({ more: `SessionNotOnOrAfter="${end}"` }));
      const xml = await good({ statements: statements.join("") });
      const { session } = await (await open()).arrive(answer(xml), quiet);
      assert.equal(session?.notAfter, Date.parse(ends[1] ?? "") / 1000);
    });

    it("takes our entity ID as the connection has it", async () => {
      const settings = { sp_entity_id: "urn:old:lintel" };
      const connector = await open({ settings });
      const { to } = await connector.leave({ state: "fs_a" }, quiet);
      const message = Buffer.from(new URL(to.url).searchParams.get("SAMLRequest") ?? "", "base64");
      assert.match(inflateRawSync(message).toString(), /<saml:Issuer>urn:old:lintel</);
      await rejects(connector.arrive(answer(await good()), quiet), "invalid", "saml.audience");
      assert.match((await connector.describe()).body, / entityID="urn:old:lintel"/);
    });

    it("takes a response once, of any number at the same time (T-102)", async () => {
      const provider = { id: "0198f2c0-0000-7000-8000-000000000001" };
      const [one, other] = [await open({ provider }), await open({ provider })];
      const xml = await good();
      const tries = [one, other, one, other].map((connector) =>
        connector.arrive(answer(xml), quiet),
      );
      const outcomes = await Promise.allSettled(tries);
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
      await rejects(other.arrive(answer(xml), quiet), "replayed", "saml.replay");
      // Wrapped anew, it is still the same assertion.
      const inner = /<saml:Assertion [\s\S]*<\/saml:Assertion>/.exec(xml)?.[0] ?? "";
      await rejects(one.arrive(answer(response(inner)), quiet), "replayed", "saml.replay");
    });

    it("does not spend an assertion that was refused", async () => {
      const connector = await open();
      const xml = await good();
      await rejects(
        connector.arrive(answer(xml, { request_id: "_other" }), quiet),
        "invalid",
        "saml.in_response_to",
      );
      assert.equal((await connector.arrive(answer(xml), quiet)).subject, "ada-0001");
    });

    it("refuses an assertion that another provider's connection would take (T-102)", async () => {
      const other = await open({
        provider: { issuer: "https://other.example" },
        xml: metadata([(await sharedKey()).certificate], { entityId: "https://other.example" }),
      });
      await rejects(other.arrive(answer(await good()), quiet), "invalid", "saml.issuer");
    });

    it("says that the provider refused, with its own words in the trace", async () => {
      const status =
        '<samlp:Status><samlp:StatusCode Value="urn:x:Responder"/><samlp:StatusMessage>no licence</samlp:StatusMessage></samlp:Status>';
      const connector = await open();
      await assert.rejects(connector.arrive(answer(response("", { status })), quiet), (error) => {
        assert.ok(error instanceof UpstreamError);
        assert.equal(error.reason, "refused");
        assert.match(error.message, /urn:x:Responder, no licence/);
        return true;
      });
    });

    it("has no use for an answer without SAMLResponse", async () => {
      await rejects(
        (await open()).arrive({ method: "POST", parameters: {}, secrets: {} }, quiet),
        "invalid",
        "saml.message",
      );
    });
  });

  describe("keys of the provider (T-105)", () => {
    it("are not believed with fewer than 2048 bits, unless that is allowed", async () => {
      const weak = new X509Certificate(WEAK_CERTIFICATE).toString();
      await rejects(
        (await open({ certificates: [weak] })).arrive(answer(await good()), quiet),
        "misconfigured",
        "saml.certificate",
      );
      const lax = await open({ certificates: [weak], saml: { allowLegacyCrypto: true } });
      await rejects(lax.arrive(answer(await good()), quiet), "invalid", "saml.signature");
    });
  });

  describe("our metadata (SAML Metadata §2.4.4)", () => {
    const keyInfo = (base64: string) =>
      `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>${base64}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`;

    it("says where messages go, what is signed, and with which key", async () => {
      const { type, body } = await (await open()).describe();
      const { certificate } = await sharedKey();
      assert.equal(type, "application/samlmetadata+xml");
      const { root } = parseXml(body);
      assert.equal(root.getAttribute("entityID"), SITE.metadata);
      assert.match(body, /AuthnRequestsSigned="true" WantAssertionsSigned="true"/);
      assert.match(
        body,
        new RegExp(
          `<AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="${SITE.acs}" index="0" isDefault="true"/>`,
        ),
      );
      assert.equal(
        body.match(
          new RegExp(
            `<SingleLogoutService Binding="[^"]+HTTP-(Redirect|POST)" Location="${SITE.slo}"/>`,
            "g",
          ),
        )?.length,
        2,
      );
      assert.match(
        body,
        /<NameIDFormat>urn:oasis:names:tc:SAML:2\.0:nameid-format:persistent<\/NameIDFormat>/,
      );
      const base64 = certificate.replaceAll(/-----[^-]+-----|\s/g, "");
      assert.ok(body.includes(`<KeyDescriptor use="signing">${keyInfo(base64)}</KeyDescriptor>`));
      assert.doesNotMatch(body, /encryption/);
    });

    it("has a key to encrypt for only where assertions must be encrypted", async () => {
      const { body } = await (await open({ saml: { wantEncrypted: true } })).describe();
      const base64 = (await sharedKey()).certificate.replaceAll(/-----[^-]+-----|\s/g, "");
      assert.ok(
        body.includes(`<KeyDescriptor use="encryption">${keyInfo(base64)}<EncryptionMethod `),
      );
    });
  });

  describe("an answer that nobody asked for (T-103)", () => {
    const unsolicited = () => good({ confirmations: confirmation({ inResponseTo: null }) });
    const asked = async (xml: string, saml = {}) =>
      (await open({ saml })).isUnsolicited({
        method: "POST",
        parameters: { SAMLResponse: posted(xml) },
      });
    const allowed = { allowIdpInitiated: true };

    it("is known as one only where that is allowed", async () => {
      const xml = (await unsolicited()).replace(/InResponseTo="[^"]*"/, "");
      assert.equal(await asked(xml, allowed), true);
      assert.equal(await asked(xml), false);
    });

    it("is none when it answers a request, comes from elsewhere, or cannot be read", async () => {
      assert.equal(await asked(await good(), allowed), false);
      assert.equal(
        await asked(
          response(assertion(), {
            inResponseTo: undefined,
            issuer: "<saml:Issuer>urn:x</saml:Issuer>",
          }),
          allowed,
        ),
        false,
      );
      assert.equal(await asked("<x/>", allowed), false);
      assert.equal(
        await (await open({ saml: allowed })).isUnsolicited({ method: "POST", parameters: {} }),
        false,
      );
    });

    it("never arrives", async () => {
      const xml = await signed(
        response(assertion({ confirmations: confirmation({ inResponseTo: null }) }), {
          inResponseTo: undefined,
        }),
        "Assertion",
      );
      await rejects(
        (await open({ saml: allowed })).arrive(answer(xml), quiet),
        "invalid",
        "saml.in_response_to",
      );
    });
  });

  describe("its own test", () => {
    const trace = () => {
      const steps: { step: string; detail: unknown }[] = [];
      return { steps, note: (step: string, detail?: unknown) => void steps.push({ step, detail }) };
    };
    const fetching = (date: Date, status = 200) =>
      (async (url: unknown) => {
        if (String(url).includes("slo")) throw new TypeError("refused");
        return new Response(metadata([(await sharedKey()).certificate]), {
          status,
          headers: { date: date.toUTCString() },
        });
      }) as typeof fetch;

    it("looks at metadata, certificates, addresses and the clock", async () => {
      const { steps, note } = trace();
      const saml = { metadataUrl: "https://idp.example/metadata" };
      await (await open({ fetch: fetching(new Date()), saml })).test(note);
      assert.deepEqual(
        steps.map(({ step }) => step),
        [
          "metadata",
          "metadata fetched",
          "provider's certificate",
          "our certificate",
          "endpoint answered",
          "endpoint not reached from here",
        ],
      );
      assert.equal((steps[2]?.detail as { key: string } | undefined)?.key, "rsa 3072");
    });

    it("says when the provider's clock is wrong", async () => {
      const late = new Date(Date.now() - 180_000);
      await rejects(
        (await open({ fetch: fetching(late) })).test(quiet),
        "misconfigured",
        "saml.clock",
      );
    });

    it("says when the metadata cannot be fetched", async () => {
      const saml = { metadataUrl: "https://idp.example/metadata" };
      await rejects(
        (await open({ fetch: fetching(new Date(), 500), saml })).test(quiet),
        "unavailable",
        "saml.metadata_fetch",
      );
    });
  });
});
