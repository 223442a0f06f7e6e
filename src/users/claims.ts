import type { TransactionOrKnex } from "objection";
import type { AccountClaims } from "oidc-provider";
import { isUuid } from "../lib/uuid.ts";
import { User } from "../models/user.ts";

/** The user of a subject identifier with everything claims are made of. */
export async function findUserWithClaims(
  db: TransactionOrKnex,
  sub: string,
): Promise<User | undefined> {
  if (!isUuid(sub)) return undefined;
  return User.query(db).findById(sub).withGraphJoined("[emails, profile]");
}

/** Everything we could say about a user (OIDC Core §5.1); the engine releases what scopes and consent allow. */
export function claimsOf(user: User): AccountClaims {
  const { profile, primaryEmail } = user;
  const claims: Record<string, unknown> = {
    sub: user.id,
    name: profile?.displayName ?? fullName(user),
    given_name: profile?.givenName,
    middle_name: profile?.middleName,
    family_name: profile?.familyName,
    nickname: profile?.nickname,
    preferred_username: user.username,
    profile: profile?.profileUrl,
    picture: profile?.pictureUrl,
    website: profile?.website,
    gender: profile?.gender,
    birthdate: profile?.birthdate,
    zoneinfo: profile?.zoneinfo,
    locale: profile?.locale,
    updated_at: Math.floor((profile?.updatedAt ?? user.updatedAt).getTime() / 1000),
    email: primaryEmail?.email,
    email_verified: primaryEmail && primaryEmail.verifiedAt !== null,
    phone_number: profile?.phoneNumber,
    phone_number_verified: profile?.phoneNumber ? false : undefined,
    address: profile?.address,
  };
  for (const [name, value] of Object.entries(claims)) {
    if (value === undefined || value === null) delete claims[name];
  }
  return { ...claims, sub: user.id };
}

function fullName(user: User): string | undefined {
  const name = [user.profile?.givenName, user.profile?.familyName].filter(Boolean).join(" ");
  return name === "" ? undefined : name;
}
