import type { TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { UserPassword } from "../models/user-password.ts";
import { TrustedBrowser } from "../models/trusted-browser.ts";
import { User } from "../models/user.ts";
import { terminateUser } from "./terminate.ts";

/** A password that a person chose. */
export interface NewPassword {
  readonly userId: string;
  readonly hash: string;
  /** How the person showed that the account is theirs. */
  readonly via: "reset" | "change" | "added";
  /** Whether everything else that is signed in ends, and the session that stays. */
  readonly signOutOthers: boolean;
  readonly keepSession?: string | undefined;
  readonly origin?: Pick<NewEvent, "requestId" | "ipPrefix" | "sessionUid">;
}

/**
 * Sets a password. Every link and code that is on its way to this person stops working (T-65), and whatever else is
 * signed in ends where the person wants it.
 */
export async function setPassword(
  db: TransactionOrKnex,
  { userId, hash, via, signOutOthers, keepSession, origin }: NewPassword,
  now: Date,
): Promise<void> {
  await UserPassword.query(db)
    .insert({ userId, hash, changedAt: now })
    .onConflict("userId")
    .merge();
  await User.query(db).findById(userId).patch({ credentialsChangedAt: now });
  for (const purpose of ["reset_password", "verify_email"] as const)
    await OneTimeToken.revokeOf(db, { userId, purpose }, "password_changed", now);
  const actor = { type: "user", id: userId } as const;
  await record(db, { ...origin, type: "password.changed", actor, userId, details: { via } });
  if (!signOutOthers) return;
  await TrustedBrowser.query(db).delete().where({ userId });
  await terminateUser(db, { userId, reason: "password_changed", actor, except: keepSession }, now);
}
