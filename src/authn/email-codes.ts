import { createHmac, randomInt } from "node:crypto";
import type { TransactionOrKnex } from "objection";
import type { Seal } from "../keys/seal.ts";
import { EmailCode } from "../models/email-code.ts";

const DIGITS = 8;
/** Milliseconds for which a code is good. */
const LIFETIME = 10 * 60_000;
const TRIES = 5;
/** Seconds before another code is sent for the same sign-in. */
const PAUSE = 60;

/** What a code is bound to: it is worth nothing in another interaction, for another purpose or for another person. */
export interface EmailCodeBinding {
  /** The interaction, by its secret id. */
  readonly interaction: string;
  readonly purpose: "sign_in" | "second_step";
  /** Who was named, spelled the one way: an identifier, or the id of whoever has shown a first factor. */
  readonly who: string;
}

/** A code to be sent, or how many seconds to wait before there can be another. */
export type NewEmailCode =
  | { readonly code: string; readonly expiresAt: Date }
  | { readonly wait: number };

/** Seconds until another code may be asked for; 0 where that is now. */
export async function emailCodeWait(
  db: TransactionOrKnex,
  seal: Seal,
  { now, ...binding }: EmailCodeBinding & { now: Date },
): Promise<number> {
  const last = await EmailCode.query(db).findById(bindingHash(seal, binding)).select("createdAt");
  if (last === undefined) return 0;
  return Math.max(0, Math.ceil(PAUSE - (now.getTime() - last.createdAt.getTime()) / 1000));
}

/**
 * Makes a code, which voids the one before (T-75). For somebody we do not know it makes one too, that nobody gets to
 * see. The caller has asked `throttleMail`, and sends it.
 */
export async function makeEmailCode(
  db: TransactionOrKnex,
  seal: Seal,
  { userId, now, ...binding }: EmailCodeBinding & { userId: string | undefined; now: Date },
): Promise<NewEmailCode> {
  const code = String(randomInt(10 ** DIGITS)).padStart(DIGITS, "0");
  const bound = bindingHash(seal, binding);
  const expiresAt = new Date(now.getTime() + LIFETIME);
  const isNew = await EmailCode.replace(db, {
    bindingHash: bound,
    userId: userId ?? null,
    codeHash: codeHash(seal, bound, code),
    now,
    expiresAt,
    pause: PAUSE,
  });
  return isNew ? { code, expiresAt } : { wait: await emailCodeWait(db, seal, { ...binding, now }) };
}

/** What somebody typed, if it can be a code: eight digits, with spaces and dashes where they like. */
export function readEmailCode(typed: string): string | undefined {
  const code = typed.replaceAll(/[\s-]/g, "");
  return /^[0-9]{8}$/.test(code) ? code : undefined;
}

/**
 * Checks a code and spends it. After five tries, after ten minutes and once it was used it is void. Call it outside a
 * transaction, because a try counts even if what follows is rolled back, and after `throttleFactor`.
 *
 * @returns whose code it is, or undefined where it is not right.
 */
export async function checkEmailCode(
  db: TransactionOrKnex,
  seal: Seal,
  { code, now, ...binding }: EmailCodeBinding & { code: string; now: Date },
): Promise<string | undefined> {
  const bound = bindingHash(seal, binding);
  const tried = await EmailCode.tryCode(db, {
    bindingHash: bound,
    codeHash: codeHash(seal, bound, code),
    tries: TRIES,
    now,
  });
  return tried?.isRight === true ? (tried.userId ?? undefined) : undefined;
}

function bindingHash(seal: Seal, { interaction, purpose, who }: EmailCodeBinding): Buffer {
  return keyed(seal, "binding", purpose, interaction, who);
}

function codeHash(seal: Seal, bound: Buffer, code: string): Buffer {
  return keyed(seal, "code", bound.toString("hex"), code);
}

function keyed(seal: Seal, ...parts: string[]): Buffer {
  return createHmac("sha256", seal.derive("email-code")).update(JSON.stringify(parts)).digest();
}
