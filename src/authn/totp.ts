import { randomBytes } from "node:crypto";
import type { TransactionOrKnex } from "objection";
import type { Seal } from "../keys/seal.ts";
import { equalBytes } from "../lib/secret.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { MfaFactor } from "../models/mfa-factor.ts";
import { codeOf, stepsAt } from "./one-time-password.ts";

/** Bytes of a seed (RFC 4226 §4, R6). */
const SEED_BYTES = 20;

/** Consecutive wrong codes after which a person's apps are turned off (T-72, NIST SP 800-63B-4 §3.2.2). */
const MOST_FAILURES = 100;

/** Milliseconds in which a factor must be set up; its seed stays the same so long. */
const SETUP_TIME = 15 * 60_000;

/** The most authenticator apps that one person has. */
const MOST_APPS = 10;

/** Whether a code was right; where it was not, `isDisabledNow` says that this try turned the person's apps off. */
export type TotpCheck =
  | { readonly ok: true; readonly factorId: string }
  | { readonly ok: false; readonly reason: "wrong" | "used"; readonly isDisabledNow: boolean };

/**
 * Checks a code against a person's authenticator apps and spends it: of the same code shown twice, at once or on two
 * nodes, one is accepted (RFC 6238 §5.2, T-73), and none of an earlier step afterwards. The try is counted before
 * anything is compared. Call it outside a transaction and after `throttleFactor`.
 */
export async function checkTotp(
  db: TransactionOrKnex,
  seal: Seal,
  { userId, code, now }: { userId: string; code: string; now: Date },
): Promise<TotpCheck> {
  const factors = await MfaFactor.countTry(db, userId);
  let wasUsed = false;
  for (const { id, secret_enc: sealed, failures } of factors) {
    const step = failures > MOST_FAILURES ? undefined : matchingStep(seal, id, sealed, code, now);
    if (step === undefined) continue;
    if (await MfaFactor.spendStep(db, id, step, now)) {
      await MfaFactor.query(db).patch({ failures: 0 }).where({ userId });
      return { ok: true, factorId: id };
    }
    wasUsed = true;
  }
  const isDisabledNow =
    factors.some(({ failures }) => failures >= MOST_FAILURES) &&
    (await MfaFactor.disableFailing(db, { userId, failures: MOST_FAILURES, now }));
  return { ok: false, reason: wasUsed ? "used" : "wrong", isDisabledNow };
}

/** A factor that is being set up. */
export interface PendingTotp {
  readonly id: string;
  readonly seed: Buffer;
}

/**
 * The factor that a person sets up in one interaction or session: the same however often it is asked for, until it is
 * confirmed or fifteen minutes have passed. Another interaction of the same person has another seed, so that nobody
 * learns the one that the person keeps.
 *
 * @returns undefined where they have as many apps as anybody may.
 */
export async function pendingTotp(
  db: TransactionOrKnex,
  seal: Seal,
  { userId, bindingHash, now }: { userId: string; bindingHash: Buffer; now: Date },
): Promise<PendingTotp | undefined> {
  await MfaFactor.query(db)
    .delete()
    .where({ userId, bindingHash, verifiedAt: null })
    .where("createdAt", "<=", new Date(now.getTime() - SETUP_TIME));
  if ((await appsOf(db, userId).resultSize()) >= MOST_APPS) return undefined;
  const id = uuidv7();
  await MfaFactor.query(db)
    .insert({
      id,
      userId,
      type: "totp",
      name: "",
      secretEnc: seal.encrypt(randomBytes(SEED_BYTES), place(id)),
      bindingHash,
      createdAt: now,
    })
    .onConflict(MfaFactor.raw("(binding_hash, user_id) WHERE verified_at IS NULL"))
    .ignore();
  const row = await MfaFactor.query(db).findOne({ userId, bindingHash, verifiedAt: null });
  if (row?.secretEnc == null) throw new Error("the factor that was just stored is gone");
  return { id: row.id, seed: seal.decrypt(row.secretEnc, place(row.id)) };
}

/** Whether the app that is set up shows this code now. */
export function isCodeOf({ seed }: PendingTotp, code: string, now: Date): boolean {
  return stepsAt(now).some((step) => isSame(codeOf(seed, step), code));
}

/** Ends the setting up with a code that the app shows; `false` where it is another. */
export async function confirmTotp(
  db: TransactionOrKnex,
  { id, seed }: PendingTotp,
  { code, name, now }: { code: string; name: string; now: Date },
): Promise<boolean> {
  const step = stepsAt(now).find((each) => isSame(codeOf(seed, each), code));
  return step !== undefined && (await MfaFactor.confirm(db, { id, name, step, now }));
}

/** A person's authenticator apps, the oldest first. */
export async function listTotp(db: TransactionOrKnex, userId: string): Promise<MfaFactor[]> {
  return appsOf(db, userId).orderBy("id");
}

/** Takes an app away from the person whose it is; `false` where they have no such one. */
export async function removeTotp(
  db: TransactionOrKnex,
  { userId, id }: { userId: string; id: string },
): Promise<boolean> {
  return (await appsOf(db, userId).delete().where({ id })) === 1;
}

function appsOf(db: TransactionOrKnex, userId: string) {
  return MfaFactor.query(db).where({ userId, type: "totp" }).whereNotNull("verifiedAt");
}

function matchingStep(
  seal: Seal,
  id: string,
  sealed: Buffer,
  code: string,
  now: Date,
): number | undefined {
  const seed = seal.decrypt(sealed, place(id));
  return stepsAt(now).find((step) => isSame(codeOf(seed, step), code));
}

function isSame(expected: string, code: string): boolean {
  return equalBytes(Buffer.from(expected), Buffer.from(code));
}

function place(id: string) {
  return { table: MfaFactor.tableName, column: "secret_enc", id };
}
