import { createHmac, randomBytes } from "node:crypto";
import { DOMParser, XMLSerializer } from "@xmldom/xmldom";
import { ExclusiveCanonicalization } from "xml-crypto";
import { createSpKey } from "../../../src/federation/saml/sp-key.ts";
import { aCertificate } from "../../support/certificates.ts";
import {
  assertion,
  at,
  attribute,
  audience,
  conditions,
  confirmation,
  encrypted,
  ENVELOPED,
  EXCLUSIVE,
  nameId,
  posted,
  REQUEST_ID,
  response,
  sharedKey,
  signed,
  SITE,
  statement,
  type AssertionParts,
  type ConnectionOptions,
  type EncryptOptions,
  type ResponseParts,
  type SignOptions,
} from "../../support/saml.ts";

/** One crafted response, and what must become of it. */
export interface Case {
  readonly name: string;
  /** The rule that refuses it; without one it is good. */
  readonly rule?: string;
  /** The value of the form's field. */
  readonly make: () => Promise<string>;
  readonly connection?: () => Promise<ConnectionOptions>;
  readonly secrets?: Readonly<Record<string, string>>;
}

type Signer = "assertion" | "response" | "both";

/** A good response, signed as most are. */
async function good(
  parts: AssertionParts = {},
  outer: ResponseParts = {},
  { by = "assertion", ...options }: SignOptions & { by?: Signer } = {},
): Promise<string> {
  const plain = response(assertion(parts), outer);
  const inner = by === "response" ? plain : await signed(plain, "Assertion", options);
  return by === "assertion" ? inner : signed(inner, "Response", options);
}

const legacy = async () => ({ saml: { allowLegacyCrypto: true } });
const byResponse = async () => ({ settings: { want_assertions_signed: false } });

const accepted = (name: string, make: () => Promise<string>, more: Partial<Case> = {}): Case => ({
  name,
  make: async () => posted(await make()),
  ...more,
});
const refused = (
  name: string,
  rule: string,
  make: () => Promise<string>,
  more: Partial<Case> = {},
): Case => ({ name, rule, make: async () => posted(await make()), ...more });

/** The good response with something in it replaced after it was signed. */
const altered =
  (from: string | RegExp, to: string, by: Signer = "assertion", options: SignOptions = {}) =>
  async () => {
    const before = await good({}, {}, { by, ...options });
    const after = before.replace(from, to);
    if (after === before) throw new Error(`nothing to replace: ${String(from)}`);
    return after;
  };

/** An encrypted assertion, signed inside. */
const sealed =
  (options: EncryptOptions = {}, { by = "assertion", plain = assertion() } = {}) =>
  async () => {
    const inner = by === "response" ? plain : await signed(plain, "Assertion");
    const outer = response(encrypted(inner, (await sharedKey()).certificate, options));
    return by === "assertion" ? outer : signed(outer, "Response");
  };

/** An EncryptedID: for us, with the subject's name in it, unless said otherwise. */
async function secretId(
  plain = nameId().replace("<saml:NameID", `<saml:NameID xmlns:saml="${SAML}"`),
  reader = sharedKey(),
): Promise<string> {
  const { certificate } = await reader;
  return encrypted(plain, certificate, { element: "EncryptedID", cipher: "aes-128-cbc" });
}

const SAML = "urn:oasis:names:tc:SAML:2.0:assertion";

const ecKey = (() => {
  const { cert, key } = aCertificate();
  return { certificate: cert, privateKey: key };
})();
let strange: ReturnType<typeof createSpKey> | undefined;
/** The key of somebody else. */
const strangeKey = () => (strange ??= createSpKey("https://mallory.example"));

const MORE = "http://www.w3.org/2001/04/xmldsig-more#";
const MORE_2007 = "http://www.w3.org/2007/05/xmldsig-more#";
const DS = "http://www.w3.org/2000/09/xmldsig#";
const ecConnection = async () => ({ certificates: [ecKey.certificate] });

const GOOD: readonly Case[] = [
  accepted("the assertion is signed", () => good()),
  accepted("the response and the assertion are signed", () => good({}, {}, { by: "both" }), {
    connection: async () => ({ saml: { wantResponseSigned: true } }),
  }),
  accepted(
    "only the response is signed, where that is configured",
    () => good({}, {}, { by: "response" }),
    { connection: byResponse },
  ),
  ...["rsa-sha384", "rsa-sha512"].map((name) =>
    accepted(name, () => good({}, {}, { signature: `${MORE}${name}`, digest: `${MORE}sha384` })),
  ),
  ...["sha256", "sha384", "sha512"].map((hash) =>
    accepted(`RSA-PSS with ${hash}`, () =>
      good({}, {}, { signature: `${MORE_2007}${hash}-rsa-MGF1` }),
    ),
  ),
  ...["ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"].map((name) =>
    accepted(name, () => good({}, {}, { key: ecKey, signature: `${MORE}${name}` }), {
      connection: ecConnection,
    }),
  ),
  accepted("canonicalization with comments, of which there are none", () =>
    good({}, {}, { transforms: [ENVELOPED, `${EXCLUSIVE}WithComments`] }),
  ),
  accepted("InclusiveNamespaces", () =>
    good(
      {
        attributes: `<saml:Attribute Name="x"><saml:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">1</saml:AttributeValue></saml:Attribute>`,
      },
      {},
      { prefixes: ["xs"] },
    ),
  ),
  accepted(
    "an XML declaration, and letters beyond ASCII",
    async () =>
      `<?xml version="1.0" encoding="UTF-8"?>\n${await good({ attributes: attribute("cn", "Ada Lövelace 爱达") })}`,
  ),
  accepted(
    "the second of two known certificates",
    async () => good({}, {}, { key: await strangeKey() }),
    {
      connection: async () => ({
        certificates: [(await sharedKey()).certificate, (await strangeKey()).certificate],
      }),
    },
  ),
  accepted("clocks that differ by 50 seconds", () =>
    good({
      issued: at(50),
      conditions: conditions(audience(SITE.metadata), { from: at(50), until: at(110) }),
    }),
  ),
  accepted("several audiences, restrictions, OneTimeUse", () =>
    good({
      conditions: conditions(
        `${audience("urn:other", SITE.metadata)}${audience(SITE.metadata)}<saml:OneTimeUse/>`,
      ),
    }),
  ),
  accepted("another kind of confirmation beside the bearer's", () =>
    good({ confirmations: confirmation({ method: "holder-of-key" }) + confirmation() }),
  ),
  accepted("extensions that hide nothing", () =>
    good({}, { extensions: '<samlp:Extensions><x xmlns="urn:x">1</x></samlp:Extensions>' }),
  ),
  accepted("an advice that hides nothing", () =>
    good({
      advice: "<saml:Advice><saml:AssertionURIRef>urn:x</saml:AssertionURIRef></saml:Advice>",
    }),
  ),
  accepted("a response without issuer, unsigned", () => good({}, { issuer: "" })),
  accepted("entities and character references in a value", () =>
    good({ attributes: attribute("cn", "A &amp; B &#228; &lt;&gt;") }),
  ),
  accepted("AES-256-GCM with RSA-OAEP", sealed()),
  accepted("AES-192-GCM with RSA-OAEP", sealed({ cipher: "aes-192-gcm" })),
  accepted(
    "AES-128-GCM with RSA-OAEP and SHA-256 throughout",
    sealed({ cipher: "aes-128-gcm", transport: "oaep11", hash: "sha256" }),
  ),
  accepted("an encrypted key beside the data", sealed({ isSibling: true })),
  accepted("encrypted, and signed inside and around", sealed({}, { by: "both" }), {
    connection: async () => ({ saml: { wantEncrypted: true, wantResponseSigned: true } }),
  }),
  accepted(
    "encrypted, and signed around only, where that is configured",
    sealed({}, { by: "response" }),
    { connection: byResponse },
  ),
  accepted(
    "AES-CBC inside of a response that is signed around it, as Keycloak makes it",
    sealed({ cipher: "aes-128-cbc" }, { by: "both" }),
  ),
  accepted("an identifier that is encrypted for us", async () =>
    good({ nameId: await secretId() }),
  ),
  accepted("an identifier that is encrypted inside of what is encrypted", async () =>
    sealed({}, { plain: assertion({ nameId: await secretId() }) })(),
  ),
  accepted(
    "RSA-SHA1, where that is allowed",
    () => good({}, {}, { signature: `${DS}rsa-sha1`, digest: `${DS}sha1` }),
    { connection: legacy },
  ),
  accepted(
    "AES-CBC with RSA 1.5, where that is allowed",
    sealed({ cipher: "aes-128-cbc", transport: "rsa-1_5" }),
    { connection: legacy },
  ),
  {
    name: "Base64 in lines of 76 characters",
    make: async () => posted(await good()).replaceAll(/(.{76})/g, "$1\r\n"),
  },
];

/** The eight ways to wrap a signed part around or beside a forged one (Somorovsky et al. 2012), as tools make them. */
type Wrap = (
  document: Document,
  evil: Element,
  parts: { response: Element; assertion: Element; signature: Element },
) => void;

function bare(element: Element): Element {
  const copy = element.cloneNode(true) as Element;
  for (const signature of Array.from(copy.childNodes).filter(
    (one) => (one as Element).localName === "Signature",
  ))
    copy.removeChild(signature);
  return copy;
}

const WRAPS: Readonly<Record<string, Wrap>> = {
  "XSW1: the original response inside of the signature": (
    document,
    evil,
    { response, signature },
  ) => {
    const original = bare(response);
    forge(response, evil);
    signature.appendChild(original);
    document.documentElement.setAttribute("ID", "_evil");
  },
  "XSW2: the original response before the signature": (
    _document,
    evil,
    { response, signature },
  ) => {
    const original = bare(response);
    forge(response, evil);
    response.setAttribute("ID", "_evil");
    signature.parentNode?.insertBefore(original, signature);
  },
  "XSW3: a forged assertion before the original": (_document, evil, { response, assertion }) => {
    response.insertBefore(evil, assertion);
  },
  "XSW4: the original assertion inside of a forged one": (
    _document,
    evil,
    { response, assertion },
  ) => {
    response.replaceChild(evil, assertion);
    evil.appendChild(assertion);
  },
  "XSW5: the forged assertion signed by name, the original at the end": (
    _document,
    evil,
    { response, assertion },
  ) => {
    const original = bare(assertion);
    forge(assertion, evil);
    assertion.setAttribute("ID", "_evil");
    response.appendChild(original);
  },
  "XSW6: the original assertion inside of the signature of the forged": (
    _document,
    evil,
    { assertion, signature },
  ) => {
    const original = bare(assertion);
    forge(assertion, evil);
    assertion.setAttribute("ID", "_evil");
    signature.appendChild(original);
  },
  "XSW7: a forged assertion in Extensions": (document, evil, { response, assertion }) => {
    const extensions = document.createElementNS(
      "urn:oasis:names:tc:SAML:2.0:protocol",
      "samlp:Extensions",
    );
    extensions.appendChild(evil);
    response.insertBefore(extensions, assertion);
  },
  "XSW8: the original assertion in an Object of the signature": (
    document,
    evil,
    { assertion, signature },
  ) => {
    const original = bare(assertion);
    forge(assertion, evil);
    assertion.setAttribute("ID", "_evil");
    const object = document.createElementNS(DS, "ds:Object");
    object.appendChild(original);
    signature.appendChild(object);
  },
};

/** Puts what a forged assertion says into a real one. */
function forge(element: Element, evil: Element): void {
  const target = find(element, "NameID");
  target.textContent = find(evil, "NameID").textContent;
  find(target.ownerDocument, "Assertion").setAttribute("ID", "_forged");
}

function find(root: Document | Element, name: string): Element {
  const found = Array.from(root.getElementsByTagNameNS("*", name))[0];
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

async function wrapped(wrap: Wrap, by: Signer): Promise<string> {
  const document = new DOMParser().parseFromString(await good({}, {}, { by }), "text/xml");
  const parts = {
    response: document.documentElement,
    assertion: find(document, "Assertion"),
    signature: find(document, "Signature"),
  };
  const evil = bare(parts.assertion);
  evil.setAttribute("ID", "_evil");
  find(evil, "NameID").textContent = "admin";
  wrap(document, evil, parts);
  return new XMLSerializer().serializeToString(document);
}

const WRAPPED: readonly Case[] = Object.entries(WRAPS).flatMap(([name, wrap]) =>
  (["response", "assertion", "both"] as const).map((by) =>
    refused(
      `${name} (signed: ${by})`,
      /^XSW[12]/.test(name) ? "saml.root" : "saml.assertions",
      () => wrapped(wrap, by),
      by === "response" ? { connection: byResponse } : {},
    ),
  ),
);

const evil = (id = "_evil") => assertion({ id, nameId: nameId("admin") });

const HIDDEN: readonly Case[] = [
  refused("a forged assertion in an Advice", "saml.assertions", () =>
    good({ advice: `<saml:Advice>${evil()}</saml:Advice>` }),
  ),
  refused("the signed assertion in the Advice of a forged one", "saml.assertions", async () =>
    response(
      assertion({
        nameId: nameId("admin"),
        advice: `<saml:Advice>${await signed(assertion(), "Assertion")}</saml:Advice>`,
      }),
    ),
  ),
  refused(
    "a forged assertion in the KeyInfo",
    "saml.assertions",
    altered("<ds:X509Data>", `${evil()}<ds:X509Data>`),
  ),
  refused("a forged assertion in an attribute", "saml.assertions", () =>
    good({ attributes: attribute("x", evil()) }),
  ),
  refused("the signed assertion under an element that nobody knows", "saml.assertions", async () =>
    response(`<x xmlns="urn:x">${await signed(assertion(), "Assertion")}</x>`),
  ),
  refused("no assertion at all", "saml.assertions", async () => signed(response(""), "Response")),
  refused("two signed assertions", "saml.assertions", async () =>
    response(`${await signed(assertion(), "Assertion")}${await signed(assertion(), "Assertion")}`),
  ),
  refused("an encrypted assertion beside the signed one", "saml.assertions", async () =>
    response(
      `${await signed(assertion(), "Assertion")}${encrypted(evil(), (await sharedKey()).certificate)}`,
    ),
  ),
  refused("a forged assertion inside of the encrypted one", "saml.root", async () =>
    sealed(
      {},
      {
        plain: await signed(
          assertion({ advice: `<saml:Advice>${evil()}</saml:Advice>` }),
          "Assertion",
        ),
      },
    )(),
  ),
  refused("a response inside of the response", "saml.root", () =>
    good({}, { extensions: `<samlp:Extensions>${response("")}</samlp:Extensions>` }),
  ),
  refused("an assertion alone", "saml.root", async () => signed(assertion(), "Assertion")),
  refused("a LogoutResponse", "saml.root", altered(/samlp:Response/g, "samlp:LogoutResponse")),
  refused(
    "the assertion in another namespace, its prefix bound anew",
    "saml.namespace",
    altered(
      '<saml:Assertion xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"',
      '<saml:Assertion xmlns:saml="urn:evil"',
    ),
  ),
  refused(
    "a signature in another namespace",
    "saml.namespace",
    altered(/xmlns:ds="[^"]+"/, 'xmlns:ds="urn:evil"'),
  ),
  refused(
    "a prefix that is bound to nothing",
    "saml.xml",
    altered("<saml:AttributeStatement>", "<saml:AttributeStatement><evil:x/>"),
  ),
];

const withTwin = (name: string) => async () => {
  const xml = await good({ id: "_twin" });
  return xml.replace(
    "<samlp:Status>",
    `<samlp:Extensions><x xmlns="urn:x" xmlns:wsu="urn:wsu" ${name}="_twin"/></samlp:Extensions><samlp:Status>`,
  );
};

const IDS: readonly Case[] = [
  ...["ID", "Id", "id", "iD", "xml:id", "wsu:Id"].map((name) =>
    refused(`the assertion's identifier once more as ${name}`, "saml.duplicate_id", withTwin(name)),
  ),
  refused("response and assertion with one identifier", "saml.duplicate_id", () =>
    good({ id: "_twin" }, { id: "_twin" }),
  ),
  refused(
    "an assertion with two identifiers",
    "saml.duplicate_id",
    altered(/<saml:Assertion ([^>]*)>/, '<saml:Assertion $1 Id="_other">'),
  ),
  refused(
    "an identifier with a quote in it",
    "saml.reference",
    altered(/_a[0-9a-f]{24}/g, "_a' or '1'='1"),
  ),
];

const reference = (xml: string) => /<ds:Reference [\s\S]*<\/ds:Reference>/.exec(xml)?.[0] ?? "";

const SIGNATURES: readonly Case[] = [
  refused("no signature", "saml.signature", async () => response(assertion())),
  refused("only the response is signed, though assertions must be", "saml.signature", () =>
    good({}, {}, { by: "response" }),
  ),
  refused(
    "only the assertion is signed, though responses must be",
    "saml.signature",
    () => good(),
    { connection: async () => ({ saml: { wantResponseSigned: true } }) },
  ),
  refused("an encrypted assertion that is not signed", "saml.signature", async () =>
    response(encrypted(assertion(), (await sharedKey()).certificate)),
  ),
  refused("the NameID changed after", "saml.signature", altered("ada-0001", "admin")),
  refused(
    "an attribute changed after",
    "saml.signature",
    altered("ada@example.com", "admin@example.com"),
  ),
  refused(
    "the status changed after, in a signed response",
    "saml.signature",
    altered("<samlp:Status>", "<samlp:Status> ", "both"),
  ),
  refused(
    "a bad signature of the response over a good one of the assertion",
    "saml.signature",
    altered(/(<ds:SignatureValue>)./, "$1A", "both"),
  ),
  refused(
    "signed by somebody else, whose certificate is in the KeyInfo",
    "saml.signature",
    async () => good({ nameId: nameId("admin") }, {}, { key: await strangeKey() }),
  ),
  refused("signed by somebody else with an EC key", "saml.signature", () =>
    good({}, {}, { key: ecKey, signature: `${MORE}ecdsa-sha256` }),
  ),
  refused("RSA named ECDSA", "saml.signature", altered(`${MORE}rsa-sha256`, `${MORE}ecdsa-sha256`)),
  refused("the signature moved from the assertion to the response", "saml.reference", async () => {
    const xml = await good();
    const signature = /<ds:Signature [\s\S]*<\/ds:Signature>/.exec(xml)?.[0] ?? "";
    return xml.replace(signature, "").replace("<samlp:Status>", `${signature}<samlp:Status>`);
  }),
  refused("the signature moved into the subject", "saml.signature_place", async () => {
    const xml = await good();
    const signature = /<ds:Signature [\s\S]*<\/ds:Signature>/.exec(xml)?.[0] ?? "";
    return xml.replace(signature, "").replace("<saml:Subject>", `<saml:Subject>${signature}`);
  }),
  refused("two signatures of one assertion", "saml.signature_place", async () => {
    const xml = await good();
    const signature = /<ds:Signature [\s\S]*<\/ds:Signature>/.exec(xml)?.[0] ?? "";
    return xml.replace(signature, signature + signature);
  }),
  refused(
    "two SignedInfo (CVE-2025-29774)",
    "saml.signature_shape",
    altered(/(<ds:SignedInfo>[\s\S]*<\/ds:SignedInfo>)/, "$1$1"),
  ),
  refused(
    "two SignatureValue",
    "saml.signature_shape",
    altered(/(<ds:SignatureValue>[\s\S]*<\/ds:SignatureValue>)/, "$1$1"),
  ),
  refused(
    "an empty Object in the signature",
    "saml.signature_shape",
    altered("</ds:Signature>", "<ds:Object/></ds:Signature>"),
  ),
  refused("two references", "saml.reference", async () => {
    const xml = await good();
    return xml.replace(reference(xml), reference(xml) + reference(xml));
  }),
  refused("no reference", "saml.reference", async () => {
    const xml = await good();
    return xml.replace(reference(xml), "");
  }),
  refused("an empty URI", "saml.reference", altered(/URI="#[^"]+"/, 'URI=""')),
  refused("no URI", "saml.reference", altered(/ URI="#[^"]+"/, "")),
  refused("the URI of another element", "saml.reference", altered(/URI="#[^"]+"/, 'URI="#_other"')),
  refused(
    "an XPointer",
    "saml.reference",
    altered(/URI="#([^"]+)"/, "URI=\"#xpointer(id('$1'))\""),
  ),
  refused(
    "a URI elsewhere",
    "saml.reference",
    altered(/URI="#[^"]+"/, 'URI="https://mallory.example/x"'),
  ),
  refused(
    "two DigestValue",
    "saml.signature_shape",
    altered(/(<ds:DigestValue>[\s\S]*<\/ds:DigestValue>)/, "$1$1"),
  ),
  refused(
    "two Transforms",
    "saml.signature_shape",
    altered(/(<ds:Transforms>[\s\S]*<\/ds:Transforms>)/, "$1$1"),
  ),
  refused(
    "no transforms",
    "saml.signature_shape",
    altered(/<ds:Transforms>[\s\S]*<\/ds:Transforms>/, ""),
  ),
  refused(
    "an XPath transform",
    "saml.transform",
    altered(
      `<ds:Transform Algorithm="${ENVELOPED}"/>`,
      `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>not(ancestor-or-self::*[local-name()='NameID'])</ds:XPath></ds:Transform>`,
    ),
  ),
  refused(
    "an XSLT transform",
    "saml.transform",
    altered(
      `<ds:Transform Algorithm="${EXCLUSIVE}"/>`,
      `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"><xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform"/></ds:Transform>`,
    ),
  ),
  refused(
    "a third transform",
    "saml.transform",
    altered(
      `<ds:Transform Algorithm="${EXCLUSIVE}"/>`,
      `<ds:Transform Algorithm="${EXCLUSIVE}"/><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#base64"/>`,
    ),
  ),
  refused("the enveloped transform alone", "saml.transform", () =>
    good({}, {}, { transforms: [ENVELOPED] }),
  ),
  refused("inclusive canonicalization", "saml.transform", () =>
    good({}, {}, { transforms: [ENVELOPED, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"] }),
  ),
  refused("inclusive canonicalization of SignedInfo", "saml.algorithm", () =>
    good({}, {}, { canonicalization: "http://www.w3.org/TR/2001/REC-xml-c14n-20010315" }),
  ),
];

/** Signed with an HMAC whose key is the provider's public certificate. */
async function hmac(): Promise<string> {
  const document = new DOMParser().parseFromString(
    await good({ nameId: nameId("admin") }, {}, { key: await strangeKey() }),
    "text/xml",
  );
  find(document, "SignatureMethod").setAttribute("Algorithm", `${DS}hmac-sha1`);
  const bytes = new ExclusiveCanonicalization().process(find(document, "SignedInfo"), {});
  const value = createHmac("sha1", (await sharedKey()).certificate)
    .update(bytes)
    .digest("base64");
  find(document, "SignatureValue").textContent = value;
  return new XMLSerializer().serializeToString(document);
}

const changedCiphertext = (xml: string) =>
  xml.replace(
    /(<xenc:CipherValue>.{40})(.)/g,
    (_all, before: string, sign: string) => before + (sign === "A" ? "B" : "A"),
  );

const WEAK: readonly Case[] = [
  refused("an HMAC with the public key", "saml.algorithm", hmac),
  refused("an HMAC with the public key, where legacy is allowed", "saml.algorithm", hmac, {
    connection: legacy,
  }),
  refused("RSA-SHA1", "saml.algorithm", () => good({}, {}, { signature: `${DS}rsa-sha1` })),
  refused("a SHA-1 digest", "saml.algorithm", () => good({}, {}, { digest: `${DS}sha1` })),
  refused("MD5", "saml.algorithm", altered(`${MORE}rsa-sha256`, `${MORE}rsa-md5`)),
  refused("DSA", "saml.algorithm", altered(`${MORE}rsa-sha256`, `${DS}dsa-sha1`, "assertion")),
  refused(
    "an algorithm of a prototype",
    "saml.algorithm",
    altered(`${MORE}rsa-sha256`, "constructor"),
  ),
  refused(
    "a truncated HMAC",
    "saml.signature_shape",
    altered(
      /<ds:SignatureMethod ([^>]*)\/>/,
      "<ds:SignatureMethod $1><ds:HMACOutputLength>1</ds:HMACOutputLength></ds:SignatureMethod>",
    ),
  ),
  refused(
    "AES-CBC that nothing is signed around",
    "saml.encryption",
    sealed({ cipher: "aes-256-cbc" }),
  ),
  refused("AES-CBC that was changed inside of what is signed", "saml.signature", async () =>
    changedCiphertext(await sealed({ cipher: "aes-128-cbc" }, { by: "both" })()),
  ),
  refused("RSA 1.5", "saml.encryption", sealed({ transport: "rsa-1_5" })),
  refused(
    "RSA 1.5 inside of a signed response",
    "saml.encryption",
    sealed({ transport: "rsa-1_5" }, { by: "both" }),
  ),
  refused(
    "triple DES",
    "saml.encryption",
    sealed({ contentMethod: "http://www.w3.org/2001/04/xmlenc#tripledes-cbc" }),
    { connection: legacy },
  ),
  refused(
    "GCM named CBC",
    "saml.decryption",
    sealed({ contentMethod: "http://www.w3.org/2001/04/xmlenc#aes256-cbc" }),
    { connection: legacy },
  ),
  refused("OAEP with two hashes", "saml.encryption", sealed({ transport: "oaep", hash: "sha256" })),
  refused("encrypted for somebody else", "saml.decryption", async () =>
    response(encrypted(await signed(assertion(), "Assertion"), (await strangeKey()).certificate)),
  ),
  refused("changed ciphertext", "saml.decryption", async () => changedCiphertext(await sealed()())),
  refused("not encrypted, though assertions must be", "saml.encryption", () => good(), {
    connection: async () => ({ saml: { wantEncrypted: true } }),
  }),
  refused(
    "encrypted something that is no assertion",
    "saml.root",
    sealed({}, { by: "response", plain: "<x xmlns='urn:x'/>" }),
    { connection: byResponse },
  ),
  refused(
    "encrypted an entity bomb",
    "saml.doctype",
    sealed({}, { by: "response", plain: '<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>' }),
    { connection: byResponse },
  ),
  refused("an identifier encrypted for somebody else", "saml.decryption", async () =>
    good({ nameId: await secretId(undefined, strangeKey()) }),
  ),
  refused("an encrypted identifier that nobody signed", "saml.signature", async () =>
    (await good()).replace(/<saml:NameID.*?<\/saml:NameID>/, await secretId()),
  ),
  refused("two encrypted identifiers", "saml.encryption", async () =>
    good({ nameId: (await secretId()) + (await secretId()) }),
  ),
  refused("an encrypted identifier of who confirms", "saml.encryption", async () =>
    good({
      confirmations: confirmation().replace(
        "<saml:SubjectConfirmationData",
        `${await secretId()}$&`,
      ),
    }),
  ),
  refused("an encrypted identifier that is an assertion", "saml.encryption", async () =>
    good({ nameId: await secretId(assertion()) }),
  ),
  refused("an encrypted identifier with an entity in it", "saml.doctype", async () =>
    good({ nameId: await secretId('<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>') }),
  ),
  refused("encrypted data in an attribute", "saml.encryption", () =>
    good({
      attributes: attribute("x", '<x:EncryptedData xmlns:x="http://www.w3.org/2001/04/xmlenc#"/>'),
    }),
  ),
];

const bomb = `<!DOCTYPE lolz [<!ENTITY a "ha">${Array.from({ length: 9 }, (_, n) => `<!ENTITY ${String.fromCodePoint(98 + n)} "${`&${String.fromCodePoint(97 + n)};`.repeat(10)}">`).join("")}]>`;

const XML: readonly Case[] = [
  refused(
    "a document type",
    "saml.doctype",
    async () => `<!DOCTYPE samlp:Response>${await good()}`,
  ),
  refused(
    "a billion laughs",
    "saml.doctype",
    async () => `${bomb}${(await good()).replace("ada-0001", "&j;")}`,
  ),
  refused(
    "an external entity",
    "saml.doctype",
    async () =>
      `<!DOCTYPE x [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]>${(await good()).replace("ada-0001", "&x;")}`,
  ),
  refused(
    "a parameter entity",
    "saml.doctype",
    async () => `<!DOCTYPE x [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>${await good()}`,
  ),
  refused("an entity that nobody declared", "saml.xml", altered("ada-0001", "&x;")),
  refused(
    "a comment in the NameID (CVE-2018-0489)",
    "saml.comment",
    altered("ada-0001", "ada<!---->-0001"),
  ),
  refused(
    "a comment in an attribute",
    "saml.comment",
    altered("ada@example.com", "ada@example.com<!-- -->.mallory.example"),
  ),
  refused(
    "a comment in the DigestValue",
    "saml.comment",
    altered("<ds:DigestValue>", "<ds:DigestValue><!---->"),
  ),
  refused(
    "a comment anywhere",
    "saml.comment",
    altered("<samlp:Status>", "<!-- hello --><samlp:Status>"),
  ),
  refused(
    "a CDATA section in the NameID",
    "saml.cdata",
    altered("ada-0001", "<![CDATA[ada-0001]]>"),
  ),
  refused(
    "a CDATA section elsewhere",
    "saml.cdata",
    altered("ada@example.com", "<![CDATA[]]>ada@example.com"),
  ),
  refused(
    "a processing instruction in the NameID",
    "saml.processing_instruction",
    altered("ada-0001", "ada<?x?>-0001"),
  ),
  refused(
    "a stylesheet",
    "saml.processing_instruction",
    async () => `<?xml-stylesheet href="x"?>${await good()}`,
  ),
  refused(
    "a second XML declaration",
    "saml.processing_instruction",
    async () => `<?xml version="1.0"?><?xml version="1.0"?>${await good()}`,
  ),
  refused("two roots", "saml.xml", async () => `${await good()}${await good()}`),
  refused("text behind the root", "saml.xml", async () => `${await good()}x`),
  refused("an open element", "saml.xml", async () =>
    (await good()).replace("</samlp:Response>", ""),
  ),
  refused(
    "an attribute twice",
    "saml.xml",
    altered('Version="2.0"', 'Version="2.0" Version="2.0"'),
  ),
  refused("an attribute without quotes", "saml.xml", altered('Version="2.0"', "Version=2.0")),
  refused("a zero byte", "saml.xml", altered("ada-0001", "ada\0-0001")),
  refused("a zero character reference", "saml.xml", altered("ada-0001", "ada&#0;-0001")),
  refused("half a surrogate pair", "saml.xml", altered("ada-0001", "ada&#xD800;-0001")),
  refused(
    "the encoding UTF-16 declared",
    "saml.xml",
    async () => `<?xml version="1.0" encoding="UTF-16"?>${await good()}`,
  ),
  refused("nothing", "saml.xml", async () => " "),
  refused("JSON", "saml.xml", async () => '{"NameID":"admin"}'),
  refused("20,000 elements in one another", "saml.limits", async () =>
    response(`${"<a>".repeat(20_000)}${"</a>".repeat(20_000)}`),
  ),
  refused("40 elements in one another", "saml.limits", async () =>
    response(`${"<a>".repeat(40)}${"</a>".repeat(40)}`),
  ),
  refused("5,000 attributes", "saml.limits", async () =>
    response(`<a ${Array.from({ length: 5_000 }, (_, n) => `a${n}=""`).join(" ")}/>`),
  ),
  refused("2 MB of padding", "saml.size", async () =>
    (await good()).replace("<samlp:Status>", `${" ".repeat(2_000_000)}<samlp:Status>`),
  ),
  {
    name: "bytes that are not UTF-8",
    rule: "saml.utf8",
    make: async () =>
      posted(Buffer.from(await good({ attributes: attribute("cn", "ä") }), "latin1")),
  },
  {
    name: "UTF-16",
    rule: "saml.utf8",
    make: async () => posted(Buffer.from(`\uFEFF${await good()}`, "utf16le")),
  },
  {
    name: "Base64 with spaces",
    rule: "saml.base64",
    make: async () => posted(await good()).replace(/(.{8})/, "$1 "),
  },
  {
    name: "Base64 with a sign that is none",
    rule: "saml.base64",
    make: async () => posted(await good()).replace(/(.{8})/, "$1!"),
  },
  {
    name: "base64url",
    rule: "saml.base64",
    make: async () => `${posted(await good()).slice(0, -4)}_-_-`,
  },
  {
    name: "Base64 with bits to spare",
    rule: "saml.base64",
    make: async () => posted(randomBytes(1)).replace(/.==$/, "B=="),
  },
  { name: "XML as it is", rule: "saml.base64", make: () => good() },
];

const other = "https://other.example/acs";

const TARGETS: readonly Case[] = [
  refused("a Destination elsewhere", "saml.destination", () => good({}, { destination: other })),
  refused("no Destination", "saml.destination", () => good({}, { destination: undefined })),
  refused("our own address with a slash more", "saml.destination", () =>
    good({}, { destination: `${SITE.acs}/` }),
  ),
  refused("a Recipient elsewhere", "saml.recipient", () =>
    good({ confirmations: confirmation({ recipient: other }) }),
  ),
  refused("no audience", "saml.audience", () => good({ conditions: conditions("") })),
  refused("the audience of another", "saml.audience", () =>
    good({ conditions: conditions(audience(other)) }),
  ),
  refused("our audience in one of two restrictions", "saml.audience", () =>
    good({ conditions: conditions(audience(SITE.metadata) + audience(other)) }),
  ),
  refused("the response of another issuer", "saml.issuer", () =>
    good({}, { issuer: "<saml:Issuer>https://mallory.example</saml:Issuer>" }),
  ),
  refused("the assertion of another issuer", "saml.issuer", () =>
    good({ issuer: "https://mallory.example" }),
  ),
  refused("a signed response without issuer", "saml.issuer", async () =>
    signed(await good({}, { issuer: "" }), "Response", { behind: "Status" }),
  ),
  refused("an answer to another request", "saml.in_response_to", () =>
    good({ confirmations: confirmation({ inResponseTo: "_other" }) }, { inResponseTo: "_other" }),
  ),
  refused("an answer to no request", "saml.in_response_to", () =>
    good({ confirmations: confirmation({ inResponseTo: null }) }, { inResponseTo: undefined }),
  ),
  refused("a confirmation that answers another request", "saml.in_response_to", () =>
    good({ confirmations: confirmation({ inResponseTo: "_other" }) }),
  ),
  refused("a confirmation that answers no request", "saml.in_response_to", () =>
    good({ confirmations: confirmation({ inResponseTo: null }) }),
  ),
  refused(
    "an answer, and no request was made",
    "saml.in_response_to",
    () => good({ confirmations: confirmation({ inResponseTo: "" }) }, { inResponseTo: "" }),
    { secrets: {} },
  ),
  refused("a response of SAML 1.1", "saml.version", () => good({}, { version: "1.1" })),
  refused("an assertion of SAML 1.1", "saml.version", () => good({ version: "1.1" })),
  refused("no bearer confirmation", "saml.subject_confirmation", () =>
    good({ confirmations: confirmation({ method: "sender-vouches" }) }),
  ),
  refused("two bearer confirmations", "saml.subject_confirmation", () =>
    good({ confirmations: confirmation({ recipient: other }) + confirmation() }),
  ),
  refused("a bearer confirmation without end", "saml.subject_confirmation", () =>
    good({ confirmations: confirmation({ until: null }) }),
  ),
  refused("an ended confirmation", "saml.expired", () =>
    good({ confirmations: confirmation({ until: at(-61) }) }),
  ),
  refused("a confirmation for later", "saml.not_yet_valid", () =>
    good({ confirmations: confirmation({ more: `NotBefore="${at(120)}"` }) }),
  ),
  refused("ended conditions", "saml.expired", () =>
    good({ conditions: conditions(audience(SITE.metadata), { until: at(-61) }) }),
  ),
  refused("conditions for later", "saml.not_yet_valid", () =>
    good({ conditions: conditions(audience(SITE.metadata), { from: at(70) }) }),
  ),
  refused("an old assertion that is still good", "saml.expired", () => good({ issued: at(-400) })),
  refused("an old response", "saml.expired", () => good({}, { issued: at(-400) })),
  refused("an assertion of tomorrow", "saml.not_yet_valid", () => good({ issued: at(86_400) })),
  refused("a session that has ended", "saml.expired", () =>
    good({ statements: statement({ more: `SessionNotOnOrAfter="${at(-61)}"` }) }),
  ),
  refused("a time without zone", "saml.instant", () => good({ issued: "2026-01-01T00:00:00" })),
  refused("a time that is none", "saml.instant", () =>
    good({ conditions: conditions(audience(SITE.metadata), { until: "9999-99-99T99:99:99Z" }) }),
  ),
  refused("no conditions", "saml.conditions", () => good({ conditions: " " })),
  refused("conditions twice", "saml.conditions", () =>
    good({ conditions: conditions() + conditions() }),
  ),
  refused("a condition that nobody knows", "saml.conditions", () =>
    good({ conditions: conditions(`${audience(SITE.metadata)}<saml:Condition/>`) }),
  ),
  refused("nobody signed in", "saml.authn_statement", () => good({ statements: " " })),
  refused(
    "not signed in anew, though asked",
    "saml.force_authn",
    () => good({ statements: statement({ instant: at(-3600) }) }),
    { secrets: { request_id: REQUEST_ID, forced_at: String(Math.floor(Date.now() / 1000)) } },
  ),
  refused("signed in by another way than asked", "saml.authn_context", () => good(), {
    connection: async () => ({ settings: { authn_context: ["https://refeds.org/profile/mfa"] } }),
  }),
  ...["AuthnFailed", "RequestDenied", "NoPassive"].map((code) =>
    refused(`the status ${code}`, "saml.status", async () =>
      response("", {
        status: `<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Responder"><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:${code}"/></samlp:StatusCode></samlp:Status>`,
      }),
    ),
  ),
  refused("a bad status over a good assertion", "saml.status", () =>
    good(
      {},
      {
        status:
          '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Requester"/></samlp:Status>',
      },
    ),
  ),
  refused("no status", "saml.status", () => good({}, { status: "" })),
  refused("a transient NameID", "saml.subject", () =>
    good({ nameId: nameId("x", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient") }),
  ),
  refused("an address as NameID", "saml.subject", () =>
    good({
      nameId: nameId("ada@example.com", "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"),
    }),
  ),
  refused("a NameID of no said format", "saml.subject", () =>
    good({ nameId: "<saml:NameID>ada</saml:NameID>" }),
  ),
  refused("no NameID", "saml.subject", () => good({ nameId: " " })),
  refused("a NameID that is too long", "saml.subject", () =>
    good({ nameId: nameId("x".repeat(256)) }),
  ),
  refused("no attribute that says who", "saml.subject", () => good(), {
    connection: async () => ({ settings: { subject_attribute: "uid" } }),
  }),
  refused(
    "two values of the attribute that says who",
    "saml.subject",
    () => good({ attributes: attribute("uid", "ada", "admin") }),
    { connection: async () => ({ settings: { subject_attribute: "uid" } }) },
  ),
];

export const CORPUS: readonly Case[] = [
  ...GOOD,
  ...WRAPPED,
  ...HIDDEN,
  ...IDS,
  ...SIGNATURES,
  ...WEAK,
  ...XML,
  ...TARGETS,
];
