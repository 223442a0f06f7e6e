import {
  constants,
  createCipheriv,
  publicEncrypt,
  randomBytes,
  X509Certificate,
  type CipherGCMTypes,
} from "node:crypto";
import type { Knex } from "knex";
import { SignedXml } from "xml-crypto";
import type { ConnectorSite } from "../../src/federation/connector.ts";
import { openSaml, type SamlConnector } from "../../src/federation/saml/connector.ts";
import { createSpKey, type SpKey } from "../../src/federation/saml/sp-key.ts";
import type { Seal } from "../../src/keys/seal.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { SamlConnection } from "../../src/models/saml-connection.ts";
import { testLog } from "./database.ts";

/** Ours, as a SAML provider of a test knows us. */
export const SITE: ConnectorSite = {
  callback: "https://id.example/federation/acme/callback",
  acs: "https://id.example/federation/acme/acs",
  slo: "https://id.example/federation/acme/slo",
  metadata: "https://id.example/federation/acme/metadata",
  jwks: "https://id.example/federation/acme/jwks",
  signedOut: "https://id.example/federation/acme/signed-out",
};
export const IDP = "https://idp.example/metadata";
export const REQUEST_ID = "_request";

const NAMESPACES =
  'xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"';
export const ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
export const EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";
export const RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
export const PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
export const SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success";

let shared: Promise<SpKey> | undefined;
/** A key that many tests use, because one takes half a second to make. */
export const sharedKey = (): Promise<SpKey> => (shared ??= createSpKey("https://idp.example"));

/** An instant some seconds from now, as SAML writes it. */
export function at(seconds = 0): string {
  return `${new Date(Date.now() + seconds * 1000).toISOString().slice(0, 19)}Z`;
}

/** What an assertion says; each can be replaced by itself. */
export interface AssertionParts {
  id?: string;
  version?: string;
  issued?: string;
  issuer?: string;
  nameId?: string;
  confirmations?: string;
  conditions?: string;
  statements?: string;
  attributes?: string;
  advice?: string;
}

export const nameId = (value = "ada-0001", format = PERSISTENT) =>
  `<saml:NameID Format="${format}">${value}</saml:NameID>`;

export function confirmation({
  method = "bearer",
  recipient = SITE.acs,
  inResponseTo = REQUEST_ID,
  until = at(300),
  more = "",
}: {
  method?: string;
  recipient?: string;
  inResponseTo?: string | null;
  until?: string | null;
  more?: string;
} = {}): string {
  const answer = inResponseTo === null ? "" : `InResponseTo="${inResponseTo}"`;
  const end = until === null ? "" : `NotOnOrAfter="${until}"`;
  return `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:${method}"><saml:SubjectConfirmationData Recipient="${recipient}" ${answer} ${end} ${more}/></saml:SubjectConfirmation>`;
}

export const audience = (...names: string[]) =>
  `<saml:AudienceRestriction>${names.map((one) => `<saml:Audience>${one}</saml:Audience>`).join("")}</saml:AudienceRestriction>`;

export const conditions = (
  inside = audience(SITE.metadata),
  { from = at(-30), until = at(300) } = {},
) => `<saml:Conditions NotBefore="${from}" NotOnOrAfter="${until}">${inside}</saml:Conditions>`;

export const statement = ({
  instant = at(-10),
  more = 'SessionIndex="_session"',
  classRef = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
} = {}) =>
  `<saml:AuthnStatement AuthnInstant="${instant}" ${more}><saml:AuthnContext><saml:AuthnContextClassRef>${classRef}</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`;

export const attribute = (name: string, ...values: string[]) =>
  `<saml:Attribute Name="${name}">${values.map((value) => `<saml:AttributeValue>${value}</saml:AttributeValue>`).join("")}</saml:Attribute>`;

/** An assertion that is good in every respect but those that are replaced. */
export function assertion(parts: AssertionParts = {}): string {
  const {
    id = `_a${randomBytes(12).toString("hex")}`,
    version = "2.0",
    issued = at(),
    issuer = IDP,
    attributes = attribute("mail", "ada@example.com"),
  } = parts;
  return `<saml:Assertion ${NAMESPACES} ID="${id}" Version="${version}" IssueInstant="${issued}"><saml:Issuer>${issuer}</saml:Issuer><saml:Subject>${parts.nameId ?? nameId()}${parts.confirmations ?? confirmation()}</saml:Subject>${parts.conditions ?? conditions()}${parts.advice ?? ""}${parts.statements ?? statement()}<saml:AttributeStatement>${attributes}</saml:AttributeStatement></saml:Assertion>`;
}

export interface ResponseParts {
  id?: string;
  version?: string;
  issued?: string;
  destination?: string | undefined;
  inResponseTo?: string | undefined;
  issuer?: string;
  status?: string;
  extensions?: string;
}

/** A response around something. */
export function response(inside: string, parts: ResponseParts = {}): string {
  const {
    id = `_r${randomBytes(12).toString("hex")}`,
    version = "2.0",
    issued = at(),
    issuer = `<saml:Issuer>${IDP}</saml:Issuer>`,
    status = `<samlp:Status><samlp:StatusCode Value="${SUCCESS}"/></samlp:Status>`,
    extensions = "",
  } = parts;
  const named = { destination: SITE.acs, inResponseTo: REQUEST_ID, ...parts };
  const destination = named.destination === undefined ? "" : `Destination="${named.destination}"`;
  const answer = named.inResponseTo === undefined ? "" : `InResponseTo="${named.inResponseTo}"`;
  return `<samlp:Response ${NAMESPACES} ID="${id}" Version="${version}" IssueInstant="${issued}" ${destination} ${answer}>${issuer}${extensions}${status}${inside}</samlp:Response>`;
}

export interface SignOptions {
  key?: { certificate: string; privateKey: string };
  signature?: string;
  digest?: string;
  transforms?: string[];
  canonicalization?: string;
  prefixes?: string[];
  /** The element that the signature goes behind. */
  behind?: string;
}

/** Signs the one element of this name, with the signature behind its issuer. */
export async function signed(
  xml: string,
  name: "Response" | "Assertion" | "LogoutRequest" | "LogoutResponse",
  options: SignOptions = {},
): Promise<string> {
  const { certificate, privateKey } = options.key ?? (await sharedKey());
  const signer = new SignedXml({
    privateKey,
    publicCert: certificate,
    signatureAlgorithm: options.signature ?? RSA_SHA256,
    canonicalizationAlgorithm: options.canonicalization ?? EXCLUSIVE,
  });
  signer.addReference({
    xpath: `//*[local-name()='${name}']`,
    transforms: options.transforms ?? [ENVELOPED, EXCLUSIVE],
    digestAlgorithm: options.digest ?? "http://www.w3.org/2001/04/xmlenc#sha256",
    ...(options.prefixes === undefined ? {} : { inclusiveNamespacesPrefixList: options.prefixes }),
  });
  const reference = `//*[local-name()='${name}']/*[local-name()='${options.behind ?? "Issuer"}']`;
  signer.computeSignature(xml, { prefix: "ds", location: { reference, action: "after" } });
  return signer.getSignedXml();
}

export interface EncryptOptions {
  cipher?: string;
  transport?: "oaep" | "oaep11" | "rsa-1_5";
  hash?: "sha1" | "sha256";
  /** The names that are written, where they are not those of what is done. */
  contentMethod?: string;
  isSibling?: boolean;
  element?: "EncryptedAssertion" | "EncryptedID";
}

const XENC = "http://www.w3.org/2001/04/xmlenc#";
const XENC11 = "http://www.w3.org/2009/xmlenc11#";
const HASHES = { sha1: "http://www.w3.org/2000/09/xmldsig#sha1", sha256: `${XENC}sha256` };

/** An EncryptedAssertion, or an EncryptedID, for a certificate (XML Encryption §4.1). */
export function encrypted(
  plain: string,
  certificate: string,
  {
    cipher = "aes-256-gcm",
    transport = "oaep",
    hash = "sha1",
    isSibling = false,
    element = "EncryptedAssertion",
    contentMethod,
  }: EncryptOptions = {},
): string {
  const isGcm = cipher.endsWith("gcm");
  const secret = randomBytes(Number(cipher.slice(4, 7)) / 8);
  const nonce = randomBytes(isGcm ? 12 : 16);
  const sealer = createCipheriv(cipher as CipherGCMTypes, secret, nonce);
  const body = Buffer.concat([nonce, sealer.update(plain), sealer.final()]);
  const content = isGcm ? Buffer.concat([body, sealer.getAuthTag()]) : body;
  const padding =
    transport === "rsa-1_5" ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_OAEP_PADDING;
  const key = publicEncrypt(
    { key: new X509Certificate(certificate).publicKey, padding, oaepHash: hash },
    secret,
  );
  const method = contentMethod ?? `${isGcm ? XENC11 : XENC}${cipher.replace("aes-", "aes")}`;
  const transports = {
    oaep: `<xenc:EncryptionMethod Algorithm="${XENC}rsa-oaep-mgf1p"><ds:DigestMethod Algorithm="${HASHES[hash]}"/></xenc:EncryptionMethod>`,
    oaep11: `<xenc:EncryptionMethod Algorithm="${XENC11}rsa-oaep"><ds:DigestMethod Algorithm="${HASHES[hash]}"/><xenc11:MGF xmlns:xenc11="${XENC11}" Algorithm="${XENC11}mgf1${hash}"/></xenc:EncryptionMethod>`,
    "rsa-1_5": `<xenc:EncryptionMethod Algorithm="${XENC}rsa-1_5"/>`,
  };
  const encryptedKey = `<xenc:EncryptedKey>${transports[transport]}<xenc:CipherData><xenc:CipherValue>${key.toString("base64")}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey>`;
  const [inside, beside] = isSibling ? ["", encryptedKey] : [encryptedKey, ""];
  return `<saml:${element} xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" xmlns:xenc="${XENC}" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><xenc:EncryptedData Type="${XENC}Element"><xenc:EncryptionMethod Algorithm="${method}"/><ds:KeyInfo>${inside}</ds:KeyInfo><xenc:CipherData><xenc:CipherValue>${content.toString("base64")}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>${beside}</saml:${element}>`;
}

/** Metadata of the provider of a test. */
export function metadata(
  certificates: readonly string[],
  {
    services = `<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example/sso"/>`,
    attributes = "",
    role = "",
    entityId = IDP,
  } = {},
): string {
  const keys = certificates.map(
    (pem) =>
      `<KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>${pem.replaceAll(/-----[^-]+-----/g, "")}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></KeyDescriptor>`,
  );
  return `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="${entityId}" ${attributes}><IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol" ${role}>${keys.join("")}<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example/slo" ResponseLocation="https://idp.example/slo/done"/>${services}</IDPSSODescriptor></EntityDescriptor>`;
}

/** What a connection of a test is like, where it is not the usual. */
export interface ConnectionOptions {
  certificates?: readonly string[];
  xml?: string;
  saml?: Partial<SamlConnection>;
  settings?: Record<string, unknown>;
  provider?: Partial<IdentityProvider>;
  fetch?: typeof fetch;
}

/** A connection as it is in memory. */
export async function aConnection(
  seal: Seal,
  { certificates, xml, saml = {}, settings = {}, provider = {} }: ConnectionOptions = {},
): Promise<IdentityProvider & { saml: SamlConnection }> {
  const key = await sharedKey();
  const id = provider.id ?? uuidv7();
  const place = { table: "saml_connections", column: "sp_private_key_enc", id };
  const connection = Object.assign(new SamlConnection(), {
    providerId: id,
    metadataUrl: null,
    metadataXml: xml ?? metadata(certificates ?? [key.certificate]),
    metadataFetchedAt: null,
    metadataValidUntil: null,
    pendingXml: null,
    nameIdFormat: null,
    signRequests: true,
    wantResponseSigned: false,
    wantEncrypted: false,
    allowIdpInitiated: false,
    allowLegacyCrypto: false,
    spCertificate: key.certificate,
    spPrivateKeyEnc: seal.encrypt(key.privateKey, place),
    ...saml,
  });
  return Object.assign(new IdentityProvider(), {
    id,
    slug: "acme",
    kind: "saml" as const,
    name: "Acme",
    issuer: IDP,
    settings,
    attributeMapping: {},
    ...provider,
    saml: connection,
  });
}

/** A connector for it. */
export async function aConnector(
  { knex, seal }: { knex: Knex; seal: Seal },
  options: ConnectionOptions = {},
): Promise<SamlConnector> {
  const provider = await aConnection(seal, options);
  const fetch = options.fetch ?? globalThis.fetch;
  return openSaml(provider, SITE, { knex, seal, log: testLog, fetch });
}

/** A message as a form has it. */
export const posted = (xml: string | Buffer) => Buffer.from(xml).toString("base64");
