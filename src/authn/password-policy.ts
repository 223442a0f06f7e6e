/** Least length in code points where the password is the only factor (NIST SP 800-63B-4 §3.1.1). */
export const MIN_PASSWORD_LENGTH = 15;

/** Most code points, and most bytes as UTF-8; what is longer is refused and never cut. */
const MAX_CODE_POINTS = 256;
const MAX_BYTES = 1024;

/** A word that a password must not contain has at least so many characters; shorter ones are in everything. */
const MIN_WORD_LENGTH = 4;

/** Ids of the messages that say what is wrong with a new password. */
export type PasswordProblem =
  | "err.password.short"
  | "err.password.long"
  | "err.password.common"
  | "err.password.context";

/** What somebody who knows the person and the service would try first. */
export interface PasswordContext {
  readonly productName: string;
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
    text.length > MAX_CODE_POINTS * 2 ||
    Buffer.byteLength(text) > MAX_BYTES ||
    Array.from(text).length > MAX_CODE_POINTS
  );
}

/**
 * What is wrong with a new password, in the order in which to say it; empty where nothing is. There are no rules on
 * kinds of characters (NIST SP 800-63B-4 §3.1.1.2, T-60).
 */
export function checkNewPassword(password: string, context: PasswordContext): PasswordProblem[] {
  const text = normalisePassword(password);
  if (isTooLong(text)) return ["err.password.long"];
  const problems: PasswordProblem[] = [];
  if (Array.from(text).length < MIN_PASSWORD_LENGTH) problems.push("err.password.short");
  if (isMonotonous(text)) problems.push("err.password.common");
  const folded = fold(text);
  if (contextWords(context).some((word) => folded.includes(word)))
    problems.push("err.password.context");
  return problems;
}

/** One short piece over and over, or a run along the alphabet or the digits: long, and among the first to be tried. */
function isMonotonous(text: string): boolean {
  if (text === "") return false;
  const points = Array.from(text.toLowerCase());
  if (new Set(points).size < 4) return true;
  const repeats = [1, 2, 3, 4, 5, 6].some(
    (period) =>
      points.length >= period * 2 &&
      points.every((point, index) => point === points[index % period]),
  );
  const steps = points.slice(1).map((point, index) => codeOf(point) - codeOf(points[index]));
  return repeats || steps.every((step) => step === 1) || steps.every((step) => step === -1);
}

function codeOf(point: string | undefined): number {
  return point?.codePointAt(0) ?? 0;
}

function contextWords({ productName, email, username, names = [] }: PasswordContext): string[] {
  const local = email?.slice(0, email.lastIndexOf("@"));
  return [productName, local, username, ...names]
    .map((word) => fold(word ?? ""))
    .filter((word) => Array.from(word).length >= MIN_WORD_LENGTH);
}

/** Case, width and what stands between words do not make a word another one. */
function fold(text: string): string {
  return text
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]/gu, "");
}
