import type { Knex } from "knex";
import type { FindAccount } from "oidc-provider";
import { reader } from "../database/transaction.ts";
import { claimsOf, findUserWithClaims } from "../users/claims.ts";

/** The scopes of OIDC Core §5.4, each with the claims it asks for. `openid` carries how the sign-in was done. */
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
} as const;

/**
 * Answers the engine's question who a subject is. A user who is disabled or gone is nobody: the sign-in starts
 * again, and tokens that were issued stop working.
 */
export function findAccount(knex: Knex): FindAccount {
  return async (_ctx, sub) => {
    const user = await findUserWithClaims(reader(knex), sub);
    if (user?.isActive !== true) return undefined;
    const { id: accountId, sessionsValidAfter } = user;
    return { accountId, sessionsValidAfter, claims: async () => claimsOf(user) };
  };
}
