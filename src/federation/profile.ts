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

type MappedClaim = keyof typeof CLAIMS;

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
  for (const name of Object.keys(CLAIMS) as MappedClaim[]) {
    const value = valueOf(provider, claims, name);
    if (value !== undefined) values[CLAIMS[name].column] = value;
  }
  if (Object.keys(values).length === 0) return;
  await UserProfile.query(db)
    .insert({ userId, ...values, updatedAt: now })
    .onConflict("userId")
    .merge({ ...values, updatedAt: now });
}

/** What a provider calls somebody. */
export function nameIn(provider: Mapping, claims: Claims): string | undefined {
  const parts = (["given_name", "family_name"] as const).map((name) =>
    valueOf(provider, claims, name),
  );
  return valueOf(provider, claims, "name") ?? (parts.filter(Boolean).join(" ") || undefined);
}

/** Attributes of SAML may have several values; the first one counts. */
function valueOf(
  { attributeMapping }: Mapping,
  claims: Claims,
  name: MappedClaim,
): string | undefined {
  const claim = attributeMapping[name] ?? name;
  const [said] = [Object.hasOwn(claims, claim) ? claims[claim] : undefined].flat();
  const { limit, ...kind } = CLAIMS[name];
  const text = typeof said === "string" ? said.normalize("NFC").trim() : "";
  if (text === "" || Array.from(text).length > limit || /\p{Cc}/u.test(text)) return undefined;
  if ("isAddress" in kind && !(URL.canParse(text) && text.startsWith("https://"))) return undefined;
  return text;
}
