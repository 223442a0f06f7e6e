import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import { Group } from "../models/group.ts";
import type { Identity } from "../models/identity.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";

/** The claim in which providers usually say it. */
const USUAL_CLAIM = "groups";

/**
 * Brings the memberships that a provider speaks for up to what it says now. Nothing of it counts but the values of the
 * connection's mapping, each for one group of ours (T-96); those by hand, and those of other identities, stay. There is
 * no value that makes anybody an administrator of this service: roles are granted here alone. A provider that says
 * nothing of groups, not even that there are none, lets nobody out of one that demands a second factor.
 */
export async function followGroups(
  db: TransactionOrKnex,
  provider: IdentityProvider,
  { id: identityId, userId }: Pick<Identity, "id" | "userId">,
  claims: Readonly<Record<string, unknown>>,
): Promise<void> {
  const said = valuesIn(provider, claims);
  const names = groupsOf(provider, said ?? []);
  const keepsDemanding = said === undefined;
  const { joined, left } = await Group.follow(db, { userId, identityId, names, keepsDemanding });
  const actor = { type: "system" } as const;
  const details = { via: provider.slug };
  for (const [type, ids] of [
    ["group.member_added", joined],
    ["group.member_removed", left],
  ] as const)
    for (const id of ids)
      await record(db, { type, actor, userId, target: { type: "group", id }, details });
}

/** What a provider says of somebody's groups; undefined where it does not say anything. */
function valuesIn(
  { settings }: IdentityProvider,
  claims: Readonly<Record<string, unknown>>,
): readonly unknown[] | undefined {
  const { groups_claim: named } = settings;
  const claim = typeof named === "string" ? named : USUAL_CLAIM;
  const said = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  return said == null ? undefined : [said].flat();
}

/** The groups of ours that stand for it. */
function groupsOf({ groupMapping }: IdentityProvider, said: readonly unknown[]): string[] {
  return Object.entries(groupMapping).flatMap(([name, value]) =>
    said.includes(value) ? [name] : [],
  );
}
