import { DOMParser } from "@xmldom/xmldom";
import { broken } from "./failure.ts";
import { scan, type XmlLimits } from "./scan.ts";

/** Enough for every message that is meant well (T-100). */
export const MESSAGE_LIMITS: XmlLimits = { length: 262_144, nodes: 5_000, depth: 32 };

/** What must not be in a message, because two readers could take it in two ways; found before anything is parsed. */
const FORBIDDEN: readonly (readonly [rule: string, start: RegExp, name: string])[] = [
  ["saml.doctype", /<!DOCTYPE|<!ENTITY/i, "a document type"],
  ["saml.cdata", /<!\[/, "a CDATA section"],
  ["saml.processing_instruction", /<\?/, "a processing instruction"],
  ["saml.comment", /<!/, "a comment"],
];

const DECLARATION = /^\s*<\?xml\s+version=["']1\.0["'](?:\s+encoding=["']([\w.-]+)["'])?[^<>?]*\?>/;
/** What is no character of XML 1.0 (§2.2). */
// oxlint-disable-next-line no-control-regex -- It looks for them.
const NO_CHARACTER = /[\0-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/;

const ELEMENT = 1;
const TEXT = 3;

/** A document, and the text that it was read from: what signatures in it are verified on. */
export interface XmlDocument {
  readonly root: Element;
  readonly source: string;
}

/**
 * Reads a message as elements, attributes and text, and nothing else. The parser is the one that signatures are
 * verified with, made strict: whatever it only warns of is an error.
 *
 * @throws UpstreamError with the broken rule: `saml.size`, `saml.doctype`, `saml.cdata`, `saml.comment`,
 *   `saml.processing_instruction`, `saml.limits`, `saml.xml`.
 */
export function parseXml(text: string, limits: XmlLimits = MESSAGE_LIMITS): XmlDocument {
  if (text.length > limits.length)
    throw broken("saml.size", `The document has ${text.length} characters.`);
  const encoding = DECLARATION.exec(text)?.[1];
  if (encoding !== undefined && !/^(?:utf-8|us-ascii)$/i.test(encoding))
    throw broken("saml.xml", `The document says that it is in ${encoding}, not UTF-8.`);
  const source = text.replace(DECLARATION, "").replaceAll(/\r\n?/g, "\n");
  for (const [rule, start, name] of FORBIDDEN)
    if (start.test(source)) throw broken(rule, `The document has ${name}.`);
  scan(source, limits);
  const root = parse(source);
  inspect(root);
  return { root, source };
}

function parse(body: string): Element {
  const refuse = (problem: unknown) => {
    throw broken("saml.xml", `The document is not well-formed: ${String(problem)}.`);
  };
  const errorHandler = { warning: refuse, error: refuse, fatalError: refuse };
  let found: Document | undefined;
  try {
    found = new DOMParser({ locator: {}, errorHandler }).parseFromString(body, "text/xml");
  } catch (error) {
    refuse(error instanceof Error ? error.message : error);
  }
  const around = childrenOf(found as Document);
  const [root, ...others] = around.filter(({ nodeType }) => nodeType === ELEMENT);
  const isAlone = around.every((node) => node === root || node.nodeValue?.trim() === "");
  if (root === undefined || others.length > 0 || !isAlone)
    throw broken("saml.xml", "The document is not exactly one element.");
  return root as Element;
}

function inspect(node: Node): void {
  if (node.nodeType === ELEMENT) inspectElement(node as Element);
  else inspectText(node);
  childrenOf(node).forEach(inspect);
}

function inspectText(node: Node): void {
  if (node.nodeType !== TEXT) throw broken("saml.xml", `The document has a ${node.nodeName}.`);
  inspectCharacters(node.nodeValue ?? "");
}

function inspectElement(element: Element): void {
  const attributes = attributesOf(element);
  for (const { prefix, namespaceURI } of [element, ...attributes])
    if (prefix && !namespaceURI) throw broken("saml.xml", `The prefix ${prefix} has no namespace.`);
  for (const { value } of attributes) inspectCharacters(value);
}

function inspectCharacters(text: string): void {
  if (NO_CHARACTER.test(text) || !text.isWellFormed())
    throw broken("saml.xml", "The document has a character that XML does not have.");
}

/** The nodes right inside of one. */
function childrenOf(node: Node): Node[] {
  const found: Node[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) found.push(child);
  return found;
}

export function attributesOf(element: Element): Attr[] {
  return Array.from({ length: element.attributes.length }, (_, at) =>
    element.attributes.item(at),
  ).filter((one) => one !== null);
}

/** The elements right inside of one; with a name, those that have it. */
export function elementsIn(parent: Element, namespace?: string, name?: string): Element[] {
  return childrenOf(parent).filter(
    (node): node is Element =>
      node.nodeType === ELEMENT &&
      (namespace === undefined || (node as Element).namespaceURI === namespace) &&
      (name === undefined || (node as Element).localName === name),
  );
}

/** The first element of a path from one, such as `[[SAML, "Subject"], [SAML, "NameID"]]`. */
export function elementAt(
  from: Element | undefined,
  ...path: readonly (readonly [namespace: string, name: string])[]
): Element | undefined {
  return path.reduce<Element | undefined>(
    (parent, step) => (parent === undefined ? undefined : elementsIn(parent, ...step)[0]),
    from,
  );
}

/** Every element of a document, in its order. */
export function everyElement(root: Element): Element[] {
  return [root, ...elementsIn(root).flatMap(everyElement)];
}

/** An attribute without namespace; `undefined` where it is not there. */
export function attribute(element: Element | undefined, name: string): string | undefined {
  return element?.hasAttribute(name) === true ? (element.getAttribute(name) ?? "") : undefined;
}

/** What is written in an element, without the space around it. */
export function textOf(element: Element | undefined): string | undefined {
  return element?.textContent?.trim();
}

/** Text that is XML already. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
}

type Piece = string | number | boolean | Markup | undefined | readonly Piece[];

/** Writes XML: whatever is put into it is escaped, unless it was written by this function itself. */
export function xml(parts: TemplateStringsArray, ...values: Piece[]): Markup {
  return new Markup(parts.reduce((text, part, at) => text + write(values[at - 1]) + part));
}

function write(piece: Piece): string {
  if (piece === undefined) return "";
  if (piece instanceof Markup) return piece.text;
  if (Array.isArray(piece)) return piece.map(write).join("");
  return String(piece).replaceAll(/[&<>"'\t\n\r]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
