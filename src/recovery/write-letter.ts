import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import { findByIdentifier, readIdentifier } from "../authn/identifier.ts";
import { makeSecrets, readContext, type LetterContext } from "../authn/letters.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import * as messages from "../mail/messages.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { UserEmail } from "../models/user-email.ts";
import { hasOtherWays } from "./ways.ts";

export interface LetterNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly mailer: Mailer;
}

/** What a letter's page is called in its address. */
const PATHS = { register: "verify", verify_email: "verify", reset_password: "reset" } as const;

/**
 * The job that writes a letter. Here, after the answer, it is looked up whether anybody has the address and what there
 * is to tell them (T-62); the same letter is written once, however often the job runs.
 */
export async function writeLetter(
  { knex, seal, mailer }: LetterNeeds,
  id: string,
  now: Date = new Date(),
): Promise<void> {
  await knex.transaction(async (trx) => {
    const letter = await OneTimeToken.query(trx).findById(id).forUpdate();
    if (letter === undefined || letter.tokenHash !== null || letter.revokedAt !== null) return;
    const { purpose } = letter;
    const writing = { seal, mailer, letter, context: readContext(seal, letter), now };
    if (purpose === "reset_password") await writeReset(trx, writing);
    else if (purpose === "register" || purpose === "verify_email")
      await writeVerification(trx, { ...writing, path: PATHS[purpose] });
  });
}

interface Writing extends Pick<LetterNeeds, "seal" | "mailer"> {
  readonly letter: OneTimeToken;
  readonly context: LetterContext;
  readonly now: Date;
}

async function writeVerification(
  db: TransactionOrKnex,
  { seal, mailer, letter, context, path, now }: Writing & { path: string },
): Promise<void> {
  const { to, locale, issuer, clientName = "" } = context;
  const owner = await ownerOf(db, to);
  if (owner !== undefined && owner.userId !== letter.userId) {
    const dedupeKey = `already_registered:${now.toISOString().slice(0, 13)}:${owner.id}`;
    const mail = messages.alreadyRegistered({ email: to, url: `${issuer}/` });
    return mailer.letter(db, { to: owner.email, mail, locale, userId: owner.userId, dedupeKey });
  }
  const secrets = await makeSecrets(db, seal, { id: letter.id }, now);
  if (secrets === undefined) return undefined;
  const mail = messages.verifyEmail({
    email: to,
    code: secrets.code,
    url: `${issuer}/${path}/${secrets.secret}`,
    clientName,
    expiresAt: letter.expiresAt,
  });
  return mailer.letter(db, { to, mail, locale, userId: letter.userId ?? undefined });
}

/** Nobody is written to who has no account, or whose account is turned off. */
async function writeReset(
  db: TransactionOrKnex,
  { seal, mailer, letter, context, now }: Writing,
): Promise<void> {
  const { locale, issuer } = context;
  const found = await findByIdentifier(db, readIdentifier(context.to));
  if (found === undefined || !found.user.isActive) return;
  const { user, passwordHash } = found;
  const address = await addressOf(db, user.id, context.to);
  if (address === undefined) return;
  const to = address.email;
  const whose = { id: letter.id, userId: user.id, emailId: address.id };
  const secrets = await makeSecrets(db, seal, whose, now);
  if (secrets === undefined) return;
  const url = `${issuer}/reset/${secrets.secret}`;
  const about = { email: to, code: secrets.code, url, expiresAt: letter.expiresAt };
  const hasPassword = passwordHash !== undefined;
  const mail =
    !hasPassword && (await hasOtherWays(db, user.id))
      ? messages.noPassword(about)
      : messages.resetPassword({ ...about, hasPassword });
  await mailer.letter(db, { to, mail, locale, userId: user.id });
  await record(db, {
    type: "password.reset_requested",
    actor: { type: "anonymous" },
    userId: user.id,
  });
}

async function ownerOf(db: TransactionOrKnex, email: string): Promise<UserEmail | undefined> {
  const identifier = readIdentifier(email);
  if (identifier?.kind !== "email") return undefined;
  return UserEmail.query(db).findOne({ emailNorm: identifier.value }).whereNotNull("verifiedAt");
}

/** Where to write: to the address that was typed, which is one of theirs, or to the primary one. */
async function addressOf(
  db: TransactionOrKnex,
  userId: string,
  typed: string,
): Promise<UserEmail | undefined> {
  const identifier = readIdentifier(typed);
  const named =
    identifier?.kind === "email"
      ? await UserEmail.query(db).findOne({ userId, emailNorm: identifier.value })
      : undefined;
  return named ?? (await UserEmail.query(db).findOne({ userId, isPrimary: true }));
}
