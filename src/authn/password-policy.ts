import { foldPassword, isCommonPassword } from "./common-passwords.ts";
import { residueOf } from "./predictable.ts";

/** Least length in code points where the password can be the only factor (NIST SP 800-63B-4 §3.1.1.2). */
export const MIN_PASSWORD_LENGTH = 15;

/** Least length where a second factor is always demanded beside it (NIST SP 800-63B-4 §3.1.1.2). */
export const MIN_PASSWORD_LENGTH_WITH_SECOND_FACTOR = 8;

/** Most code points, and most bytes as UTF-8; what is longer is refused and never cut. */
export const MAX_PASSWORD_LENGTH = 256;
const MAX_BYTES = 1024;

/** A word counts as one that a password must not be made of from so many characters on. */
const MIN_WORD_LENGTH = 3;

/** What must remain of a password, in characters, once repetitions and sequences are taken out. */
const LEAST_RESIDUE = 6;

/** From so many characters that do not follow from others on, a password is called strong. */
const STRONG_RESIDUE = 24;

/** Ids of the messages that say what is wrong with a new password. */
export type PasswordProblem =
  | "err.password.short"
  | "err.password.long"
  | "err.password.common"
  | "err.password.context";

/** What somebody who knows the person and the service would try first. */
export interface PasswordContext {
  readonly productName: string;
  /** Address of the service. */
  readonly issuer?: string | undefined;
  readonly email?: string | undefined;
  readonly username?: string | null | undefined;
  /** The person's names, as far as known. */
  readonly names?: readonly string[];
}

/** One form for what different keyboards send for the same characters (NFC); nothing is trimmed or folded. */
export function normalisePassword(password: string): string {
  return password.normalize("NFC");
}

/** Whether a normalised password is more than we hash; asked before any work is done. */
export function isTooLong(text: string): boolean {
  return (
    text.length > MAX_PASSWORD_LENGTH * 2 ||
    Buffer.byteLength(text) > MAX_BYTES ||
    Array.from(text).length > MAX_PASSWORD_LENGTH
  );
}

/**
 * What is wrong with a new password, in the order in which to say it; empty where nothing is. There are no rules on
 * kinds of characters (NIST SP 800-63B-4 §3.1.1.2, T-60). `minLength` is one of the two constants above, whichever
 * policy demands for this person.
 */
export function checkNewPassword(
  password: string,
  context: PasswordContext,
  minLength: number = MIN_PASSWORD_LENGTH,
): PasswordProblem[] {
  const text = normalisePassword(password);
  if (isTooLong(text)) return ["err.password.long"];
  const problems: PasswordProblem[] = [];
  if (Array.from(text).length < minLength) problems.push("err.password.short");
  if (isGuessable(text)) problems.push("err.password.common");
  if (isMadeOfContext(text, context, minLength)) problems.push("err.password.context");
  return problems;
}

/** How hard a password is to guess: `weak` is refused, the others are advice. */
export type PasswordStrength = "weak" | "fair" | "strong";

/**
 * A plain estimate of a new password: what `checkNewPassword` accepts is fair, and strong where enough of it follows
 * neither from the rest nor from who the person is. It counts characters and knows no dictionary but the list of common
 * passwords, so it is advice and decides nothing.
 */
export function estimateStrength(
  password: string,
  context: PasswordContext,
  minLength: number = MIN_PASSWORD_LENGTH,
): PasswordStrength {
  if (checkNewPassword(password, context, minLength).length > 0) return "weak";
  const residue = withoutContext(residueOf(password.normalize("NFC")), context);
  return Array.from(residue).length >= STRONG_RESIDUE ? "strong" : "fair";
}

/** Among the first to be tried: on the list, or as good as empty without its repetitions and sequences, or both. */
function isGuessable(text: string): boolean {
  if (text === "") return false;
  const residue = residueOf(text);
  return (
    isCommonPassword(text) ||
    isCommonPassword(residue) ||
    Array.from(residue).length < LEAST_RESIDUE
  );
}

/**
 * A derivative of a name (NIST SP 800-63B-4 §3.1.1.2): such words do not count towards the length, and what stands beside
 * them is not a common password.
 */
function isMadeOfContext(text: string, context: PasswordContext, minLength: number): boolean {
  const rest = withoutContext(text, context);
  const known = lettersAndDigits(text).length - rest.length;
  return known > 0 && (Array.from(text).length - known < minLength || isCommonPassword(rest));
}

function withoutContext(text: string, context: PasswordContext): string {
  return contextWords(context).reduce(
    (rest, word) => rest.replaceAll(word, ""),
    lettersAndDigits(text),
  );
}

/** The longest first, so that a name is not torn apart by a shorter one within it. */
function contextWords({
  productName,
  issuer,
  email = "",
  username,
  names = [],
}: PasswordContext): string[] {
  const [local = "", domain = ""] = email.split("@");
  const host = issuer === undefined ? "" : new URL(issuer).hostname;
  return [productName, local, ...local.split(/[._+-]/), username ?? "", ...names]
    .concat(domain.split("."), host.split("."))
    .map(lettersAndDigits)
    .filter((word) => Array.from(word).length >= MIN_WORD_LENGTH)
    .toSorted((a, b) => b.length - a.length);
}

/** What stands between words does not make a word another one. */
function lettersAndDigits(text: string): string {
  return foldPassword(text).replaceAll(/[^\p{L}\p{N}]/gu, "");
}
