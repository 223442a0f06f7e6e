import type { ConsentScope } from "../views.ts";

/** What pages know how to explain, in the order in which they do. */
const EXPLAINED: readonly ConsentScope["name"][] = [
  "openid",
  "profile",
  "email",
  "phone",
  "address",
  "groups",
  "roles",
  "organizations",
  "offline_access",
];

/** The requested scopes that a page can say something about. */
export function explainedScopes(requested: readonly string[]): ConsentScope["name"][] {
  return EXPLAINED.filter((scope) => requested.includes(scope));
}
