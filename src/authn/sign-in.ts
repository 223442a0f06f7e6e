import type { TransactionOrKnex } from "objection";
import { AppError } from "../errors.ts";
import { UserPassword } from "../models/user-password.ts";
import type { User } from "../models/user.ts";
import type { FoundUser } from "./identifier.ts";
import type { Passwords } from "./password.ts";

/** Who signed in, or why nobody did. Only who knew the password learns that the account is disabled. */
export type SignIn = { readonly user: User } | { readonly refused: "wrong" | "disabled" };

/**
 * Checks the password of whoever was named. Unknown people, people without a password and wrong passwords cost the same and
 * get the same answer (T-62). A hash made with other parameters than today's is replaced on the way. The caller counts
 * the try first: `throttle.ts`.
 *
 * @throws AppError `busy` where the hash queue is full.
 */
export async function signInWithPassword(
  db: TransactionOrKnex,
  { passwords }: { readonly passwords: Passwords },
  { found, password }: { readonly found: FoundUser | undefined; readonly password: string },
): Promise<SignIn> {
  const { ok, needsRehash } = await passwords.verify(found?.passwordHash, password);
  if (!ok || found === undefined) return { refused: "wrong" };
  const { user, passwordHash: verified } = found;
  if (needsRehash && verified !== undefined)
    await replaceHash(db, passwords, { userId: user.id, verified, password });
  return user.isActive ? { user } : { refused: "disabled" };
}

/** Only over the hash that was verified: a password changed meanwhile stays changed. A full queue leaves it for next time. */
async function replaceHash(
  db: TransactionOrKnex,
  passwords: Passwords,
  { userId, verified, password }: { userId: string; verified: string; password: string },
): Promise<void> {
  try {
    const hash = await passwords.hash(password);
    await UserPassword.query(db).patch({ hash }).where({ userId, hash: verified });
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "temporarily_unavailable") throw error;
  }
}
