import type { TransactionOrKnex } from "objection";
import type { AccountClaims, ClaimsParameter } from "oidc-provider";
import { isUuid } from "../lib/uuid.ts";
import type { Affiliation } from "../models/organization.ts";
import type { Role } from "../models/role.ts";
import { User } from "../models/user.ts";
import { organizationItem } from "./organization-claims.ts";

/** What somebody holds beside what is theirs by themselves: everywhere, and in the organization of the request. */
interface Held {
  readonly roles?: readonly Role[];
  readonly organizations?: readonly Affiliation[];
  readonly affiliation?: Affiliation;
}

/** The scopes of OIDC Core §5.4 and three of ours, each with the claims it asks for. `openid` carries how the sign-in was done. */
export const CLAIMS_BY_SCOPE = {
  openid: ["sub", "acr", "amr", "auth_time"],
  profile: [
    "name",
    "given_name",
    "middle_name",
    "family_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
  ],
  email: ["email", "email_verified"],
  phone: ["phone_number", "phone_number_verified"],
  address: ["address"],
  groups: ["groups"],
  roles: ["roles"],
  organizations: ["organizations"],
} as const;

/**
 * The scopes of OpenID Connect that a person is asked about: those of the `scope` parameter, and those that stand for
 * what the `claims` parameter asks for one by one (OIDC Core §5.4, §5.5); and the organization that it names. Consent is
 * given by scope, however it was asked for. What nobody knows is ignored.
 */
export function scopesAskedFor(params: Readonly<Record<string, unknown>>): string[] {
  const named = wordsOf(params["scope"]).filter(isOidcScope);
  const byClaim = claimsAskedFor(params).flatMap((claim) => scopeOf(claim) ?? []);
  const organization = organizationItem(claimsIn(params));
  return [
    ...new Set([...named, ...byClaim, ...(organization === undefined ? [] : [organization])]),
  ];
}

/** A parameter that is a list of words separated by spaces (RFC 6749 §3.3). */
export function wordsOf(value: unknown): string[] {
  return typeof value === "string" ? value.split(" ").filter((word) => word !== "") : [];
}

function isOidcScope(scope: string): boolean {
  return scope === "offline_access" || Object.hasOwn(CLAIMS_BY_SCOPE, scope);
}

function claimsOfScope(scope: string): readonly string[] {
  return Object.hasOwn(CLAIMS_BY_SCOPE, scope)
    ? CLAIMS_BY_SCOPE[scope as keyof typeof CLAIMS_BY_SCOPE]
    : [];
}

/** The claims that the `claims` parameter names, for the ID token or for userinfo. */
export function claimsAskedFor(params: Readonly<Record<string, unknown>>): string[] {
  const { userinfo, id_token: idToken } = claimsIn(params) ?? {};
  return [...new Set([...Object.keys(userinfo ?? {}), ...Object.keys(idToken ?? {})])];
}

function claimsIn({ claims }: Readonly<Record<string, unknown>>): ClaimsParameter | undefined {
  // The engine has checked its form and refused anything else.
  return typeof claims === "string" ? (JSON.parse(claims) as ClaimsParameter) : undefined;
}

/** The scope that stands for a claim; none for those that say how somebody signed in. */
export function scopeOf(claim: string): string | undefined {
  const found = Object.entries(CLAIMS_BY_SCOPE).find(([, claims]) =>
    (claims as readonly string[]).includes(claim),
  );
  return found?.[0] === "openid" ? undefined : found?.[0];
}

/** The user of a subject identifier with everything claims are made of. */
export async function findUserWithClaims(
  db: TransactionOrKnex,
  sub: string,
): Promise<User | undefined> {
  if (!isUuid(sub)) return undefined;
  return User.findWithClaims(db, sub);
}

/** What each claim says (OIDC Core §5.1), or nothing where nobody knows. */
const SAID = new Map<string, (user: User, held: Held) => unknown>(
  Object.entries({
    name: (user) => user.profile?.displayName ?? fullName(user),
    given_name: ({ profile }) => profile?.givenName,
    middle_name: ({ profile }) => profile?.middleName,
    family_name: ({ profile }) => profile?.familyName,
    nickname: ({ profile }) => profile?.nickname,
    preferred_username: ({ username }) => username,
    profile: ({ profile }) => profile?.profileUrl,
    picture: ({ profile }) => profile?.pictureUrl,
    website: ({ profile }) => profile?.website,
    gender: ({ profile }) => profile?.gender,
    birthdate: ({ profile }) => profile?.birthdate,
    zoneinfo: ({ profile }) => profile?.zoneinfo,
    locale: ({ profile }) => profile?.locale,
    updated_at: (user) => Math.floor((user.profile?.updatedAt ?? user.updatedAt).getTime() / 1000),
    email: ({ primaryEmail }) => primaryEmail?.email,
    email_verified: ({ primaryEmail }) => primaryEmail && primaryEmail.verifiedAt !== null,
    phone_number: ({ profile }) => profile?.phoneNumber,
    phone_number_verified: ({ profile }) => (profile?.phoneNumber ? false : undefined),
    address: ({ profile }) => profile?.address,
    groups: ({ groups }) => groups?.map(({ name }) => name).toSorted(),
    roles: (_user, { roles }) => roles?.map(({ slug }) => slug),
    organizations: (_user, { organizations }) => organizations,
    org_id: (_user, { affiliation }) => affiliation?.id,
    org_roles: (_user, { affiliation }) => affiliation?.roles,
  } satisfies Record<string, (user: User, held: Held) => unknown>),
);

/** The claims that are asked for by scopes, and one by one. */
export function claimsNamed(scope: string, claims: object): Set<string> {
  return new Set([...scope.split(" ").flatMap(claimsOfScope), ...Object.keys(claims)]);
}

/**
 * What we can say about a user of what is asked for; the engine releases what scopes and consent allow.
 *
 * @param held what else they hold, where it was looked up.
 */
export function claimsOf(user: User, names: Iterable<string>, held: Held = {}): AccountClaims {
  const claims: AccountClaims = { sub: user.id };
  for (const name of names) {
    const value = SAID.get(name)?.(user, held) ?? undefined;
    if (value !== undefined) claims[name] = value;
  }
  return claims;
}

/** What a page calls a user. */
export function nameOf(user: User): string {
  return user.profile?.displayName ?? user.primaryEmail?.email ?? user.username ?? user.id;
}

function fullName(user: User): string | undefined {
  const name = [user.profile?.givenName, user.profile?.familyName].filter(Boolean).join(" ");
  return name === "" ? undefined : name;
}
