import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { errors } from "../errors.ts";
import { Group } from "../models/group.ts";
import { OrganizationMember } from "../models/organization-member.ts";
import { Role } from "../models/role.ts";
import { RoleAssignment, type HolderColumns } from "../models/role-assignment.ts";
import { findGroup } from "./groups.ts";
import { findOrganization } from "./organizations.ts";

/** Who changes a role, for the audit. */
type Actor = NewEvent["actor"];
const SYSTEM: Actor = { type: "system" };
const MAX_NAME = 100;
const SLUG = /^[a-z0-9][a-z0-9_:.-]{0,99}$/;

/**
 * Whom a role is given to: one person, or everybody in a group, by its name; everywhere, or inside an organization, by
 * its slug, where of a group those hold it who are members.
 */
export type Holder = ({ readonly userId: string } | { readonly group: string }) & {
  readonly organization?: string | undefined;
};

/** A role, how many people it was given to themselves, and the names of the groups whose people hold it. */
export interface ListedRole {
  readonly role: Role;
  readonly people: number;
  readonly groups: readonly string[];
}

/**
 * Adds a role. Its slug is what apps see in the claim `roles`.
 *
 * @throws AppError `bad_request` for a slug or a name that cannot be one, `role_exists`
 */
export async function createRole(
  db: TransactionOrKnex,
  { slug, name: typed = slug }: { slug: string; name?: string | undefined },
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<Role> {
  if (!SLUG.test(slug))
    throw errors.badRequest(
      "A role is 1 to 100 lower-case letters, digits and _ : . - and begins with a letter or a digit, such as billing:admin.",
    );
  const name = readName(typed);
  try {
    // A statement that may fail is in a savepoint of its own.
    const role = await db.transaction(async (trx) =>
      Role.query(trx).insertAndFetch({ slug, name }),
    );
    await note(db, "role.created", role.id, { actor });
    return role;
  } catch (error) {
    if (error instanceof UniqueViolationError) throw errors.roleExists(slug);
    throw error;
  }
}

/** All of them, by slug. */
export async function listRoles(db: TransactionOrKnex): Promise<ListedRole[]> {
  const roles = await Role.query(db).orderBy("slug");
  return Promise.all(roles.map((role) => withHolders(db, role)));
}

/** @throws AppError `unknown_role` */
export async function showRole(db: TransactionOrKnex, slug: string): Promise<ListedRole> {
  return withHolders(db, await getRole(db, slug));
}

/**
 * Changes what people read, or whether it gives anything. Switched off, it is in no answer from that moment on.
 *
 * @throws AppError `unknown_role`, `bad_request`
 */
export async function updateRole(
  db: TransactionOrKnex,
  slug: string,
  { name, isActive }: { name?: string | undefined; isActive?: boolean | undefined },
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<Role> {
  const { id } = await getRole(db, slug);
  const changes = {
    ...(name === undefined ? {} : { name: readName(name) }),
    ...(isActive === undefined ? {} : { isActive }),
  };
  const role = await Role.query(db).patchAndFetchById(id, changes).throwIfNotFound();
  await note(db, "role.updated", id, { actor, details: { fields: Object.keys(changes) } });
  return role;
}

/** With everything that was given of it. @throws AppError `unknown_role` */
export async function deleteRole(
  db: TransactionOrKnex,
  slug: string,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<void> {
  const { id } = await getRole(db, slug);
  await Role.query(db).deleteById(id);
  await note(db, "role.deleted", id, { actor });
}

/**
 * Gives a role by hand, whatever identity providers say.
 *
 * @returns whether it was not given by hand before.
 * @throws AppError `unknown_role`, `unknown_group`, `unknown_organization`, or `not_a_member` of it
 */
export async function assignRole(
  db: TransactionOrKnex,
  slug: string,
  holder: Holder,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<boolean> {
  const { id: roleId } = await getRole(db, slug);
  const to = await columnsOf(db, holder);
  await assertMember(db, holder.organization, to);
  const isAssigned = await RoleAssignment.add(db, { roleId, ...to });
  if (isAssigned) await noteChange(db, "role.assigned", roleId, { actor, ...to });
  return isAssigned;
}

/**
 * Takes back a role that was given by hand. What an identity provider says stays.
 *
 * @returns whether it was given by hand.
 * @throws AppError `unknown_role`, `unknown_group`, `unknown_organization`
 */
export async function unassignRole(
  db: TransactionOrKnex,
  slug: string,
  holder: Holder,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<boolean> {
  const { id: roleId } = await getRole(db, slug);
  const from = await columnsOf(db, holder);
  const taken = await RoleAssignment.query(db)
    .delete()
    .where({ roleId, ...from, identityId: null });
  if (taken === 1) await noteChange(db, "role.unassigned", roleId, { actor, ...from });
  return taken === 1;
}

async function getRole(db: TransactionOrKnex, slug: string): Promise<Role> {
  const role = await Role.query(db).findOne({ slug });
  if (role === undefined) throw errors.unknownRole(slug);
  return role;
}

async function withHolders(db: TransactionOrKnex, role: Role): Promise<ListedRole> {
  const given = RoleAssignment.query(db).where({ roleId: role.id });
  const [people] = (await given
    .clone()
    .countDistinct("userId as people")
    .whereNotNull("userId")) as unknown as { people: string }[];
  const groups = await Group.query(db)
    .whereIn("id", given.clone().select("groupId").whereNotNull("groupId"))
    .orderBy("name");
  return { role, people: Number(people?.people), groups: groups.map(({ name }) => name) };
}

async function columnsOf(db: TransactionOrKnex, holder: Holder): Promise<HolderColumns> {
  const { organization } = holder;
  const organizationId =
    organization === undefined ? null : (await findOrganization(db, organization)).id;
  if ("userId" in holder) return { userId: holder.userId, groupId: null, organizationId };
  return { userId: null, groupId: (await findGroup(db, holder.group)).id, organizationId };
}

/** What the database holds against the assignment once more. */
async function assertMember(
  db: TransactionOrKnex,
  organization: string | undefined,
  { userId, organizationId }: HolderColumns,
): Promise<void> {
  if (organization === undefined || userId === null || organizationId === null) return;
  const member = await OrganizationMember.query(db).findById([organizationId, userId]);
  if (member === undefined) throw errors.notAMember(organization);
}

function readName(typed: string): string {
  const name = typed.normalize("NFC").trim();
  if (name === "" || Array.from(name).length > MAX_NAME || /\p{Cc}/u.test(name))
    throw errors.badRequest(
      `A role's name has 1 to ${MAX_NAME} characters and no control characters.`,
    );
  return name;
}

async function noteChange(
  db: TransactionOrKnex,
  type: "role.assigned" | "role.unassigned",
  id: string,
  { actor, userId, groupId, organizationId }: HolderColumns & { readonly actor: Actor },
): Promise<void> {
  const details = {
    via: "operator",
    ...(groupId === null ? {} : { group: groupId }),
    ...(organizationId === null ? {} : { organization: organizationId }),
  };
  await note(db, type, id, { actor, ...(userId === null ? {} : { userId }), details });
}

async function note<
  Type extends
    | "role.created"
    | "role.updated"
    | "role.deleted"
    | "role.assigned"
    | "role.unassigned",
>(
  db: TransactionOrKnex,
  type: Type,
  id: string,
  about: Pick<NewEvent<Type>, "actor" | "userId" | "details">,
): Promise<void> {
  await record<Type>(db, { ...about, type, target: { type: "role", id } });
}
