import type { Knex } from "knex";
import type { NewEvent } from "../audit/record.ts";
import {
  checkNewPassword,
  type PasswordContext,
  type PasswordProblem,
} from "../authn/password-policy.ts";
import type { Passwords } from "../authn/password.ts";
import { clearThrottle } from "../authn/throttle.ts";
import { reader, writer } from "../database/transaction.ts";
import { AppError } from "../errors.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import type { User } from "../models/user.ts";
import { findUserWithClaims } from "../users/claims.ts";
import { verifyEmail } from "../users/emails.ts";
import { reclaim } from "../users/reclaim.ts";
import { setPassword } from "../users/passwords.ts";

export interface ResetNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly passwords: Pick<Passwords, "hash">;
  readonly mailer: Pick<Mailer, "passwordChanged">;
  /** What the service is called, and where it is, which must not be in a password either. */
  readonly service: Service;
}

type Service = Required<Pick<PasswordContext, "productName" | "issuer">>;

/** What came of it: a new password, or why there is none. */
export type Reset =
  | { readonly user: User }
  | { readonly problem: PasswordProblem | "err.password.empty" }
  | { readonly refused: "over" | "disabled" };

/** What somebody would know of a person, which must not be in the password. */
export function passwordProblemOf(
  password: string,
  service: Service,
  user: User | undefined,
  email?: string,
): PasswordProblem | "err.password.empty" | undefined {
  if (password === "") return "err.password.empty";
  const { profile } = user ?? {};
  const names = [profile?.displayName, profile?.givenName, profile?.familyName];
  const [problem] = checkNewPassword(password, {
    ...service,
    email: email ?? user?.primaryEmail?.email,
    username: user?.username,
    names: names.flatMap((name) => name?.split(/\s+/) ?? []),
  });
  return problem;
}

/**
 * Sets the password of whoever a letter was written to, and uses the letter up. Nobody is signed in by it, and what
 * else this person must show, they must still show (ASVS 6.4.3), unless nobody had proven anything of the account, which
 * may be another's work (T-91). The address that the letter went to is proven, and
 * the account is no longer stopped by others' guesses.
 */
export async function resetPassword(
  { knex, seal, passwords, mailer, service }: ResetNeeds,
  letter: OneTimeToken,
  form: { readonly password: string; readonly signOutOthers: boolean },
  origin: Pick<NewEvent, "requestId" | "ipPrefix">,
): Promise<Reset> {
  const { userId } = letter;
  const user = userId === null ? undefined : await findUserWithClaims(reader(knex), userId);
  if (user === undefined) return { refused: "over" };
  if (!user.isActive) return { refused: "disabled" };
  const problem = passwordProblemOf(form.password, service, user);
  if (problem !== undefined) return { problem };
  const hash = await passwords.hash(form.password);
  const now = new Date();
  const db = await writer(knex);
  if (!(await OneTimeToken.spend(db, letter.id, now))) return { refused: "over" };
  const by = { ...origin, actor: { type: "user", id: user.id } } as const;
  if (letter.emailId !== null)
    await reclaim(db, { userId: user.id, emailId: letter.emailId, by }, now);
  const { signOutOthers } = form;
  await setPassword(db, { userId: user.id, hash, via: "reset", signOutOthers, origin }, now);
  if (letter.emailId !== null) {
    try {
      await verifyEmail(db, { userId: user.id, emailId: letter.emailId, by }, now);
    } catch (error) {
      // Somebody else has proven it meanwhile; the password is set all the same.
      if (!(error instanceof AppError && error.code === "email_taken")) throw error;
    }
  }
  await clearThrottle(db, seal, user.id);
  await mailer.passwordChanged(db, { userId: user.id, now });
  return { user };
}
