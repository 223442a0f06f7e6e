import { LANGUAGES } from "../i18n/languages.ts";

/** What people read of a client, or open. */
export type LocalizedField = "client_name" | "policy_uri" | "tos_uri";
type Language = (typeof LANGUAGES)[number];

/**
 * A field in each language of the pages, named with the language's tag: `client_name#fr` (OIDC Registration §2.1, RFC
 * 7591 §2.2). Other languages are shown on no page.
 */
export function inEachLanguage<Field extends LocalizedField, Type>(
  field: Field,
  type: Type,
): Record<`${Field}#${Language}`, Type> {
  const fields = LANGUAGES.map((language) => [`${field}#${language}`, type]);
  return Object.fromEntries(fields) as Record<`${Field}#${Language}`, Type>;
}

/** The names of all of them. */
export const LOCALIZED_FIELDS = (["client_name", "policy_uri", "tos_uri"] as const).flatMap(
  (field) => Object.keys(inEachLanguage(field, true)),
);
