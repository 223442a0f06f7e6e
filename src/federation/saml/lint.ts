import type { UpstreamError } from "../connector.ts";
import { broken } from "./failure.ts";
import { isAllowedCanonicalization, isAllowedDigest, isAllowedSignature } from "./algorithms.ts";
import { DS, ENVELOPED, MD, SAML, SAMLP, XENC } from "./names.ts";
import { attribute, attributesOf, elementsIn, everyElement } from "./xml.ts";

/** Elements that mean something to whoever verifies, and the only namespace in which they may be anywhere. */
const NAMESPACES: Readonly<Record<string, string>> = {
  Response: SAMLP,
  LogoutRequest: SAMLP,
  LogoutResponse: SAMLP,
  Assertion: SAML,
  EncryptedAssertion: SAML,
  EncryptedID: SAML,
  Signature: DS,
  EncryptedData: XENC,
};

/** An identifier that can stand in a reference without being read in another way. */
const ID = /^[A-Za-z_][\w.-]*$/;

export interface LintOptions {
  /** Whether SHA-1 will do. */
  readonly allowsLegacy: boolean;
}

/** What was found to be where it belongs. */
export interface Shape {
  readonly root: Element;
  readonly assertion: Element | undefined;
  readonly isEncrypted: boolean;
}

/**
 * Refuses documents that two readers could understand in two ways, before anything is verified (T-100): the root is
 * the expected message and the only one, there is at most one assertion and it is right inside, signatures are right
 * inside of what they sign, no identifier is there twice, and signatures say nothing that is not plain.
 *
 * @throws UpstreamError with the broken rule.
 */
export function lint(root: Element, names: readonly string[], options: LintOptions): Shape {
  if (![SAMLP, SAML].includes(root.namespaceURI ?? "") || !names.includes(root.localName))
    throw broken("saml.root", `The message is a ${root.localName}, not a ${names.join(" or ")}.`);
  const elements = everyElement(root);
  lintNamespaces(elements);
  lintIds(elements);
  if (elements.some((one) => one !== root && one.localName === root.localName))
    throw broken("saml.root", `There is a ${root.localName} inside of the ${root.localName}.`);
  const assertion = lintAssertions(root, elements);
  lintSignatures(elements, [root, ...(assertion === undefined ? [] : [assertion])], options);
  const isEncrypted = assertion?.localName === "EncryptedAssertion";
  lintEncryption(elements, [
    ...(isEncrypted ? [assertion] : []),
    ...lintIdentifiers(elements, [root, assertion]),
  ]);
  return { root, assertion, isEncrypted };
}

/** The same for metadata that is signed, where every entity may have a signature of its own. */
export function lintMetadata(root: Element): void {
  const elements = everyElement(root);
  lintNamespaces(elements);
  lintIds(elements);
  const places = elements.filter(
    ({ namespaceURI, localName }) =>
      namespaceURI === MD && ["EntityDescriptor", "EntitiesDescriptor"].includes(localName),
  );
  lintSignatures(elements, places, { allowsLegacy: false });
}

function lintNamespaces(elements: readonly Element[]): void {
  for (const { localName, namespaceURI } of elements) {
    const expected = Object.hasOwn(NAMESPACES, localName) ? NAMESPACES[localName] : namespaceURI;
    if (namespaceURI !== expected)
      throw broken("saml.namespace", `There is a ${localName} in the namespace ${namespaceURI}.`);
  }
}

/** An identifier is one however it is spelled: ID, Id, id, xml:id, wsu:Id. */
function lintIds(elements: readonly Element[]): void {
  const seen = new Set<string>();
  for (const element of elements) {
    const ids = attributesOf(element).filter(({ localName }) => localName.toLowerCase() === "id");
    if (ids.length > 1) throw broken("saml.duplicate_id", `A ${element.localName} has two IDs.`);
    const value = ids[0]?.value;
    if (value === undefined) continue;
    if (seen.has(value)) throw broken("saml.duplicate_id", `Two elements have the ID ${value}.`);
    seen.add(value);
  }
}

function lintAssertions(root: Element, elements: readonly Element[]): Element | undefined {
  const assertions = elements.filter(({ localName }) =>
    ["Assertion", "EncryptedAssertion"].includes(localName),
  );
  const [first, ...others] = assertions.filter((one) => one !== root);
  if (others.length > 0)
    throw broken("saml.assertions", `The message has ${assertions.length} assertions.`);
  const isAtHome = first?.parentNode === root && root.localName === "Response";
  if (first !== undefined && !isAtHome)
    throw broken("saml.assertions", "The assertion is not right inside of the message.");
  return first;
}

function lintSignatures(
  elements: readonly Element[],
  places: readonly Element[],
  options: LintOptions,
): void {
  const signatures = elements.filter(({ localName }) => localName === "Signature");
  for (const signature of signatures) {
    const signed = places.find((place) => place === signature.parentNode);
    if (signed === undefined)
      throw broken("saml.signature_place", "A signature is not right inside of what it signs.");
    if (elementsIn(signed, DS, "Signature").length > 1)
      throw broken("saml.signature_place", `The ${signed.localName} has two signatures.`);
    lintSignature(signature, signed, options);
  }
}

/** A signature as SAML Core §5.4 has it, and nothing beside. */
function lintSignature(signature: Element, signed: Element, { allowsLegacy }: LintOptions): void {
  const [info] = shaped(signature, ["SignedInfo", "SignatureValue", "KeyInfo?"]);
  const references = elementsIn(info as Element, DS, "Reference");
  if (references.length !== 1)
    throw broken("saml.reference", `A signature has ${references.length} references.`);
  const [canonicalization, method, reference] = shaped(info as Element, [
    "CanonicalizationMethod",
    "SignatureMethod",
    "Reference",
  ]);
  if (!isAllowedCanonicalization(algorithmOf(canonicalization)))
    throw weak("canonicalization", canonicalization);
  if (!isAllowedSignature(algorithmOf(method), allowsLegacy)) throw weak("signature", method);
  shaped(method as Element, []);
  lintReference(reference as Element, signed, allowsLegacy);
}

function lintReference(reference: Element, signed: Element, allowsLegacy: boolean): void {
  const id = attribute(signed, "ID");
  if (id === undefined || !ID.test(id) || attribute(reference, "URI") !== `#${id}`)
    throw broken("saml.reference", `A signature is not over the ${signed.localName} it is in.`);
  const [transforms, method] = shaped(reference, ["Transforms", "DigestMethod", "DigestValue"]);
  const [enveloped, canonical, ...others] = elementsIn(transforms as Element);
  const isPlain =
    others.length === 0 &&
    algorithmOf(enveloped) === ENVELOPED &&
    isAllowedCanonicalization(algorithmOf(canonical)) &&
    elementsIn(transforms as Element)
      .flatMap((one) => elementsIn(one))
      .every(isPrefixList);
  if (!isPlain)
    throw broken(
      "saml.transform",
      "A signature has other transforms than enveloped-signature and exclusive canonicalization.",
    );
  if (!isAllowedDigest(algorithmOf(method), allowsLegacy)) throw weak("digest", method);
}

/** The one parameter of canonicalization, which some signers write into every transform. */
function isPrefixList(parameter: Element): boolean {
  return parameter.localName === "InclusiveNamespaces" && elementsIn(parameter).length === 0;
}

/** The children, which must have these names in this order; a name with a question mark may be left out. */
function shaped(parent: Element, names: readonly string[]): Element[] {
  const children = elementsIn(parent);
  const found = children.map((child) => (child.namespaceURI === DS ? child.localName : ""));
  const all = names.map((name) => name.replace("?", ""));
  const required = names.filter((name) => !name.endsWith("?"));
  const fits = [all, required].some((list) => list.join(" ") === found.join(" "));
  if (!fits)
    throw broken(
      "saml.signature_shape",
      `A ${parent.localName} has ${found.join(", ") || "nothing"}.`,
    );
  return children;
}

/** Encrypted identifiers, of which there is one: that of whom the message is about (SAML Core §2.2.4). */
function lintIdentifiers(
  elements: readonly Element[],
  about: readonly (Element | undefined)[],
): Element[] {
  const places = about.flatMap((one) =>
    one === undefined
      ? []
      : one.localName === "LogoutRequest"
        ? [one]
        : elementsIn(one, SAML, "Subject"),
  );
  const found = elements.filter(({ localName }) => localName === "EncryptedID");
  if (found.length > 1 || found.some((one) => !places.some((place) => place === one.parentNode)))
    throw broken("saml.encryption", "Another identifier than that of the subject is encrypted.");
  return found;
}

function lintEncryption(elements: readonly Element[], places: readonly Element[]): void {
  const data = elements.filter(({ localName }) => localName === "EncryptedData");
  const parents = new Set(data.map(({ parentNode }) => parentNode));
  if (
    parents.size < data.length ||
    data.some((one) => !places.some((place) => place === one.parentNode))
  )
    throw broken(
      "saml.encryption",
      "Something else than the assertion or its subject is encrypted.",
    );
}

function algorithmOf(element: Element | undefined): string {
  return attribute(element, "Algorithm") ?? "";
}

function weak(kind: string, element: Element | undefined): UpstreamError {
  const algorithm = algorithmOf(element);
  const hint = algorithm.endsWith("sha1")
    ? "Let the provider sign with RSA and SHA-256; where it cannot, allow_legacy_crypto takes SHA-1."
    : "Let the provider sign with RSA or ECDSA and SHA-256, and exclusive canonicalization.";
  const message = `The ${kind} algorithm ${algorithm} is not taken.`;
  return broken("saml.algorithm", message, hint);
}
