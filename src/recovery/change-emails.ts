import type { TransactionOrKnex } from "objection";
import type { NewEvent } from "../audit/record.ts";
import { makeLetter, readContext, type LetterContext } from "../authn/letters.ts";
import type { Seal } from "../keys/seal.ts";
import { masked, type Mailer } from "../mail/mailer.ts";
import * as messages from "../mail/messages.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { UserEmail } from "../models/user-email.ts";
import { makePrimary, restoreEmail } from "../users/emails.ts";

const WEEK = 7 * 24 * 60 * 60_000;

export interface ChangeNeeds {
  readonly seal: Seal;
  readonly mailer: Mailer;
}

type By = Pick<NewEvent, "actor" | "requestId" | "ipPrefix" | "sessionUid">;

/** Makes another address the primary one, and tells the old one how to take that back for a week (T-67). */
export async function changePrimary(
  db: TransactionOrKnex,
  { seal, mailer }: ChangeNeeds,
  change: {
    userId: string;
    emailId: string;
    by: By;
    context: Pick<LetterContext, "locale" | "issuer">;
  },
  now: Date,
): Promise<void> {
  const { userId, emailId, by, context } = change;
  const before = await makePrimary(db, { userId, emailId, by }, now);
  // An address that nobody has proven is nobody's to take back.
  if (before === undefined || before.verifiedAt === null) return;
  const { email: replacedBy } = await UserEmail.query(db).findById(emailId).throwIfNotFound();
  const since = new Date(now.getTime() - WEEK).toISOString();
  // An address that came within the week may be the work of whoever should not be here: only the first one is exempt.
  const first = await UserEmail.query(db).where({ userId }).orderBy(["createdAt", "id"]).first();
  if (before.createdAt.toISOString() > since && before.id !== first?.id) return;
  const { id, secrets } = await makeLetter(
    db,
    seal,
    {
      purpose: "undo_email_change",
      userId,
      context: { ...context, to: before.email, replacedBy, since },
    },
    now,
  );
  const { expiresAt } = await OneTimeToken.query(db).findById(id).throwIfNotFound();
  const mail = messages.emailChanged({
    email: before.email,
    other: masked(replacedBy),
    at: now,
    url: `${context.issuer}/undo/${secrets.secret}`,
    expiresAt,
  });
  await mailer.letter(db, { to: before.email, mail, locale: context.locale, userId });
}

/**
 * Takes a change of the primary address back, for whoever has the old one.
 *
 * @returns the secret of the link by which they set a new password, because the old one no longer works; undefined
 *   where the letter is over, or the address belongs to somebody else by now.
 */
export async function undoChange(
  db: TransactionOrKnex,
  { seal }: Pick<ChangeNeeds, "seal">,
  letter: OneTimeToken,
  origin: Pick<NewEvent, "requestId" | "ipPrefix">,
  now: Date,
): Promise<string | undefined> {
  const { userId } = letter;
  const { to, since = now.toISOString(), locale, issuer } = readContext(seal, letter);
  if (userId === null || !(await OneTimeToken.spend(db, letter.id, now))) return undefined;
  const by = { ...origin, actor: { type: "user", id: userId } } as const;
  const change = { userId, email: to, since: new Date(since), by };
  if (!(await restoreEmail(db, change, now))) return undefined;
  const { secrets } = await makeLetter(
    db,
    seal,
    { purpose: "reset_password", userId, context: { to, locale, issuer } },
    now,
  );
  return secrets.secret;
}
