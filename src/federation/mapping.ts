import type { IdentityProvider } from "../models/identity-provider.ts";

/** A mapping of values of a provider to what is ours, and the claim in which the provider has them. */
interface Mapping {
  /** The value of theirs for each of ours. */
  readonly values: Readonly<Record<string, string>>;
  /** The setting that names the claim, and the claim unless it does. */
  readonly setting: "groups_claim" | "roles_claim";
  readonly usual: string;
}

/**
 * What of ours a provider says that somebody has. Nothing of it counts but the values of the mapping, each for one of
 * ours (T-96).
 *
 * @returns undefined where it does not say anything, not even that there is none.
 */
export function mapped(
  { settings }: Pick<IdentityProvider, "settings">,
  claims: Readonly<Record<string, unknown>>,
  { values, setting, usual }: Mapping,
): string[] | undefined {
  const named = settings[setting];
  const claim = typeof named === "string" ? named : usual;
  const said = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  if (said == null) return undefined;
  const all = new Set<unknown>([said].flat());
  return Object.entries(values).flatMap(([ours, theirs]) => (all.has(theirs) ? [ours] : []));
}
