import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import { Group } from "../models/group.ts";
import type { Identity } from "../models/identity.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { mapped } from "./mapping.ts";

/**
 * Brings the memberships that a provider speaks for up to what it says now; those by hand, and those of other
 * identities, stay. There is no value that makes anybody an administrator of this service: system roles are granted here
 * alone. A provider that says nothing of groups, not even that there are none, lets nobody out of one that demands a
 * second factor.
 */
export async function followGroups(
  db: TransactionOrKnex,
  provider: IdentityProvider,
  { id: identityId, userId }: Pick<Identity, "id" | "userId">,
  claims: Readonly<Record<string, unknown>>,
): Promise<void> {
  const values = provider.groupMapping;
  const said = mapped(provider, claims, { values, setting: "groups_claim", usual: "groups" });
  const following = { names: said ?? [], keepsDemanding: said === undefined };
  const { joined, left } = await Group.follow(db, { userId, identityId, ...following });
  const actor = { type: "system" } as const;
  const details = { via: provider.slug };
  for (const [type, ids] of [
    ["group.member_added", joined],
    ["group.member_removed", left],
  ] as const)
    for (const id of ids)
      await record(db, { type, actor, userId, target: { type: "group", id }, details });
}
