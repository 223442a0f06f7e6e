import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { errors } from "../errors.ts";
import { Group } from "../models/group.ts";
import { GroupMember } from "../models/group-member.ts";

/** Who changes a group, for the audit. */
type Actor = NewEvent["actor"];
const SYSTEM: Actor = { type: "system" };
const MAX_NAME = 100;

/** A group and how many people are in it. */
export interface ListedGroup {
  readonly group: Group;
  readonly members: number;
}

/**
 * Adds a group. Its name is what apps see in the claim `groups`.
 *
 * @throws AppError `bad_request` for a name that cannot be one, `group_exists`
 */
export async function createGroup(
  db: TransactionOrKnex,
  { name: typed, requireSecondFactor }: { name: string; requireSecondFactor: boolean },
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<Group> {
  const name = typed.normalize("NFC").trim();
  if (name === "" || Array.from(name).length > MAX_NAME || /\p{Cc}/u.test(name))
    throw errors.badRequest(
      `A group's name has 1 to ${MAX_NAME} characters and no control characters.`,
    );
  try {
    // A statement that may fail is in a savepoint of its own.
    const group = await db.transaction(async (trx) =>
      Group.query(trx).insertAndFetch({ name, requireSecondFactor }),
    );
    await note(db, "group.created", group.id, { actor });
    return group;
  } catch (error) {
    if (error instanceof UniqueViolationError) throw errors.groupExists(name);
    throw error;
  }
}

/** All of them, by name. */
export async function listGroups(db: TransactionOrKnex): Promise<ListedGroup[]> {
  const groups = await Group.query(db).orderBy("name");
  const counts = (await GroupMember.query(db)
    .select("groupId")
    .countDistinct("userId as members")
    .groupBy("groupId")) as unknown as { groupId: string; members: string }[];
  return groups.map((group) => {
    const found = counts.find(({ groupId }) => groupId === group.id);
    return { group, members: Number(found?.members ?? 0) };
  });
}

/** @throws AppError `unknown_group` */
export async function requireSecondFactorOf(
  db: TransactionOrKnex,
  name: string,
  requireSecondFactor: boolean,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<Group> {
  const group = await findGroup(db, name);
  await Group.query(db).findById(group.id).patch({ requireSecondFactor });
  await note(db, "group.updated", group.id, { actor });
  return findGroup(db, name);
}

/** Its members lose nothing else. @throws AppError `unknown_group` */
export async function deleteGroup(
  db: TransactionOrKnex,
  name: string,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<void> {
  const { id } = await findGroup(db, name);
  await Group.query(db).deleteById(id);
  await note(db, "group.deleted", id, { actor });
}

/**
 * Makes somebody a member by hand, whatever identity providers say.
 *
 * @returns whether they were not one by hand before.
 * @throws AppError `unknown_group`
 */
export async function addMember(
  db: TransactionOrKnex,
  name: string,
  userId: string,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<boolean> {
  const { id: groupId } = await findGroup(db, name);
  const rows = await Group.statement(
    db,
    `INSERT INTO group_members (group_id, user_id) VALUES (:groupId, :userId) ON CONFLICT DO NOTHING RETURNING 1`,
    { groupId, userId },
  );
  if (rows.length === 1)
    await note(db, "group.member_added", groupId, { actor, userId, details: { via: "operator" } });
  return rows.length === 1;
}

/**
 * Takes a membership by hand back. What an identity provider says stays.
 *
 * @returns whether there was one.
 * @throws AppError `unknown_group`
 */
export async function removeMember(
  db: TransactionOrKnex,
  name: string,
  userId: string,
  { actor = SYSTEM }: { actor?: Actor } = {},
): Promise<boolean> {
  const { id: groupId } = await findGroup(db, name);
  const removed = await GroupMember.query(db).delete().where({ groupId, userId, identityId: null });
  const details = { via: "operator" };
  if (removed === 1) await note(db, "group.member_removed", groupId, { actor, userId, details });
  return removed === 1;
}

/** @throws AppError `unknown_group` */
export async function findGroup(db: TransactionOrKnex, name: string): Promise<Group> {
  const group = await Group.query(db).findOne({ name: name.normalize("NFC").trim() });
  if (group === undefined) throw errors.unknownGroup(name);
  return group;
}

async function note<
  Type extends
    | "group.created"
    | "group.updated"
    | "group.deleted"
    | "group.member_added"
    | "group.member_removed",
>(
  db: TransactionOrKnex,
  type: Type,
  id: string,
  about: Pick<NewEvent<Type>, "actor" | "userId" | "details">,
): Promise<void> {
  await record<Type>(db, { ...about, type, target: { type: "group", id } });
}
