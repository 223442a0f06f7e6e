import { IntlMessageFormat } from "intl-messageformat";
import type { PSEUDO_LANGUAGES } from "./languages.ts";

type Elements = ReturnType<IntlMessageFormat["getAst"]>;
type PseudoLanguage = (typeof PSEUDO_LANGUAGES)[number];

/** The kind of an element that is only words (`TYPE.literal` of the parser). */
const LITERAL = 0;

const ACCENTED: Readonly<Record<string, string>> = {
  a: "á",
  e: "é",
  i: "í",
  o: "ó",
  u: "ú",
  y: "ý",
  A: "Á",
  E: "É",
  I: "Í",
  O: "Ó",
  U: "Ú",
  Y: "Ý",
};

/** Vowels with accents, and twice, so that words are about as long as a long language’s. */
function accented(words: string): string {
  return words.replaceAll(/[aeiouy]/gi, (vowel) => (ACCENTED[vowel] ?? vowel).repeat(2));
}

/** Letters from right to left, between U+202E and U+202C. */
function mirrored(words: string): string {
  return words.replace(/\S(?:.*\S)?/su, "\u202e$&\u202c");
}

const CHANGES: Readonly<Record<PseudoLanguage, (words: string) => string>> = {
  "en-XA": accented,
  "ar-XB": mirrored,
};

/** An English message in a pseudo-language: its words are changed, its gaps and plurals are what they were. */
export function pseudoMessage(
  text: string,
  language: PseudoLanguage,
  formats: ConstructorParameters<typeof IntlMessageFormat>[2],
): IntlMessageFormat {
  const english = new IntlMessageFormat(text, "en").getAst();
  return new IntlMessageFormat(changed(english, CHANGES[language]), "en", formats);
}

function changed(elements: Elements, change: (words: string) => string): Elements {
  return elements.map((element) => {
    const kind: number = element.type;
    if ("value" in element && kind === LITERAL) return { ...element, value: change(element.value) };
    if (!("options" in element)) return element;
    const options = Object.entries(element.options).map(([name, option]) => [
      name,
      { ...option, value: changed(option.value, change) },
    ]);
    return { ...element, options: Object.fromEntries(options) };
  });
}
