import { X509Certificate } from "node:crypto";
import { UpstreamError } from "../connector.ts";
import { lintMetadata } from "./lint.ts";
import { BINDINGS, DS, MD, SAMLP, type Binding } from "./names.ts";
import { signedBytes } from "./signatures.ts";
import { durationOf, instantOf } from "./time.ts";
import { attribute, elementAt, elementsIn, parseXml, textOf } from "./xml.ts";

/** Where an identity provider takes a kind of message. */
export interface Endpoint {
  readonly binding: Binding;
  readonly location: string;
  /** Where it takes answers, if not there (SAML Metadata §2.2.2). */
  readonly responseLocation: string;
}

/** What an identity provider says of itself (SAML Metadata §2.4.3), as far as we use it. */
export interface IdpMetadata {
  readonly entityId: string;
  /** Redirect first, where there is one. */
  readonly signOn: readonly Endpoint[];
  readonly logout: readonly Endpoint[];
  /** PEM of the certificates that it may sign with: several while it changes from one to the next. */
  readonly certificates: readonly string[];
  readonly wantsSignedRequests: boolean;
  readonly nameIdFormats: readonly string[];
  readonly validUntil: Date | undefined;
  /** Seconds for which it may be kept before one looks again. */
  readonly cacheDuration: number | undefined;
}

/** Reads metadata that somebody else wrote, where nothing waits for it. */
export interface MetadataJob {
  readonly task: "metadata";
  readonly xml: string;
  readonly entityId?: string | undefined;
  readonly signedBy?: string | undefined;
}

/** What the database holds of it. */
const LIMITS = { length: 1_048_576, nodes: 40_000, depth: 32 };

/**
 * Reads the metadata of an identity provider: an EntityDescriptor, or an EntitiesDescriptor that has it somewhere.
 *
 * @param entityId which of several; may be left out where there is one.
 * @param signedBy PEM of the certificate that all of it must be signed with; nothing else is taken from it then.
 * @throws UpstreamError `misconfigured` with a text for the operator.
 */
export function parseMetadata(xml: string, entityId?: string, signedBy?: string): IdpMetadata {
  const root = readRoot(xml, signedBy);
  const [chosen, ...others] = entitiesIn(root).filter(
    (entity) =>
      (entityId === undefined || attribute(entity, "entityID") === entityId) &&
      roleOf(entity) !== undefined,
  );
  if (chosen === undefined || others.length > 0) throw unclear(root, entityId);
  return read(chosen, roleOf(chosen) as Element);
}

function readRoot(xml: string, signedBy: string | undefined): Element {
  try {
    // Comments are usual in files that people write, and signatures leave them out as well.
    const document = parseXml(withoutComments(xml.replace(/^\uFEFF/, "")), LIMITS);
    if (signedBy === undefined) return document.root;
    lintMetadata(document.root);
    return parseXml(signedBytes(document, document.root, [signedBy]), LIMITS).root;
  } catch (cause) {
    if (!(cause instanceof UpstreamError)) throw cause;
    throw wrong(cause.message, "Give the metadata of the provider as it publishes it.", cause);
  }
}

/** The text without its comments, found in one go: one that does not end is left, and refused. */
function withoutComments(xml: string): string {
  const kept: string[] = [];
  let at = 0;
  for (let begin = xml.indexOf("<!--"); begin !== -1; begin = xml.indexOf("<!--", at)) {
    const end = xml.indexOf("-->", begin + 4);
    if (end === -1) break;
    kept.push(xml.slice(at, begin));
    at = end + 3;
  }
  return kept.join("") + xml.slice(at);
}

function read(entity: Element, role: Element): IdpMetadata {
  const entityId = attribute(entity, "entityID") ?? "";
  if (entityId === "" || entityId.length > 1024)
    throw wrong("The entity ID must have 1 to 1024 characters.");
  const certificates = certificatesOf(role);
  if (certificates.length === 0)
    throw wrong(`The provider ${entityId} has no signing certificate.`);
  const signOn = endpointsOf(role, "SingleSignOnService");
  if (signOn.length === 0)
    throw wrong(
      `The provider ${entityId} has no SingleSignOnService for HTTP-Redirect or HTTP-POST.`,
    );
  const scopes = [role, ...withParents(entity)];
  const ends = scopes.flatMap((scope) => endOf(scope) ?? []);
  const durations = scopes.flatMap((scope) => durationOf(attribute(scope, "cacheDuration")) ?? []);
  return {
    entityId,
    signOn,
    logout: endpointsOf(role, "SingleLogoutService"),
    certificates,
    wantsSignedRequests: ["true", "1"].includes(attribute(role, "WantAuthnRequestsSigned") ?? ""),
    nameIdFormats: elementsIn(role, MD, "NameIDFormat").flatMap((format) => textOf(format) ?? []),
    validUntil: ends.length === 0 ? undefined : new Date(Math.min(...ends) * 1000),
    cacheDuration: durations.length === 0 ? undefined : Math.min(...durations),
  };
}

function endOf(scope: Element): number | undefined {
  const text = attribute(scope, "validUntil");
  const end = instantOf(text);
  if (text !== undefined && end === undefined)
    throw wrong(`The validUntil is no instant in UTC: ${text}.`);
  return end;
}

/** Every EntityDescriptor, however deep (SAML Metadata §2.3.1). */
function entitiesIn(root: Element): Element[] {
  if (root.namespaceURI !== MD) return [];
  if (root.localName === "EntityDescriptor") return [root];
  return root.localName === "EntitiesDescriptor" ? elementsIn(root, MD).flatMap(entitiesIn) : [];
}

function roleOf(entity: Element): Element | undefined {
  return elementsIn(entity, MD, "IDPSSODescriptor").find((role) =>
    attribute(role, "protocolSupportEnumeration")?.split(/\s+/).includes(SAMLP),
  );
}

function withParents(entity: Element): Element[] {
  const parent = entity.parentNode;
  return parent?.nodeType === 1 ? [entity, ...withParents(parent as Element)] : [entity];
}

function endpointsOf(role: Element, name: string): Endpoint[] {
  const found = elementsIn(role, MD, name).flatMap((element): Endpoint[] => {
    const said = attribute(element, "Binding");
    const binding = (["redirect", "post"] as const).find((known) => BINDINGS[known] === said);
    if (binding === undefined) return [];
    const location = address(attribute(element, "Location"), name);
    const answers = attribute(element, "ResponseLocation");
    return [{ binding, location, responseLocation: answers ? address(answers, name) : location }];
  });
  return found.sort((a, b) => Number(a.binding === "post") - Number(b.binding === "post"));
}

/** Where a browser will be sent to. */
function address(text: string | undefined, name: string): string {
  const url = URL.parse(text ?? "");
  const isWeb = url !== null && ["https:", "http:"].includes(url.protocol) && url.username === "";
  if (text === undefined || !isWeb)
    throw wrong(`${name} has an address that is not https: ${text ?? "none"}.`);
  return text;
}

/** KeyDescriptor without a use is for both (SAML Metadata §2.4.1.1). */
function certificatesOf(role: Element): string[] {
  const keys = elementsIn(role, MD, "KeyDescriptor").filter(
    (key) => (attribute(key, "use") ?? "signing") === "signing",
  );
  const texts = keys.flatMap((key) =>
    elementsIn(key, DS, "KeyInfo")
      .flatMap((info) => elementsIn(info, DS, "X509Data"))
      .flatMap((data) => elementsIn(data, DS, "X509Certificate"))
      .map((certificate) => textOf(certificate) ?? ""),
  );
  return [...new Set(texts.map(pemOf))];
}

function pemOf(base64: string): string {
  try {
    return new X509Certificate(Buffer.from(base64, "base64")).toString();
  } catch (cause) {
    throw wrong("A signing certificate cannot be read.", undefined, cause);
  }
}

function unclear(root: Element, entityId: string | undefined): UpstreamError {
  const all = entitiesIn(root).filter((entity) => roleOf(entity) !== undefined);
  const names = all.slice(0, 5).map((entity) => attribute(entity, "entityID"));
  if (all.length === 0) {
    const isOurs = elementAt(root, [MD, "SPSSODescriptor"]) !== undefined;
    return wrong(
      "The metadata has no identity provider for SAML 2.0.",
      isOurs ? "This is the metadata of a service provider, perhaps our own." : undefined,
    );
  }
  return wrong(
    entityId === undefined
      ? `The metadata has ${all.length} identity providers, such as ${names.join(", ")}.`
      : `The metadata does not have exactly one ${entityId}, but ${names.join(", ")}.`,
    "Say which one with its entity ID.",
  );
}

function wrong(
  message: string,
  hint = "Ask the provider's administrator for metadata that is as SAML Metadata §2.4.3 has it.",
  cause?: unknown,
): UpstreamError {
  return new UpstreamError("misconfigured", "saml.metadata", message, { hint, cause });
}
