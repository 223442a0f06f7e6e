/** The languages that pages and mails are written in, each with a catalogue in `views/locales` (BCP 47). */
export const LANGUAGES = ["en", "de", "fr", "es", "pt-BR", "ja", "zh-Hans", "ar"] as const;

/** What machines make of English to put layouts under stress: accented and longer, or from right to left. */
export const PSEUDO_LANGUAGES = ["en-XA", "ar-XB"] as const;

/** Scripts that run from right to left. Engines disagree about this, so the list is ours. */
const RIGHT_TO_LEFT = new Set(["ar", "he", "fa", "ur", "ps", "ckb", "sd", "ug", "yi", "dv"]);

/** Which way the text of a language runs. */
export function directionOf(locale: string): "ltr" | "rtl" {
  return RIGHT_TO_LEFT.has(locale.split("-")[0] ?? "") ? "rtl" : "ltr";
}

/** What was asked for once: Node looks names up in a table that it opens each time. */
const names = new Map<string, string>();

/** A language's own name for itself, as an entry of a list. */
export function nameOf(locale: string): string {
  const known = names.get(locale) ?? lookUp(locale);
  names.set(locale, known);
  return known;
}

function lookUp(locale: string): string {
  if ((PSEUDO_LANGUAGES as readonly string[]).includes(locale)) return locale;
  const name = new Intl.DisplayNames([locale], { type: "language" }).of(locale) ?? locale;
  const [first = "", ...rest] = name;
  return first.toLocaleUpperCase(locale) + rest.join("");
}
