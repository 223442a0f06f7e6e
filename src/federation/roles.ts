import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import type { Identity } from "../models/identity.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { Role } from "../models/role.ts";
import { mapped } from "./mapping.ts";

/**
 * Brings the roles that a provider speaks for up to what it says now; those by hand, through groups and of other
 * identities stay. Who comes without a word of roles has none of it any more.
 */
export async function followRoles(
  db: TransactionOrKnex,
  provider: IdentityProvider,
  { id: identityId, userId, providerId }: Pick<Identity, "id" | "userId" | "providerId">,
  claims: Readonly<Record<string, unknown>>,
): Promise<void> {
  const values = provider.roleMapping;
  const slugs = mapped(provider, claims, { values, setting: "roles_claim", usual: "roles" }) ?? [];
  const { got, lost } = await Role.follow(db, { providerId, userId, identityId, slugs });
  const actor = { type: "system" } as const;
  const details = { via: provider.slug };
  for (const [type, ids] of [
    ["role.assigned", got],
    ["role.unassigned", lost],
  ] as const)
    for (const id of ids)
      await record(db, { type, actor, userId, target: { type: "role", id }, details });
}
