import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { removeFactors } from "../authn/factors.ts";
import { findByIdentifier, normaliseUsername, readIdentifier } from "../authn/identifier.ts";
import { normaliseEmail, type NormalisedEmail } from "../authn/normalise-email.ts";
import { errors } from "../errors.ts";
import { isUuid } from "../lib/uuid.ts";
import { SystemRole } from "../models/system-role.ts";
import { UserEmail } from "../models/user-email.ts";
import { UserPassword } from "../models/user-password.ts";
import { UserProfile } from "../models/user-profile.ts";
import { User } from "../models/user.ts";
import { terminateUser } from "./terminate.ts";

/** Who changes a user, for the audit. */
type Actor = NewEvent["actor"];

/** A person who is to be able to sign in. */
export interface NewUser {
  /** None where somebody else has it, or nobody knows one. */
  readonly email: string | undefined;
  /** Whether somebody has made sure that the address is this person's. */
  readonly verified: boolean;
  readonly displayName?: string | undefined;
  readonly username?: string | undefined;
  /** As it is stored, ours or an imported one; without one the person cannot sign in by password. */
  readonly passwordHash?: string | undefined;
  /** By which their authenticators know them, where a passkey was made before the account (WebAuthn §5.4.3). */
  readonly webauthnUserHandle?: Buffer | undefined;
  readonly via: User["createdVia"];
  readonly systemRoles?: readonly SystemRole["role"][];
  readonly actor?: Actor;
}

const SYSTEM: Actor = { type: "system" };
const RELATIONS = ["emails", "profile", "password", "systemRoles", "groups", "identities.provider"];
const MAX_NAME = 200;
const MAX_PAGE = 200;

/**
 * Adds a user. All writes of this file go through the given transaction, the audit events with them.
 *
 * @throws AppError `invalid_email`, `email_taken` where somebody has verified the address, `username_taken`, or
 *   `bad_request` for a name that cannot be one.
 */
export async function createUser(db: TransactionOrKnex, input: NewUser, now: Date): Promise<User> {
  const address = input.email === undefined ? undefined : await freeAddress(db, input.email);
  const names = readNames(input);
  try {
    const times = { createdAt: now, updatedAt: now, statusChangedAt: now };
    const { webauthnUserHandle, via: createdVia } = input;
    const handle = webauthnUserHandle === undefined ? {} : { webauthnUserHandle };
    const { id } = await User.query(db).insert({ ...names.user, ...times, ...handle, createdVia });
    const verifiedAt = input.verified ? now : null;
    if (address !== undefined)
      await UserEmail.query(db).insert({
        userId: id,
        ...address,
        isPrimary: true,
        verifiedAt,
        createdAt: now,
      });
    if (names.displayName !== undefined)
      await UserProfile.query(db).insert({
        userId: id,
        displayName: names.displayName,
        updatedAt: now,
      });
    if (input.passwordHash !== undefined)
      await UserPassword.query(db).insert({ userId: id, hash: input.passwordHash, changedAt: now });
    const { systemRoles = [], actor = SYSTEM } = input;
    for (const role of systemRoles)
      await SystemRole.query(db).insert({ userId: id, role, grantedAt: now });
    await record(db, {
      type: "user.created",
      actor,
      userId: id,
      details: { via: input.via, roles: [...systemRoles] },
    });
    return await getUser(db, id);
  } catch (error) {
    throw explain(error);
  }
}

/** @throws AppError `invalid_email`, or `email_taken` where somebody has verified it. */
async function freeAddress(db: TransactionOrKnex, typed: string): Promise<NormalisedEmail> {
  const { email, emailNorm } = normaliseEmail(typed);
  const owner = await UserEmail.query(db).findOne({ emailNorm }).whereNotNull("verifiedAt");
  if (owner !== undefined) throw errors.emailTaken();
  return { email, emailNorm };
}

/** Users from the oldest on, `limit` at most, beginning after the one with the id `after`; with their addresses. */
export async function listUsers(
  db: TransactionOrKnex,
  { after, limit = 50 }: { after?: string | undefined; limit?: number | undefined } = {},
): Promise<User[]> {
  const page = User.query(db)
    .withGraphFetched("[emails, profile]")
    .orderBy(["createdAt", "id"])
    .limit(Math.min(limit, MAX_PAGE));
  if (after === undefined) return await page;
  if (!isUuid(after)) return [];
  return await page.whereRaw("(created_at, id) > (SELECT created_at, id FROM users WHERE id = ?)", [
    after,
  ]);
}

/**
 * The user of an id, an e-mail address or a username, with everything that belongs to them.
 *
 * @throws AppError `unknown_user`, or `ambiguous_user` where several claim an address that nobody has verified.
 */
export async function findUser(db: TransactionOrKnex, who: string): Promise<User> {
  if (isUuid(who)) return await getUser(db, who);
  const identifier = readIdentifier(who);
  const found = await findByIdentifier(db, identifier);
  if (found === undefined || identifier === undefined) throw errors.unknownUser(who);
  if (identifier.kind === "email") await assertOneOwner(db, identifier.value, who);
  return await getUser(db, found.user.id);
}

/**
 * Keeps a user from signing in and ends everything that they have open (T-30).
 *
 * @throws AppError `unknown_user`
 */
export async function disableUser(
  db: TransactionOrKnex,
  id: string,
  { actor = SYSTEM }: { actor?: Actor },
  now: Date,
): Promise<User> {
  if (await changeStatus(db, id, "deactivated", now))
    await record(db, { type: "user.disabled", actor, userId: id });
  await terminateUser(db, { userId: id, reason: "user_disabled", actor }, now);
  return await getUser(db, id);
}

/**
 * Lets a disabled user sign in again. What was ended stays ended.
 *
 * @throws AppError `unknown_user`
 */
export async function enableUser(
  db: TransactionOrKnex,
  id: string,
  { actor = SYSTEM }: { actor?: Actor },
  now: Date,
): Promise<User> {
  if (await changeStatus(db, id, "active", now))
    await record(db, { type: "user.enabled", actor, userId: id });
  return await getUser(db, id);
}

/**
 * Takes everything away that a user has for the second step and ends everything that they have open (T-87): for
 * somebody who lost it. Nobody else can set it up for them.
 *
 * @throws AppError `unknown_user`
 */
export async function resetFactors(
  db: TransactionOrKnex,
  id: string,
  { actor = SYSTEM }: { actor?: Actor },
  now: Date,
): Promise<number> {
  await getUser(db, id);
  const count = await removeFactors(db, id);
  await record(db, { type: "factor.reset", actor, userId: id, details: { count } });
  await terminateUser(db, { userId: id, reason: "admin_revoked", actor }, now);
  return count;
}

async function getUser(db: TransactionOrKnex, id: string): Promise<User> {
  const user = await User.query(db).findById(id);
  if (user === undefined) throw errors.unknownUser(id);
  // One after the other: a transaction has one connection.
  for (const relation of RELATIONS) await user.$fetchGraph(relation, { transaction: db });
  return user;
}

async function changeStatus(
  db: TransactionOrKnex,
  id: string,
  status: User["status"],
  now: Date,
): Promise<boolean> {
  const changed = await User.query(db)
    .patch({ status, statusChangedAt: now, updatedAt: now })
    .where({ id })
    .whereNot({ status });
  return changed === 1;
}

async function assertOneOwner(
  db: TransactionOrKnex,
  emailNorm: string,
  who: string,
): Promise<void> {
  const claims = await UserEmail.query(db).where({ emailNorm }).limit(10);
  if (claims.length === 1 || claims.some(({ verifiedAt }) => verifiedAt !== null)) return;
  throw errors.ambiguousUser(
    who,
    claims.map(({ userId }) => userId),
  );
}

function readNames({ username, displayName }: NewUser): {
  user: { username?: string; usernameNorm?: string };
  displayName: string | undefined;
} {
  const usernameNorm = username === undefined ? undefined : normaliseUsername(username);
  if (username !== undefined && usernameNorm === undefined)
    throw errors.badRequest(
      "A username has 2 to 100 letters, digits, dots, hyphens or underscores.",
    );
  const name = displayName?.normalize("NFC").trim();
  if (name !== undefined && (Array.from(name).length > MAX_NAME || /\p{Cc}/u.test(name)))
    throw errors.badRequest(`A name has at most ${MAX_NAME} characters and no control characters.`);
  return {
    user:
      username === undefined || usernameNorm === undefined
        ? {}
        : { username: username.normalize("NFC"), usernameNorm },
    displayName: name === "" ? undefined : name,
  };
}

/** Two who are added at the same time: the index decides, and the second one hears why. */
function explain(error: unknown): unknown {
  if (!(error instanceof UniqueViolationError)) return error;
  if (error.constraint === "user_emails_verified_uq") return errors.emailTaken();
  if (error.constraint === "users_username_uq") return errors.usernameTaken();
  return error;
}
