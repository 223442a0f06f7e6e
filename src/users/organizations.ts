import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { errors } from "../errors.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import { Organization } from "../models/organization.ts";
import { OrganizationMember } from "../models/organization-member.ts";

/** Who changes an organization, for the audit. */
type Actor = NewEvent["actor"];
const SYSTEM: Actor = { type: "system" };
const MAX_NAME = 100;
const SLUG = /^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$/;

/** An organization, how many people belong to it, and the slugs of the connections that its people sign in through. */
export interface ListedOrganization {
  readonly organization: Organization;
  readonly members: number;
  readonly connections: readonly string[];
}

/**
 * Adds an organization. Its slug is what apps see in the claim `organizations`.
 *
 * @throws AppError `bad_request` for a slug or a name that cannot be one, `organization_exists`
 */
export async function createOrganization(
  db: TransactionOrKnex,
  {
    slug,
    name: typed = slug,
    requireSecondFactor = false,
  }: { slug: string; name?: string | undefined; requireSecondFactor?: boolean | undefined },
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<Organization> {
  if (!SLUG.test(slug))
    throw errors.badRequest(
      "An organization is 1 to 50 lower-case letters, digits and hyphens, such as acme.",
    );
  const values = { slug, name: readName(typed), requireSecondFactor };
  try {
    // A statement that may fail is in a savepoint of its own.
    const organization = await db.transaction(async (trx) =>
      Organization.query(trx).insertAndFetch(values),
    );
    await note(db, "organization.created", organization.id, { actor });
    return organization;
  } catch (error) {
    if (error instanceof UniqueViolationError) throw errors.organizationExists(slug);
    throw error;
  }
}

/** All of them, by slug. */
export async function listOrganizations(db: TransactionOrKnex): Promise<ListedOrganization[]> {
  const organizations = await Organization.query(db).orderBy("slug");
  return Promise.all(organizations.map((organization) => withPeople(db, organization)));
}

/** @throws AppError `unknown_organization` */
export async function showOrganization(
  db: TransactionOrKnex,
  slug: string,
): Promise<ListedOrganization> {
  return withPeople(db, await findOrganization(db, slug));
}

/**
 * Changes what people read, or what is demanded of its members.
 *
 * @throws AppError `unknown_organization`, `bad_request`
 */
export async function updateOrganization(
  db: TransactionOrKnex,
  slug: string,
  {
    name,
    requireSecondFactor,
  }: { name?: string | undefined; requireSecondFactor?: boolean | undefined },
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<Organization> {
  const { id } = await findOrganization(db, slug);
  const changes = {
    ...(name === undefined ? {} : { name: readName(name) }),
    ...(requireSecondFactor === undefined ? {} : { requireSecondFactor }),
  };
  const organization = await Organization.query(db)
    .patchAndFetchById(id, changes)
    .throwIfNotFound();
  await note(db, "organization.updated", id, { actor, details: { fields: Object.keys(changes) } });
  return organization;
}

/**
 * Its people stay; their roles inside it go.
 *
 * @throws AppError `unknown_organization`, `organization_in_use` where people sign in through a connection of it
 */
export async function deleteOrganization(
  db: TransactionOrKnex,
  slug: string,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<void> {
  const { id } = await findOrganization(db, slug);
  const connections = await connectionsOf(db, id);
  if (connections.length > 0) throw errors.organizationInUse(connections.join(", "));
  await Organization.query(db).deleteById(id);
  await note(db, "organization.deleted", id, { actor });
}

/**
 * Makes somebody a member by hand, who stays one whatever identities they have.
 *
 * @returns whether they were not one by hand before.
 * @throws AppError `unknown_organization`
 */
export async function addToOrganization(
  db: TransactionOrKnex,
  slug: string,
  userId: string,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<boolean> {
  const { id: organizationId } = await findOrganization(db, slug);
  const isAdded = await OrganizationMember.add(db, { organizationId, userId });
  const details = { via: "operator" };
  if (isAdded)
    await note(db, "organization.member_added", organizationId, { actor, userId, details });
  return isAdded;
}

/**
 * Takes a membership by hand back, and with it the roles inside. Who signs in through a connection of the organization
 * becomes a member again.
 *
 * @returns whether there was one by hand.
 * @throws AppError `unknown_organization`
 */
export async function removeFromOrganization(
  db: TransactionOrKnex,
  slug: string,
  userId: string,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<boolean> {
  const { id: organizationId } = await findOrganization(db, slug);
  const by = { organizationId, userId, identityId: null };
  const isRemoved = (await OrganizationMember.query(db).delete().where(by)) === 1;
  const details = { via: "operator" };
  if (isRemoved)
    await note(db, "organization.member_removed", organizationId, { actor, userId, details });
  return isRemoved;
}

/** @throws AppError `unknown_organization` */
export async function findOrganization(db: TransactionOrKnex, slug: string): Promise<Organization> {
  const organization = await Organization.query(db).findOne({ slug });
  if (organization === undefined) throw errors.unknownOrganization(slug);
  return organization;
}

async function withPeople(
  db: TransactionOrKnex,
  organization: Organization,
): Promise<ListedOrganization> {
  const { id: organizationId } = organization;
  const members = await OrganizationMember.query(db).where({ organizationId }).resultSize();
  return { organization, members, connections: await connectionsOf(db, organizationId) };
}

async function connectionsOf(db: TransactionOrKnex, organizationId: string): Promise<string[]> {
  const connections = await IdentityProvider.query(db).where({ organizationId }).orderBy("slug");
  return connections.map(({ slug }) => slug);
}

function readName(typed: string): string {
  const name = typed.normalize("NFC").trim();
  if (name === "" || Array.from(name).length > MAX_NAME || /\p{Cc}/u.test(name))
    throw errors.badRequest(
      `An organization's name has 1 to ${MAX_NAME} characters and no control characters.`,
    );
  return name;
}

async function note<
  Type extends
    | "organization.created"
    | "organization.updated"
    | "organization.deleted"
    | "organization.member_added"
    | "organization.member_removed",
>(
  db: TransactionOrKnex,
  type: Type,
  id: string,
  about: Pick<NewEvent<Type>, "actor" | "userId" | "details">,
): Promise<void> {
  await record<Type>(db, { ...about, type, target: { type: "organization", id } });
}
