import { match } from "@formatjs/intl-localematcher";

/** What is known about the language somebody wants, strongest first. */
export interface LanguageWishes {
  /** Chosen on a page of this very sign-in. */
  readonly chosen?: string | undefined;
  /** `ui_locales` of the request, best first (OIDC Core §3.1.2.1). */
  readonly uiLocales?: string | undefined;
  /** In the profile of who is signed in. */
  readonly own?: string | undefined;
  /** Chosen here some time ago. */
  readonly remembered?: string | undefined;
  /** Accept-Language, best first (RFC 9110 §12.5.4). */
  readonly accepted: readonly string[];
}

/**
 * The language to answer in: the strongest wish that one of the enabled languages meets, or else the first enabled
 * one. Wishes that nobody can meet, or that are no languages at all, are passed over and never an error.
 */
export function negotiateLocale(wishes: LanguageWishes, enabled: readonly string[]): string {
  const fallback = enabled[0] ?? "en";
  const requested = [
    wishes.chosen,
    ...(wishes.uiLocales?.split(" ") ?? []),
    wishes.own,
    wishes.remembered,
    ...wishes.accepted,
  ].filter((tag) => tag !== undefined && isLanguageTag(tag)) as string[];
  for (const tag of requested) {
    if (enabled.includes(tag)) return tag;
    const best = match([tag], [...enabled], "");
    if (best !== "") return best;
  }
  return fallback;
}

function isLanguageTag(tag: string): boolean {
  if (tag === "" || tag === "*") return false;
  try {
    return Intl.getCanonicalLocales(tag).length === 1;
  } catch {
    return false;
  }
}
