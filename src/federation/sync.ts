import type { TransactionOrKnex } from "objection";
import type { Seal } from "../keys/seal.ts";
import { Identity } from "../models/identity.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { addressOf } from "./addresses.ts";
import type { UpstreamIdentity } from "./connector.ts";
import { followGroups } from "./groups.ts";
import { joinOrganization } from "./organizations.ts";
import { followRoles } from "./roles.ts";
import { nameIn, saveProfile } from "./profile.ts";
import { keepTokens } from "./tokens.ts";

/**
 * What each sign-in brings up to date: what the provider calls the person, which is kept beside their account; their
 * profile, where the connection syncs it or the account is new; their groups, organization and roles; and the tokens.
 * Their addresses here, and how they sign in, are theirs alone to change.
 */
export async function bringUpToDate(
  db: TransactionOrKnex,
  {
    provider,
    identity,
    seal,
    now,
  }: { provider: IdentityProvider; identity: UpstreamIdentity; seal: Seal; now: Date },
  { id: identityId, userId }: Identity,
  { isNew = false }: { isNew?: boolean } = {},
): Promise<Identity> {
  const { claims, tokens } = identity;
  const { email } = addressOf(identity) ?? {};
  const updated = await Identity.query(db)
    .patchAndFetchById(identityId, {
      email: email ?? null,
      emailVerified: email !== undefined && identity.emailVerified,
      name: nameIn(provider, claims) ?? null,
      lastLoginAt: now,
      updatedAt: now,
    })
    .throwIfNotFound();
  if (isNew || provider.syncProfile) await saveProfile(db, userId, { provider, claims, now });
  await followGroups(db, provider, updated, claims);
  await joinOrganization(db, provider, updated);
  await followRoles(db, provider, updated, claims);
  await keepTokens(db, seal, provider, { identityId, tokens, now });
  return updated;
}
