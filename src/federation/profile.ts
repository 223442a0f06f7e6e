import type { TransactionOrKnex } from "objection";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { UserProfile } from "../models/user-profile.ts";

type Claims = Readonly<Record<string, unknown>>;
type Mapping = Pick<IdentityProvider, "attributeMapping">;

/** Claims of OIDC Core §5.1 that a provider can fill in: the column that keeps each, and how long it may be. */
const CLAIMS = {
  name: { column: "displayName", limit: 200 },
  given_name: { column: "givenName", limit: 100 },
  middle_name: { column: "middleName", limit: 100 },
  family_name: { column: "familyName", limit: 100 },
  nickname: { column: "nickname", limit: 100 },
  profile: { column: "profileUrl", limit: 2048, isAddress: true },
  picture: { column: "pictureUrl", limit: 2048, isAddress: true },
  website: { column: "website", limit: 2048, isAddress: true },
  gender: { column: "gender", limit: 100 },
  birthdate: { column: "birthdate", limit: 10 },
  zoneinfo: { column: "zoneinfo", limit: 100 },
  locale: { column: "locale", limit: 35 },
  phone_number: { column: "phoneNumber", limit: 40 },
} as const satisfies Readonly<
  Record<string, { column: keyof UserProfile; limit: number; isAddress?: true }>
>;

/** What a provider calls somebody is kept beside their account, and nowhere else. */
const NAME = { limit: 200 };

/**
 * Keeps what a provider says about a person, as far as we have a place for it: from the claim that `attribute_mapping`
 * names, or from the one of the same name. What it does not say, or what cannot be one, leaves what is known. Never an
 * address, a username, a password or a role.
 */
export async function saveProfile(
  db: TransactionOrKnex,
  userId: string,
  { provider, claims, now }: { provider: Mapping; claims: Claims; now: Date },
): Promise<void> {
  const values: Record<string, string> = {};
  for (const [name, { column, ...kind }] of Object.entries(CLAIMS)) {
    const value = valueOf(provider, claims, name, kind);
    if (value !== undefined) values[column] = value;
  }
  if (Object.keys(values).length === 0) return;
  await UserProfile.query(db)
    .insert({ userId, ...values, updatedAt: now })
    .onConflict("userId")
    .merge({ ...values, updatedAt: now });
}

/** What a provider calls somebody. */
export function nameIn(provider: Mapping, claims: Claims): string | undefined {
  const said = (name: string) => valueOf(provider, claims, name, NAME);
  const whole = [said("given_name"), said("family_name")].filter(Boolean).join(" ");
  return said("name") ?? (whole.slice(0, NAME.limit) || said("preferred_username"));
}

/** Attributes of SAML may have several values; the first one counts. */
function valueOf(
  { attributeMapping }: Mapping,
  claims: Claims,
  name: string,
  { limit, isAddress = false }: { limit: number; isAddress?: boolean },
): string | undefined {
  const claim = attributeMapping[name] ?? name;
  const [said] = [Object.hasOwn(claims, claim) ? claims[claim] : undefined].flat();
  const text = typeof said === "string" ? said.normalize("NFC").trim() : "";
  if (text === "" || Array.from(text).length > limit || /\p{Cc}/u.test(text)) return undefined;
  if (isAddress && !(URL.canParse(text) && text.startsWith("https://"))) return undefined;
  return text;
}
