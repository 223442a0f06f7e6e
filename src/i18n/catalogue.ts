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
    const compiled = new Map<MessageId, IntlMessageFormat>();
    const isolated = isolate(directionOf(locale));
    return (id, values) => {
      let format = compiled.get(id);
      if (format === undefined) {
        const text = messages[id] ?? english[id] ?? id;
        format =
          pseudo === undefined ? new IntlMessageFormat(text, locale) : pseudoMessage(text, pseudo);
        compiled.set(id, format);
      }
      return String(format.format(values === undefined ? undefined : isolated(values)));
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
 * within U+2068 and U+2069 (Unicode Bidirectional Algorithm §2.4).
 */
function isolate(direction: "ltr" | "rtl"): (values: MessageValues) => MessageValues {
  const one = (value: string) =>
    direction === "rtl" || TURNS.test(value)
      ? `\u2068${value.replaceAll(/[\u202a-\u202e\u2066-\u2069]/g, "")}\u2069`
      : value;
  return (values) =>
    Object.fromEntries(
      Object.entries(values).map(([gap, value]) => [
        gap,
        typeof value === "string" ? one(value) : value,
      ]),
    );
}
