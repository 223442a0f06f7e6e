import { createPublicKey } from "node:crypto";
import type { UpstreamError } from "../connector.ts";
import { isAllowedSignature, verifyWith } from "./algorithms.ts";
import { decrypt } from "./encryption.ts";
import { broken } from "./failure.ts";
import { lint } from "./lint.ts";
import { decodePost, decodeRedirect } from "./message.ts";
import type { MetadataJob } from "./metadata.ts";
import { DS, REQUEST_DENIED, SAML, SUCCESS } from "./names.ts";
import {
  readAssertion,
  readEnvelope,
  readLogoutRequest,
  readStatus,
  type Assertion,
  type Envelope,
  type LogoutRequest,
  type OpenId,
  type Status,
} from "./read.ts";
import { signedBytes } from "./signatures.ts";
import { elementsIn, parseXml, type XmlDocument } from "./xml.ts";

/** What messages of one provider are verified by. */
export interface Trust {
  /** PEM, from its metadata. */
  readonly certificates: readonly string[];
  readonly allowsLegacy: boolean;
}

/** How a message came. */
export type Message =
  | { readonly binding: "post"; readonly text: string }
  /** With the query as it came, undecoded, because that is what was signed (SAML Bindings §3.4.4.1). */
  | { readonly binding: "redirect"; readonly query: string };

export interface ResponseJob {
  readonly task: "response";
  readonly text: string;
  readonly trust: Trust;
  readonly wantsResponseSigned: boolean;
  readonly wantsAssertionSigned: boolean;
  readonly wantsEncrypted: boolean;
  /** Ours, as PEM: for any of these an assertion may be encrypted. */
  readonly privateKeys: readonly string[];
}

export interface VerifiedResponse {
  readonly response: Envelope;
  readonly assertion: Assertion;
  readonly isEncrypted: boolean;
}

export interface LogoutJob {
  readonly task: "logout";
  readonly message: Message;
  readonly trust: Trust;
  readonly privateKeys: readonly string[];
}

export type VerifiedLogout =
  | { readonly kind: "request"; readonly request: LogoutRequest }
  | { readonly kind: "response"; readonly response: Envelope; readonly status: Status };

/** Looks at a response without believing anything in it. */
export interface PeekJob {
  readonly task: "peek";
  readonly text: string;
}

export interface Peek {
  readonly issuer: string | undefined;
  readonly inResponseTo: string | undefined;
}

export type Job = ResponseJob | LogoutJob | PeekJob | MetadataJob;

/**
 * Verifies a Response and reads its assertion from the signed bytes (SAML Profiles §4.1.4.3). What it says is not yet
 * held against what was asked: that is `checks.ts`.
 */
export function verifyResponse(job: ResponseJob): VerifiedResponse {
  const { trust } = job;
  const document = parseXml(decodePost(job.text));
  // Said before all else, because refusals are seldom signed, and nothing but the refusal is taken from one.
  if (document.root.localName === "Response") refuseFailure(readStatus(document.root));
  const { assertion, isEncrypted } = lint(document.root, ["Response"], trust);
  if (assertion === undefined) throw broken("saml.assertions", "The response has no assertion.");
  if (job.wantsEncrypted && !isEncrypted)
    throw broken(
      "saml.encryption",
      "The assertion is not encrypted.",
      "Let the provider encrypt assertions for the certificate in our metadata.",
    );
  const isSigned = hasSignature(document.root);
  if (!isSigned && (job.wantsResponseSigned || !job.wantsAssertionSigned))
    throw unsigned("response", "Let the provider sign its responses.");
  // From here on, what is signed is all there is.
  const outer = isSigned ? verifiedPart(document, document.root, trust) : document;
  const response = readEnvelope(outer.root, isSigned);
  const inner = isEncrypted
    ? decrypted(outer, isSigned, job)
    : { document: outer, element: lint(outer.root, ["Response"], trust).assertion as Element };
  return { response, assertion: assertionIn(inner, job), isEncrypted };
}

interface Place {
  readonly document: XmlDocument;
  readonly element: Element;
}

function assertionIn({ document, element }: Place, job: ResponseJob): Assertion {
  const open = openId(job);
  if (hasSignature(element))
    return readAssertion(verifiedPart(document, element, job.trust).root, open);
  if (job.wantsAssertionSigned)
    throw unsigned(
      "assertion",
      "Let the provider sign assertions, or set want_assertions_signed to false: then its responses must be signed.",
    );
  return readAssertion(element, open);
}

/** Opens an identifier that was encrypted for us, inside of what is signed (SAML Core §2.2.4). */
function openId({ privateKeys, trust }: Pick<ResponseJob, "privateKeys" | "trust">): OpenId {
  const { allowsLegacy } = trust;
  return (encrypted) => {
    const { root } = parseXml(decrypt(encrypted, { privateKeys, allowsLegacy, isSigned: true }));
    if (root.localName === "NameID" && root.namespaceURI === SAML && elementsIn(root).length === 0)
      return root;
    throw broken("saml.encryption", `The encrypted identifier is a ${root.localName}.`);
  };
}

function decrypted(
  { root }: XmlDocument,
  isSigned: boolean,
  { trust, privateKeys }: ResponseJob,
): Place {
  const { assertion } = lint(root, ["Response"], trust);
  const { allowsLegacy } = trust;
  const document = parseXml(decrypt(assertion as Element, { privateKeys, allowsLegacy, isSigned }));
  lint(document.root, ["Assertion"], trust);
  return { document, element: document.root };
}

/** The signed bytes of an element as a document of its own. */
function verifiedPart(document: XmlDocument, element: Element, trust: Trust): XmlDocument {
  const part = parseXml(signedBytes(document, element, trust.certificates));
  if (part.root.localName !== element.localName || part.root.namespaceURI !== element.namespaceURI)
    throw broken("saml.signature", "Something else was signed.");
  return part;
}

/** Verifies a LogoutRequest or LogoutResponse; there is none without signature (SAML Profiles §4.4.4.1). */
export function verifyLogout(job: LogoutJob): VerifiedLogout {
  const { message, trust } = job;
  const isPost = message.binding === "post";
  const document = parseXml(
    isPost ? decodePost(message.text) : decodeRedirect(verifyQuery(message.query, trust)),
  );
  lint(document.root, ["LogoutRequest", "LogoutResponse"], trust);
  if (isPost && !hasSignature(document.root)) throw unsignedLogout();
  const { root } = isPost ? verifiedPart(document, document.root, trust) : document;
  return root.localName === "LogoutRequest"
    ? { kind: "request", request: readLogoutRequest(root, true, openId(job)) }
    : { kind: "response", response: readEnvelope(root, true), status: readStatus(root) };
}

/**
 * Verifies a query: its signature is over some of it as it came, in one order (SAML Bindings §3.4.4.1).
 *
 * @returns the message in it.
 */
function verifyQuery(query: string, { certificates, allowsLegacy }: Trust): string {
  const parts = partsOf(query);
  const value = (name: string) => decodeURIComponent(parts.get(name)?.slice(name.length + 1) ?? "");
  const name = parts.has("SAMLRequest") ? "SAMLRequest" : "SAMLResponse";
  if (!parts.has("Signature") || !parts.has("SigAlg")) throw unsignedLogout();
  const algorithm = value("SigAlg");
  if (!isAllowedSignature(algorithm, allowsLegacy))
    throw broken("saml.algorithm", `The signature algorithm ${algorithm} is not taken.`);
  const signed = [name, "RelayState", "SigAlg"].flatMap((one) => parts.get(one) ?? []).join("&");
  const signature = Buffer.from(value("Signature"), "base64");
  const isGood = certificates.some((certificate) =>
    verifyWith(algorithm, signed, createPublicKey(certificate), signature),
  );
  if (!isGood) throw broken("saml.signature", "The signature of the query is wrong.");
  return value(name);
}

/** The parts of a query by name, undecoded. What is there twice would leave open which of them was read. */
function partsOf(query: string): Map<string, string> {
  const parts = new Map<string, string>();
  for (const part of query.split("&")) {
    const name = part.split("=", 1)[0] ?? "";
    if (parts.has(name)) throw broken("saml.query", `The query has ${name} twice.`);
    parts.set(name, part);
  }
  if (parts.has("SAMLRequest") === parts.has("SAMLResponse"))
    throw broken("saml.query", "The query does not have one message.");
  return parts;
}

export function peek({ text }: PeekJob): Peek {
  const { root } = parseXml(decodePost(text));
  lint(root, ["Response"], { allowsLegacy: true });
  const { issuer, inResponseTo } = readEnvelope(root, false);
  return { issuer, inResponseTo };
}

function hasSignature(element: Element): boolean {
  return elementsIn(element, DS, "Signature").length > 0;
}

function refuseFailure({ codes, message }: Status): void {
  if (codes[0] === SUCCESS) return;
  const said = [...codes, ...(message ? [message] : [])].join(", ");
  throw broken(
    "saml.status",
    said === "" ? "The response has no status." : `The provider answered ${said}.`,
    "What it means is in the provider's own log.",
    codes.includes(REQUEST_DENIED) ? "cancelled" : "refused",
  );
}

function unsignedLogout(): UpstreamError {
  return unsigned("logout message", "Let the provider sign its logout messages.");
}

function unsigned(what: string, hint: string): UpstreamError {
  return broken("saml.signature", `The ${what} is not signed.`, hint);
}
