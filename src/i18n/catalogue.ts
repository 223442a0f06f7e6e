import { readFileSync } from "node:fs";
import { IntlMessageFormat } from "intl-messageformat";
import en from "../../views/locales/en.json" with { type: "json" };
import { directionOf, PSEUDO_LANGUAGES } from "./languages.ts";
import { pseudoMessage } from "./pseudo.ts";

/** The id of a message: a key of the English catalogue, so that a misspelt one does not compile. */
export type MessageId = keyof typeof en;
export type MessageValues = Readonly<Record<string, string | number>>;
/** Says a message in one language, with its gaps filled (ICU MessageFormat). The result is text, not HTML. */
export type Translate = (id: MessageId, values?: MessageValues) => string;

/** A message of one language, and the gaps whose values choose among its words. */
interface Message {
  readonly format: IntlMessageFormat;
  readonly choosers: ReadonlySet<string>;
}

type Elements = ReturnType<IntlMessageFormat["getAst"]>;
/** The kind of `{gap, select, …}` (`TYPE.select` of the parser). */
const SELECT = 5;

/** Moments are told in the one time that is the same for everybody, and say so. */
const FORMATS = {
  date: {
    medium: { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" },
    long: { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" },
  },
  time: {
    short: { hour: "numeric", minute: "numeric", timeZone: "UTC", timeZoneName: "short" },
  },
} as const;

/** The messages of every language, read once and compiled when first said. */
export class Catalogues {
  readonly #directory: URL;
  readonly #translators = new Map<string, Translate>();

  constructor(directory: URL = new URL("../../views/locales/", import.meta.url)) {
    this.#directory = directory;
  }

  /** How to say things in `locale`; a message that a language lacks is said in English. */
  translator(locale: string): Translate {
    let translate = this.#translators.get(locale);
    if (translate === undefined) {
      translate = this.#open(locale);
      this.#translators.set(locale, translate);
    }
    return translate;
  }

  #open(locale: string): Translate {
    const english: Readonly<Record<string, string>> = en;
    const pseudo = PSEUDO_LANGUAGES.find((tag) => tag === locale);
    const messages = pseudo === undefined ? this.#read(locale) : {};
    const compiled = new Map<MessageId, Message>();
    const direction = directionOf(locale);
    return (id, values = {}) => {
      let message = compiled.get(id);
      if (message === undefined) {
        const text = messages[id] ?? english[id] ?? id;
        const format =
          pseudo === undefined
            ? new IntlMessageFormat(text, locale, FORMATS)
            : pseudoMessage(text, pseudo, FORMATS);
        message = { format, choosers: choosersOf(format.getAst()) };
        compiled.set(id, message);
      }
      return String(message.format.format(isolate(values, message.choosers, direction)));
    };
  }

  #read(locale: string): Readonly<Record<string, string>> {
    return JSON.parse(readFileSync(new URL(`${locale}.json`, this.#directory), "utf8")) as Record<
      string,
      string
    >;
  }
}

/** Characters of scripts that run from right to left, and the invisible ones that turn text around. */
const TURNS = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]/;

/**
 * Keeps what fills a gap from turning the words around it: a name that runs the other way, or tries to, stays
 * within U+2068 and U+2069 (Unicode Bidirectional Algorithm §2.4). What chooses among words is no text.
 */
function isolate(
  values: MessageValues,
  choosers: ReadonlySet<string>,
  direction: "ltr" | "rtl",
): MessageValues {
  const one = (value: string) =>
    direction === "rtl" || TURNS.test(value) ? `\u2068${withoutTurns(value)}\u2069` : value;
  return Object.fromEntries(
    Object.entries(values).map(([gap, value]) => [
      gap,
      typeof value === "string" && !choosers.has(gap) ? one(value) : value,
    ]),
  );
}

/** A value that cannot leave its isolate. What was isolated in it before, as words of ours are, stays so. */
function withoutTurns(value: string): string {
  let depth = 0;
  let isClosed = true;
  for (const character of value) {
    if (/[\u2066-\u2068]/.test(character)) depth += 1;
    else if (character === "\u2069") depth -= 1;
    isClosed &&= depth >= 0;
  }
  isClosed &&= depth === 0;
  return value.replaceAll(isClosed ? /[\u202a-\u202e]/g : /[\u202a-\u202e\u2066-\u2069]/g, "");
}

/** The gaps of a message whose values choose among its words, `{gap, select, …}`. */
function choosersOf(elements: Elements): ReadonlySet<string> {
  const choosers = new Set<string>();
  for (const element of elements) {
    if (!("options" in element)) continue;
    const kind: number = element.type;
    if (kind === SELECT) choosers.add(element.value);
    for (const { value } of Object.values(element.options))
      for (const inner of choosersOf(value)) choosers.add(inner);
  }
  return choosers;
}
