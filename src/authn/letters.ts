import { createHmac, randomInt } from "node:crypto";
import type { TransactionOrKnex } from "objection";
import { errors } from "../errors.ts";
import type { Seal } from "../keys/seal.ts";
import { equalBytes, newSecret, sha256 } from "../lib/secret.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { OneTimeToken } from "../models/one-time-token.ts";

/** What letters are for; the setup link is of its own kind. */
export type LetterPurpose = Exclude<OneTimeToken["purpose"], "setup">;

/** What a letter is about. It is kept sealed until somebody acts on it. */
export interface LetterContext {
  /** The address, or for who forgot the password whatever was typed. */
  readonly to: string;
  /** The language of the page that asked. */
  readonly locale: string;
  /** The issuer at which its link is. */
  readonly issuer: string;
  /** The path of the interaction that asked, for going on in the same browser. */
  readonly here?: string;
  /** The app that the person is signing in to. */
  readonly clientName?: string;
  /** The address that replaced `to`, for the letter that can undo it. */
  readonly replacedBy?: string;
  /** Since when addresses are the work of whoever replaced `to`, ISO 8601. */
  readonly since?: string;
}

/** How long a letter is good, in milliseconds (T-65). */
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const LIFETIMES: Readonly<Record<LetterPurpose, number>> = {
  register: 30 * MINUTE,
  verify_email: DAY,
  reset_password: 30 * MINUTE,
  undo_email_change: 7 * DAY,
  invitation: 7 * DAY,
};

/** Whoever asked waits so long before another letter, in milliseconds. */
const PAUSE = MINUTE;

/** Digits of a code: of five tries, ten letters an hour, one in two million hits. */
const CODE_DIGITS = 8;

/** What a mail carries: the link's secret, and the code. */
export interface LetterSecrets {
  readonly secret: string;
  readonly code: string;
}

/** A letter to be written. */
export interface NewLetter {
  readonly purpose: LetterPurpose;
  readonly context: LetterContext;
  /** Who asked: an interaction or a session; only there the code is taken. */
  readonly askedBy?: string;
  readonly userId?: string;
  readonly emailId?: string;
  readonly lifetime?: number;
}

/**
 * Notes that a letter is to be written, and adds the job that writes it. Whether anybody has the address, and what the
 * letter then says, only the job looks up, so that the answer, what is stored here and the time it takes are the same
 * for every address (T-62). Earlier letters of the same kind to whoever asked stop working.
 *
 * @returns the letter's id; with the seconds to wait, it is the one that was asked for a moment ago.
 */
export async function askForLetter(
  db: TransactionOrKnex,
  seal: Seal,
  letter: NewLetter,
  now: Date,
): Promise<{ readonly id: string; readonly wait?: number }> {
  const { purpose, askedBy } = letter;
  const last = await OneTimeToken.query(db)
    .where({ purpose, targetHash: targetOf(seal, letter), revokedAt: null, usedAt: null })
    .where(
      askedBy === undefined ? { userId: letter.userId ?? null } : { bindingHash: sha256(askedBy) },
    )
    .where("createdAt", ">", new Date(now.getTime() - PAUSE))
    .orderBy("createdAt", "desc")
    .first();
  if (last !== undefined) return { id: last.id, wait: secondsLeft(last.createdAt, now) };
  const id = await insertLetter(db, seal, letter, now);
  if (id === undefined) throw errors.tooManyRequests(PAUSE / 1000);
  await OneTimeToken.statement(
    db,
    "SELECT graphile_worker.add_job('write_letter', json_build_object('id', CAST(:id AS uuid)), max_attempts => 8)",
    { id },
  );
  return { id };
}

/** A letter that nobody will write, for whoever must not learn that (a form that a program filled in). */
export async function pretendLetter(
  db: TransactionOrKnex,
  seal: Seal,
  letter: NewLetter,
  now: Date,
): Promise<{ readonly id: string }> {
  return { id: (await insertLetter(db, seal, letter, now)) ?? uuidv7() };
}

/** A letter whose secrets are made at once, for the code that writes it itself. */
export async function makeLetter(
  db: TransactionOrKnex,
  seal: Seal,
  letter: NewLetter,
  now: Date,
): Promise<{ readonly id: string; readonly secrets: LetterSecrets }> {
  const id = await insertLetter(db, seal, letter, now);
  const secrets = id === undefined ? undefined : await makeSecrets(db, seal, { id }, now);
  if (id === undefined || secrets === undefined) throw new Error("two letters were made at once");
  return { id, secrets };
}

async function insertLetter(
  db: TransactionOrKnex,
  seal: Seal,
  letter: NewLetter,
  now: Date,
): Promise<string | undefined> {
  const { purpose, context, askedBy, userId, emailId, lifetime = LIFETIMES[purpose] } = letter;
  const id = uuidv7();
  const bindingHash = askedBy === undefined ? null : sha256(askedBy);
  const targetHash = targetOf(seal, letter);
  const earlier = OneTimeToken.query(db)
    .patch({ revokedAt: now, revokeReason: "superseded" })
    .where({ purpose, usedAt: null, revokedAt: null });
  if (bindingHash !== null) await earlier.clone().where({ bindingHash });
  if (userId !== undefined) await earlier.clone().where({ userId, targetHash });
  const rows = await OneTimeToken.statement<{ id: string }>(
    db,
    `INSERT INTO one_time_tokens (id, purpose, user_id, email_id, target_hash, binding_hash, context_enc, created_at, expires_at)
     VALUES (:id, :purpose, :userId, :emailId, :targetHash, :bindingHash, :contextEnc, :now, :expiresAt)
     ON CONFLICT DO NOTHING RETURNING id`,
    {
      id,
      purpose,
      userId: userId ?? null,
      emailId: emailId ?? null,
      targetHash,
      bindingHash,
      contextEnc: seal.encrypt(JSON.stringify(context), place(id)),
      now,
      expiresAt: new Date(now.getTime() + lifetime),
    },
  );
  return rows[0]?.id;
}

/**
 * Makes the secrets of a letter, once: 256 random bits of which only the hash is kept, and a code under a keyed hash
 * with the row's id, which nobody who has only the table can try out (T-64).
 *
 * @param letter.userId whom it turned out to be for; their earlier letters of this kind stop working.
 * @returns undefined where the letter is over, or was written already.
 */
export async function makeSecrets(
  db: TransactionOrKnex,
  seal: Seal,
  {
    id,
    userId,
    emailId,
  }: { readonly id: string; readonly userId?: string; readonly emailId?: string },
  now: Date,
): Promise<LetterSecrets | undefined> {
  const secret = newSecret();
  const code = String(randomInt(10 ** CODE_DIGITS)).padStart(CODE_DIGITS, "0");
  if (userId !== undefined)
    await OneTimeToken.query(db)
      .patch({ revokedAt: now, revokeReason: "superseded" })
      .where({ userId, usedAt: null, revokedAt: null })
      .where("purpose", OneTimeToken.query(db).select("purpose").findById(id))
      .whereNot({ id });
  const written = await OneTimeToken.query(db)
    .patch({
      tokenHash: sha256(secret),
      codeHash: codeHash(seal, id, code),
      ...(userId === undefined ? {} : { userId }),
      ...(emailId === undefined ? {} : { emailId }),
    })
    .where({ id, tokenHash: null, usedAt: null, revokedAt: null })
    .where("expiresAt", ">", now);
  return written === 1 ? { secret, code } : undefined;
}

/**
 * Whether a code is the one of a letter. The try is counted first, so that of any number at once no more than five are
 * looked at; the letter is not used up. Call it outside a transaction: a try counts even if what follows is rolled back.
 */
export async function tryCode(
  db: TransactionOrKnex,
  seal: Seal,
  { id, code }: { readonly id: string; readonly code: string },
  now: Date,
): Promise<boolean> {
  const row = await OneTimeToken.countTry(db, id, now);
  const typed = codeHash(seal, id, code.normalize("NFKC").replaceAll(/[\s-]/g, ""));
  return equalBytes(typed, row?.codeHash ?? Buffer.alloc(typed.length));
}

/** Looks at a link without using it up, so that a mail scanner or a preview that opens it does no harm (T-66). */
export async function openLink(
  db: TransactionOrKnex,
  purpose: LetterPurpose,
  secret: string,
  now: Date,
): Promise<
  { readonly letter: OneTimeToken; readonly state: "live" | "used" | "over" } | undefined
> {
  const letter = await OneTimeToken.query(db).findOne({ purpose, tokenHash: sha256(secret) });
  if (letter === undefined) return undefined;
  if (letter.usedAt !== null) return { letter, state: "used" };
  return { letter, state: letter.revokedAt === null && letter.expiresAt > now ? "live" : "over" };
}

/** What a letter is about. */
export function readContext(seal: Seal, { id, contextEnc }: OneTimeToken): LetterContext {
  if (contextEnc === null) throw new Error("the one-time token is no letter");
  return JSON.parse(seal.decrypt(contextEnc, place(id)).toString()) as LetterContext;
}

function targetOf(seal: Seal, { purpose, context }: NewLetter): Buffer {
  const text = JSON.stringify([purpose, context.to.normalize("NFKC").trim().toLowerCase()]);
  return createHmac("sha256", seal.derive("letter-target")).update(text).digest();
}

function codeHash(seal: Seal, id: string, code: string): Buffer {
  return createHmac("sha256", seal.derive("letter-code")).update(`${id}\0${code}`).digest();
}

function place(id: string) {
  return { table: OneTimeToken.tableName, column: "context_enc", id };
}

function secondsLeft(since: Date, now: Date): number {
  return Math.max(1, Math.ceil((since.getTime() + PAUSE - now.getTime()) / 1000));
}
