import type { TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { removeFactors } from "../authn/factors.ts";
import { Identity } from "../models/identity.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { UserEmail } from "../models/user-email.ts";
import { UserPassword } from "../models/user-password.ts";
import { User } from "../models/user.ts";
import { terminateUser } from "./terminate.ts";

/**
 * Gives an account of which nobody has proven any address to whoever has the mailbox of one of them: somebody else may
 * have made it with their address, and must not be in it with them (T-91). Every way in that was there before goes:
 * password, passkeys, second steps, sign-ins elsewhere, other addresses, letters, sessions and tokens. An account with
 * a proven address is left as it is.
 *
 * @returns whether there was anything to take back. Call it in a transaction, before the address is verified.
 */
export async function reclaim(
  db: TransactionOrKnex,
  {
    userId,
    emailId,
    by,
  }: {
    userId: string;
    emailId: string;
    by: Pick<NewEvent, "actor" | "requestId" | "ipPrefix">;
  },
  now: Date,
): Promise<boolean> {
  await User.query(db).findById(userId).forUpdate();
  const proven = await UserEmail.query(db).findOne({ userId }).whereNotNull("verifiedAt");
  if (proven !== undefined) return false;
  await UserPassword.query(db).deleteById(userId);
  await removeFactors(db, userId);
  await Identity.query(db).delete().where({ userId });
  await UserEmail.query(db).delete().where({ userId }).whereNot({ id: emailId });
  await UserEmail.query(db).findById(emailId).patch({ isPrimary: true });
  await OneTimeToken.revokeOf(db, { userId }, "email_changed", now);
  await User.query(db).findById(userId).patch({ credentialsChangedAt: now });
  await record(db, { ...by, type: "user.reclaimed", userId });
  await terminateUser(db, { userId, reason: "email_restored", actor: by.actor }, now);
  return true;
}
