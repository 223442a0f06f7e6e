import { broken } from "./failure.ts";

/** How much of a document we look at. */
export interface XmlLimits {
  /** Most UTF-16 code units. */
  readonly length: number;
  /** Most elements, attributes and texts together. */
  readonly nodes: number;
  readonly depth: number;
}

/** Most attributes of one element, and most namespaces that are declared by one and those around it. */
const MAX_ATTRIBUTES = 64;
const MAX_NAMESPACES = 64;
/** Most names of elements: the parser looks for the end of each through the whole text. */
const MAX_NAMES = 128;

/** Tags (XML 1.0 §3.1), as far as it matters here; each pattern fails in a time that grows as the text does. */
const OPENING = /<([^\s<>/="'&]+)/y;
const ATTRIBUTE = /\s+([^\s<>/="'&]+)\s*=\s*(?:"[^"<]*"|'[^'<]*')/y;
const REST = /\s*(\/?)>/y;
const CLOSING = /<\/([^\s<>/="'&]+)\s*>/y;

/** An element that is open, and how many namespaces are declared by it and those around it. */
interface Open {
  readonly name: string;
  readonly namespaces: number;
}

/**
 * Looks over a text of elements and nothing else, before a parser makes anything of it: a parser may take far more time
 * than there is text, where elements and namespaces are inside of one another without end, or tags do not fit. This
 * takes as much time as there is text (T-104).
 *
 * @throws UpstreamError `saml.limits`; `saml.xml` where the tags do not fit together.
 */
export function scan(source: string, limits: XmlLimits): void {
  new Scan(source, limits).toTheEnd();
}

class Scan {
  readonly #source: string;
  readonly #limits: XmlLimits;
  readonly #open: Open[] = [];
  readonly #names = new Set<string>();
  #at = 0;
  #nodes = 0;

  constructor(source: string, limits: XmlLimits) {
    this.#source = source;
    this.#limits = limits;
  }

  toTheEnd(): void {
    while (this.#at < this.#source.length) {
      const next = this.#source.indexOf("<", this.#at);
      if (next !== this.#at) this.#count();
      if (next === -1) break;
      this.#at = next;
      const closing = this.#take(CLOSING);
      if (closing === undefined) this.#begin();
      else if (this.#open.pop()?.name !== closing) throw malformed("a tag closes another element");
    }
    if (this.#open.length > 0) throw malformed("an element is not closed");
  }

  #begin(): void {
    const name = this.#take(OPENING);
    if (name === undefined) throw malformed("a tag has no name");
    this.#count();
    if (this.#names.add(name).size > MAX_NAMES) throw tooMuch(`more than ${MAX_NAMES} names`);
    if (this.#open.length >= this.#limits.depth)
      throw tooMuch(`more than ${this.#limits.depth} elements in one another`);
    const namespaces = (this.#open.at(-1)?.namespaces ?? 0) + this.#attributes();
    if (namespaces > MAX_NAMESPACES) throw tooMuch(`more than ${MAX_NAMESPACES} namespaces`);
    const slash = this.#take(REST);
    if (slash === undefined) throw malformed("a tag has something else than attributes");
    if (slash === "") this.#open.push({ name, namespaces });
  }

  /** How many of the attributes declare a namespace. */
  #attributes(): number {
    const names: string[] = [];
    for (let name = this.#take(ATTRIBUTE); name !== undefined; name = this.#take(ATTRIBUTE)) {
      this.#count();
      names.push(name);
    }
    if (names.length > MAX_ATTRIBUTES) throw tooMuch(`more than ${MAX_ATTRIBUTES} attributes`);
    return names.filter((name) => name === "xmlns" || name.startsWith("xmlns:")).length;
  }

  /** What a pattern finds right here, which is then behind us. */
  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#source);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found[1];
  }

  #count(): void {
    this.#nodes += 1;
    if (this.#nodes > this.#limits.nodes) throw tooMuch(`more than ${this.#limits.nodes} nodes`);
  }
}

function tooMuch(what: string): Error {
  return broken("saml.limits", `The document has ${what}.`);
}

function malformed(why: string): Error {
  return broken("saml.xml", `The document is not well-formed: ${why}.`);
}
