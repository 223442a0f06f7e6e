import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { makeLetter, type LetterContext } from "../authn/letters.ts";
import { normaliseEmail } from "../authn/normalise-email.ts";
import { errors } from "../errors.ts";
import type { Seal } from "../keys/seal.ts";
import { isUuid } from "../lib/uuid.ts";
import { Invitation } from "../models/invitation.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { UserEmail } from "../models/user-email.ts";

const SYSTEM: NewEvent["actor"] = { type: "system" };

/** Somebody who is to get an account. */
export interface NewInvitation {
  readonly email: string;
  /** The key of the row of the client that it leads to. */
  readonly clientId?: string | undefined;
  readonly lifetime?: number | undefined;
  readonly context: Omit<LetterContext, "to">;
}

/**
 * Invites an address; whoever follows the link has proven it. An earlier invitation of the same address ends.
 *
 * @returns the invitation and its link's secret, which is nowhere else.
 * @throws AppError `invalid_email`, or `email_taken` where somebody has verified the address.
 */
export async function createInvitation(
  db: TransactionOrKnex,
  seal: Seal,
  { email: typed, clientId, lifetime, context }: NewInvitation,
  now: Date,
): Promise<{ invitation: Invitation; secret: string }> {
  const { email, emailNorm } = normaliseEmail(typed);
  const owner = await UserEmail.query(db).findOne({ emailNorm }).whereNotNull("verifiedAt");
  if (owner !== undefined) throw errors.emailTaken();
  const earlier = await Invitation.query(db).findOne({
    emailNorm,
    acceptedAt: null,
    revokedAt: null,
  });
  if (earlier !== undefined) await withdraw(db, earlier, now);
  const { id: letterId, secrets } = await makeLetter(
    db,
    seal,
    {
      purpose: "invitation",
      context: { ...context, to: email },
      ...(lifetime === undefined ? {} : { lifetime }),
    },
    now,
  );
  const { expiresAt } = await OneTimeToken.query(db).findById(letterId).throwIfNotFound();
  try {
    const invitation = await Invitation.query(db).insertAndFetch({
      email,
      emailNorm,
      clientId: clientId ?? null,
      letterId,
      createdAt: now,
      expiresAt,
    });
    const target = { type: "invitation", id: invitation.id };
    await record(db, { type: "invitation.created", actor: SYSTEM, target });
    return { invitation, secret: secrets.secret };
  } catch (error) {
    if (error instanceof UniqueViolationError)
      throw errors.badRequest("Somebody else has just invited this address.");
    throw error;
  }
}

/** Every invitation, the newest first. */
export async function listInvitations(db: TransactionOrKnex): Promise<Invitation[]> {
  return Invitation.query(db)
    .orderBy([
      { column: "createdAt", order: "desc" },
      { column: "id", order: "desc" },
    ])
    .limit(200);
}

/**
 * Takes an invitation back.
 *
 * @throws AppError `unknown_invitation` where it is not open.
 */
export async function revokeInvitation(
  db: TransactionOrKnex,
  id: string,
  now: Date,
): Promise<void> {
  const invitation = isUuid(id)
    ? await Invitation.query(db).findOne({ id, acceptedAt: null, revokedAt: null })
    : undefined;
  if (invitation === undefined) throw errors.unknownInvitation(id);
  await withdraw(db, invitation, now);
  const target = { type: "invitation", id };
  await record(db, { type: "invitation.revoked", actor: SYSTEM, target });
}

/** The open invitation of a letter. */
export async function findInvitation(
  db: TransactionOrKnex,
  letterId: string,
  now: Date,
): Promise<Invitation | undefined> {
  return Invitation.query(db)
    .findOne({ letterId, acceptedAt: null, revokedAt: null })
    .where("expiresAt", ">", now);
}

/** Uses an invitation up, for the account that it led to; exactly one caller gets `true`. */
export async function acceptInvitation(
  db: TransactionOrKnex,
  { id, letterId }: Pick<Invitation, "id" | "letterId">,
  userId: string,
  now: Date,
): Promise<boolean> {
  if (!(await OneTimeToken.spend(db, letterId, now))) return false;
  const accepted = await Invitation.query(db)
    .patch({ acceptedAt: now, acceptedUserId: userId })
    .where({ id, acceptedAt: null, revokedAt: null });
  const target = { type: "invitation", id };
  const actor = { type: "user", id: userId } as const;
  await record(db, { type: "invitation.accepted", actor, userId, target });
  return accepted === 1;
}

async function withdraw(
  db: TransactionOrKnex,
  { id, letterId }: Invitation,
  now: Date,
): Promise<void> {
  await Invitation.query(db).patch({ revokedAt: now }).findById(id).whereNull("acceptedAt");
  await OneTimeToken.query(db)
    .patch({ revokedAt: now, revokeReason: "withdrawn" })
    .where({ id: letterId, usedAt: null, revokedAt: null });
}
