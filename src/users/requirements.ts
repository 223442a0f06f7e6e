import type { Client } from "oidc-provider";
import type { TransactionOrKnex } from "objection";
import type { Issuer, SecondFactorPolicy } from "../issuers.ts";
import { UserProfile } from "../models/user-profile.ts";
import type { User } from "../models/user.ts";
import { claimsOf, scopesAskedFor } from "./claims.ts";
import { organizationOf } from "./organization-claims.ts";

/** Claims that people are asked for, by the column that keeps them (OIDC Core §5.1). */
const COLUMNS = {
  name: "displayName",
  given_name: "givenName",
  family_name: "familyName",
  nickname: "nickname",
  birthdate: "birthdate",
  phone_number: "phoneNumber",
} as const;

/** A claim that a person can be asked for. */
export type AskedClaim = keyof typeof COLUMNS;

const LIMITS: Readonly<Record<AskedClaim, number>> = {
  name: 200,
  given_name: 100,
  family_name: 100,
  nickname: 100,
  birthdate: 10,
  phone_number: 40,
};

/** What an issuer asks of people without a second step, and beside it what their groups and organizations ask. */
export function policyFor(
  policy: SecondFactorPolicy,
  { groups = [], organizations = [] }: Pick<User, "groups" | "organizations">,
): SecondFactorPolicy {
  const isRequired = [...groups, ...organizations].some((one) => one.requireSecondFactor);
  return isRequired ? { ...policy, required: true } : policy;
}

/** Whether a request is in the name of an organization of theirs whose members must have a second step. */
export function isInStrictName(
  user: User | undefined,
  params: Readonly<Record<string, unknown>>,
): boolean {
  const named = new Set(scopesAskedFor(params).map(organizationOf));
  return (user?.organizations ?? []).some(
    ({ slug, requireSecondFactor }) => requireSecondFactor && named.has(slug),
  );
}

/** Whether a person must verify the primary address, or name one, before they sign in to this client here. */
export function isUnverified(
  user: User,
  client: Client,
  issuer: Pick<Issuer, "requiresVerifiedEmail"> | undefined,
): boolean {
  const isDemanded =
    client["require_verified_email"] === true || issuer?.requiresVerifiedEmail === true;
  return isDemanded && (user.primaryEmail?.verifiedAt ?? null) === null;
}

/** What nobody signs in to a client without having said. */
export function requiredClaims(client: Client): AskedClaim[] {
  const required: unknown = client["required_claims"];
  return Array.isArray(required) ? required.filter(isAskedClaim) : [];
}

/**
 * What is demanded of a person and nobody knows: by the operator for this client, and by the client as essential
 * (OIDC Core §5.5.1), which people may keep to themselves.
 */
export function missingClaims(
  user: User | undefined,
  required: readonly AskedClaim[],
  params: Readonly<Record<string, unknown>> = {},
): { required: AskedClaim[]; essential: AskedClaim[] } {
  if (user === undefined) return { required: [], essential: [] };
  const essential = essentialClaims(params);
  if (required.length + essential.length === 0) return { required: [], essential: [] };
  const known: Readonly<Record<string, unknown>> = claimsOf(user, [...required, ...essential]);
  const isMissing = (claim: AskedClaim) => known[claim] === undefined;
  const missing = required.filter(isMissing);
  return {
    required: missing,
    essential: essential.filter((claim) => isMissing(claim) && !missing.includes(claim)),
  };
}

function essentialClaims({ claims }: Readonly<Record<string, unknown>>): AskedClaim[] {
  if (typeof claims !== "string") return [];
  // The engine has checked its form and refused anything else.
  const parts = Object.values(JSON.parse(claims) as Record<string, object>);
  const essential = parts.flatMap((part) =>
    Object.entries(part ?? {}).flatMap(([name, wish]) =>
      isAskedClaim(name) && (wish as { essential?: unknown } | null)?.essential === true
        ? [name]
        : [],
    ),
  );
  return [...new Set(essential)];
}

/** What a person typed for a claim, in the form in which it is kept; undefined where it cannot be one. */
export function readClaim(claim: AskedClaim, typed: string): string | undefined {
  const text = typed.normalize("NFC").trim();
  if (text === "" || Array.from(text).length > LIMITS[claim] || /\p{Cc}/u.test(text))
    return undefined;
  if (claim === "birthdate") return isDate(text) ? text : undefined;
  if (claim === "phone_number") return /^\+?[0-9][0-9 ().-]{3,}$/.test(text) ? text : undefined;
  return text;
}

/** Adds to what is known of a person, and the language in which they like to be written to. */
export async function saveClaims(
  db: TransactionOrKnex,
  userId: string,
  claims: Readonly<Partial<Record<AskedClaim, string>>>,
  now: Date,
  locale?: string,
): Promise<void> {
  const values: Partial<Record<(typeof COLUMNS)[AskedClaim] | "locale", string>> =
    locale === undefined ? {} : { locale };
  for (const [claim, value] of Object.entries(claims))
    if (isAskedClaim(claim)) values[COLUMNS[claim]] = value;
  const merged = { ...values, updatedAt: now };
  await UserProfile.query(db)
    .insert({ userId, ...merged })
    .onConflict("userId")
    .merge(merged);
}

export function isAskedClaim(name: unknown): name is AskedClaim {
  return typeof name === "string" && Object.hasOwn(COLUMNS, name);
}

/** A day that there was (OIDC Core §5.1, ISO 8601-1). */
function isDate(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return (
    /^\d{4}-\d{2}-\d{2}$/.test(text) &&
    !Number.isNaN(date.getTime()) &&
    date.toISOString().startsWith(text) &&
    date.getTime() < Date.now()
  );
}
