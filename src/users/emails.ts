import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { normaliseEmail } from "../authn/normalise-email.ts";
import { errors } from "../errors.ts";
import { Identity } from "../models/identity.ts";
import { MfaFactor } from "../models/mfa-factor.ts";
import { RecoveryCode } from "../models/recovery-code.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { SsoDomain } from "../models/sso-domain.ts";
import { UserEmail } from "../models/user-email.ts";
import { UserPassword } from "../models/user-password.ts";
import { TrustedBrowser } from "../models/trusted-browser.ts";
import { User } from "../models/user.ts";
import { WebauthnCredential } from "../models/webauthn-credential.ts";
import { terminateUser } from "./terminate.ts";

/** Most addresses of one person. */
const MOST_EMAILS = 10;

/** Who did it and whence, for the audit. */
type By = Pick<NewEvent, "actor" | "requestId" | "ipPrefix" | "sessionUid">;

/** The addresses of a user, the primary one first. */
export async function emailsOf(db: TransactionOrKnex, userId: string): Promise<UserEmail[]> {
  return UserEmail.query(db)
    .where({ userId })
    .orderBy([{ column: "isPrimary", order: "desc" }, "createdAt", "id"]);
}

/**
 * Adds an address that the person has not proven yet: until then it signs nobody in and is in no token (T-67). One
 * that is there already is left as it is.
 *
 * @throws AppError `invalid_email`, or `bad_request` where there are ten.
 */
export async function addEmail(
  db: TransactionOrKnex,
  { userId, typed, by }: { userId: string; typed: string; by: By },
  now: Date,
): Promise<UserEmail> {
  const { email, emailNorm } = normaliseEmail(typed);
  await User.query(db).findById(userId).forUpdate();
  const all = await emailsOf(db, userId);
  const known = all.find((each) => each.emailNorm === emailNorm);
  if (known !== undefined) return known;
  if (all.length >= MOST_EMAILS)
    throw errors.badRequest("There are too many addresses. Remove one first.");
  const added = await UserEmail.query(db).insertAndFetch({
    userId,
    email,
    emailNorm,
    isPrimary: all.length === 0,
    createdAt: now,
  });
  await record(db, { ...by, type: "email.added", userId, target: targetOf(added.id) });
  return added;
}

/**
 * Gives another address to a person who has proven none, in the place of what they, or an identity provider, said
 * before. Letters to that go with it, and with them their codes.
 *
 * @throws AppError `invalid_email`, or `bad_request` where one is proven.
 */
export async function replaceUnproven(
  db: TransactionOrKnex,
  { userId, typed, by }: { userId: string; typed: string; by: By },
  now: Date,
): Promise<UserEmail> {
  const { emailNorm } = normaliseEmail(typed);
  await User.query(db).findById(userId).forUpdate();
  const all = await emailsOf(db, userId);
  if (all.some(({ verifiedAt }) => verifiedAt !== null))
    throw errors.badRequest("This account has a verified address. Change it on its own pages.");
  const known = all.find((each) => each.emailNorm === emailNorm && each.isPrimary);
  if (known !== undefined) return known;
  await UserEmail.query(db).delete().where({ userId });
  return addEmail(db, { userId, typed, by }, now);
}

/**
 * Notes that a person has proven an address. Of several people who claim it, the first who proves it has it.
 *
 * @returns whether it is proven by now.
 * @throws AppError `email_taken` where somebody else has proven it.
 */
export async function verifyEmail(
  db: TransactionOrKnex,
  { userId, emailId, by }: { userId: string; emailId: string; by: By },
  now: Date,
): Promise<boolean> {
  const row = await UserEmail.query(db).findOne({ userId, id: emailId });
  if (row === undefined || row.verifiedAt !== null) return row !== undefined;
  try {
    // A statement that may fail is in a savepoint of its own.
    await db.transaction(async (trx) => {
      await UserEmail.query(trx)
        .patch({ verifiedAt: now })
        .where({ id: emailId, verifiedAt: null });
    });
  } catch (error) {
    if (error instanceof UniqueViolationError) throw errors.emailTaken();
    throw error;
  }
  await record(db, { ...by, type: "email.verified", userId, target: targetOf(emailId) });
  return true;
}

/**
 * Makes a proven address the one that names the person, and to which mails go.
 *
 * @returns the address that was it before; undefined where nothing changed.
 * @throws AppError `bad_request` where it is not proven; `email_enforced` where the one before is an organization's.
 */
export async function makePrimary(
  db: TransactionOrKnex,
  { userId, emailId, by }: { userId: string; emailId: string; by: By },
  now: Date,
): Promise<UserEmail | undefined> {
  await User.query(db).findById(userId).forUpdate();
  const all = await emailsOf(db, userId);
  const next = all.find(({ id }) => id === emailId);
  const before = all.find(({ isPrimary }) => isPrimary);
  if (next === undefined || next.verifiedAt === null)
    throw errors.badRequest("Only a verified address can become the primary one.");
  if (before?.id === next.id) return undefined;
  if (before !== undefined) await assertOwn(db, before);
  await promote(db, userId, next.id);
  // What was sent to the old address must not open the account any more (T-65).
  await OneTimeToken.revokeOf(db, { userId, purpose: "reset_password" }, "email_changed", now);
  await touch(db, userId, now);
  await record(db, { ...by, type: "email.primary_changed", userId, target: targetOf(next.id) });
  return before;
}

/**
 * Takes an address away, and with it every letter to it.
 *
 * @returns what was removed.
 * @throws AppError `bad_request` for the primary one, which is also the last; `email_enforced` for an organization's.
 */
export async function removeEmail(
  db: TransactionOrKnex,
  { userId, emailId, by }: { userId: string; emailId: string; by: By },
  now: Date,
): Promise<UserEmail | undefined> {
  const row = await UserEmail.query(db).findOne({ userId, id: emailId });
  if (row === undefined) return undefined;
  await assertOwn(db, row);
  const removed = await UserEmail.query(db)
    .delete()
    .where({ id: emailId, userId, isPrimary: false });
  if (removed !== 1)
    throw errors.badRequest(
      "The primary address cannot be removed. Make another one primary first.",
    );
  await OneTimeToken.revokeOf(db, { userId, purpose: "reset_password" }, "email_changed", now);
  await record(db, { ...by, type: "email.removed", userId, target: targetOf(emailId) });
  return row;
}

/**
 * Brings back the address that was primary before somebody changed it, for whoever has it and says that it was not
 * them: the addresses, passkeys, factors and sign-ins elsewhere that were added since go, everything that is signed in
 * ends, and the password, which somebody else may know, no longer works (T-67). What was asked for beside a password before stays.
 *
 * @param change.since from when on addresses are the work of whoever changed it.
 * @returns whether it was brought back; it cannot be where somebody else has proven the address meanwhile.
 */
export async function restoreEmail(
  db: TransactionOrKnex,
  { userId, email, since, by }: { userId: string; email: string; since: Date; by: By },
  now: Date,
): Promise<boolean> {
  const { emailNorm } = normaliseEmail(email);
  await User.query(db).findById(userId).forUpdate();
  const owner = await UserEmail.query(db).findOne({ emailNorm }).whereNotNull("verifiedAt");
  if (owner !== undefined && owner.userId !== userId) return false;
  await UserEmail.query(db)
    .insert({ userId, email, emailNorm, isPrimary: false, verifiedAt: now, createdAt: since })
    .onConflict(["userId", "emailNorm"])
    .merge({ verifiedAt: now });
  const { id } = await UserEmail.query(db).findOne({ userId, emailNorm }).throwIfNotFound();
  await promote(db, userId, id);
  await UserEmail.query(db)
    .delete()
    .where({ userId })
    .whereNot({ id })
    .where("createdAt", ">=", since);
  await UserPassword.query(db).deleteById(userId);
  await WebauthnCredential.query(db).delete().where({ userId }).where("createdAt", ">=", since);
  await MfaFactor.query(db).delete().where({ userId }).where("createdAt", ">=", since);
  await RecoveryCode.query(db).delete().where({ userId }).where("createdAt", ">=", since);
  await Identity.query(db).delete().where({ userId }).where("createdAt", ">=", since);
  await TrustedBrowser.query(db).delete().where({ userId });
  await OneTimeToken.revokeOf(db, { userId }, "email_changed", now);
  await touch(db, userId, now);
  await record(db, { ...by, type: "email.restored", userId, target: targetOf(id) });
  await terminateUser(db, { userId, reason: "email_restored", actor: by.actor }, now);
  return true;
}

/** By an address whose domain enforces it people sign in at their organization, which they cannot leave by themselves. */
async function assertOwn(
  db: TransactionOrKnex,
  { email, emailNorm, verifiedAt }: UserEmail,
): Promise<void> {
  if (verifiedAt !== null && (await SsoDomain.isEnforcedFor(db, emailNorm)))
    throw errors.emailEnforced(email);
}

/** There is one primary address at every moment, so that the old one steps back first. */
async function promote(db: TransactionOrKnex, userId: string, id: string): Promise<void> {
  await UserEmail.query(db).patch({ isPrimary: false }).where({ userId, isPrimary: true });
  await UserEmail.query(db).patch({ isPrimary: true }).where({ userId, id });
}

async function touch(db: TransactionOrKnex, userId: string, now: Date): Promise<void> {
  await User.query(db).findById(userId).patch({ updatedAt: now });
}

function targetOf(id: string) {
  return { type: "user_email", id };
}
