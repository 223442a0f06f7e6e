import type { Knex } from "knex";
import type { FindAccount } from "oidc-provider";
import { reader } from "../database/transaction.ts";
import { Organization } from "../models/organization.ts";
import { Role } from "../models/role.ts";
import { User } from "../models/user.ts";
import { claimsNamed, claimsOf, findUserWithClaims } from "../users/claims.ts";
import { takeKnown } from "./adapter/prefetch.ts";
import { affiliationOf } from "./organizations.ts";

/**
 * Answers the engine's question who a subject is. A user who is disabled or gone is nobody: the sign-in starts
 * again, and tokens that were issued stop working.
 */
export function findAccount(knex: Knex): FindAccount {
  return async (ctx, sub) => {
    const known = takeKnown("User", sub);
    const user = known
      ? User.withClaims(known.payload)
      : await findUserWithClaims(reader(knex), sub);
    if (user?.isActive !== true) return undefined;
    const { id: accountId, sessionsValidAfter } = user;
    return {
      accountId,
      sessionsValidAfter,
      user,
      async claims(use, scope, asked) {
        const names = claimsNamed(scope, asked);
        const db = reader(knex);
        const named = use === "id_token" ? { id_token: asked } : { userinfo: asked };
        const affiliation = await affiliationOf(knex, ctx, user.id, named);
        return claimsOf(user, names, {
          ...(affiliation && { affiliation }),
          ...(names.has("roles") && { roles: await Role.heldBy(db, user.id) }),
          ...(names.has("organizations") && {
            organizations: await Organization.of(db, user.id),
          }),
        });
      },
    };
  };
}
