import type { ClaimsParameter } from "oidc-provider";

/** What is said of the one organization that a request is in the name of; no scope asks for it. */
export const ORGANIZATION_CLAIMS = { org_id: null, org_roles: null } as const;

const ITEM = "urn:idp:org:";

/** The organizations, by their slugs, that a request names as the value of `org_id` (OIDC Core §5.5.1): one, or none. */
export function organizationsNamed(claims: ClaimsParameter | undefined): unknown[] {
  const values: unknown[] = [claims?.id_token, claims?.userinfo].map(
    (part) => part?.["org_id"]?.value,
  );
  return [...new Set(values.filter((value) => value != null))];
}

/** The item of consent for acting in an organization; each is a decision of its own. */
export function organizationItem(claims: ClaimsParameter | undefined): string | undefined {
  const [slug] = organizationsNamed(claims);
  return typeof slug === "string" ? `${ITEM}${slug}` : undefined;
}

/** The organization of an item of consent, by its slug. */
export function organizationOf(item: string): string | undefined {
  return item.startsWith(ITEM) ? item.slice(ITEM.length) : undefined;
}
