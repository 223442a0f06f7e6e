import { randomInt } from "node:crypto";
import type { TransactionOrKnex } from "objection";
import { RecoveryCode } from "../models/recovery-code.ts";
import type { Passwords } from "./password.ts";

const CODES = 10;
const SELECTOR = 4;
const GROUP = 4;
const LENGTH = 20;

/** Crockford's alphabet: nothing in it looks like something else in it. Sixteen of them are 80 bits (T-79). */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** The recovery codes that one person is shown, and what is kept of them. */
export interface NewRecoveryCodes {
  /** As people write them down: five groups of four. */
  readonly codes: readonly string[];
  readonly rows: readonly { readonly selector: string; readonly codeHash: string }[];
}

/**
 * Makes ten codes and hashes them, one after the other. Called before a transaction is opened.
 *
 * @throws AppError `busy` where the hash queue is full.
 */
export async function makeRecoveryCodes(passwords: Passwords): Promise<NewRecoveryCodes> {
  const made = new Map<string, string>();
  while (made.size < CODES) {
    const code = Array.from({ length: LENGTH }, () => ALPHABET[randomInt(32)]).join("");
    made.set(code.slice(0, SELECTOR), code);
  }
  const rows: { selector: string; codeHash: string }[] = [];
  for (const [selector, code] of made)
    rows.push({ selector, codeHash: await passwords.hash(code.slice(SELECTOR)) });
  return { codes: [...made.values()].map(inGroups), rows };
}

/** Gives a person new codes; those of before are void. */
export async function saveRecoveryCodes(
  db: TransactionOrKnex,
  userId: string,
  { rows }: NewRecoveryCodes,
  now: Date,
): Promise<void> {
  await RecoveryCode.query(db).delete().where({ userId });
  for (const row of rows) await RecoveryCode.query(db).insert({ ...row, userId, createdAt: now });
}

/** What somebody typed, if it can be a code: in any case, with spaces and dashes, and o for 0, i and l for 1. */
export function readRecoveryCode(typed: string): string | undefined {
  const code = typed
    .toLowerCase()
    .replaceAll(/[\s-]/g, "")
    .replaceAll("o", "0")
    .replaceAll(/[il]/g, "1");
  return code.length === LENGTH && [...code].every((each) => ALPHABET.includes(each))
    ? code
    : undefined;
}

/**
 * Checks a code of a person and spends it: of the same code shown twice at once, one is accepted. One that does not
 * exist costs what a wrong one costs. Call it after `throttleRecovery`.
 *
 * @param code as `readRecoveryCode` answers it.
 * @returns how many are left, or undefined where the code is wrong or spent.
 * @throws AppError `busy` where the hash queue is full.
 */
export async function checkRecoveryCode(
  db: TransactionOrKnex,
  passwords: Passwords,
  { userId, code, now }: { userId: string; code: string; now: Date },
): Promise<number | undefined> {
  const row = await RecoveryCode.query(db).findOne({
    userId,
    selector: code.slice(0, SELECTOR),
    usedAt: null,
  });
  const { ok } = await passwords.verify(row?.codeHash, code.slice(SELECTOR));
  if (!ok || row === undefined) return undefined;
  if (!(await RecoveryCode.spend(db, row.id, now))) return undefined;
  return RecoveryCode.countLeft(db, userId);
}

function inGroups(code: string): string {
  return (code.match(new RegExp(`.{${GROUP}}`, "g")) ?? []).join("-");
}
