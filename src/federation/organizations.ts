import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import type { Identity } from "../models/identity.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { OrganizationMember } from "../models/organization-member.ts";

/** Whoever signs in through a connection of an organization belongs to it, as long as they have that identity. */
export async function joinOrganization(
  db: TransactionOrKnex,
  { id: providerId, organizationId, slug: via }: IdentityProvider,
  { id: identityId, userId }: Pick<Identity, "id" | "userId">,
): Promise<void> {
  if (organizationId === null) return;
  const joined = await OrganizationMember.join(db, { providerId, userId, identityId });
  if (joined === undefined) return;
  await record(db, {
    type: "organization.member_added",
    actor: { type: "system" },
    userId,
    target: { type: "organization", id: joined },
    details: { via },
  });
}
