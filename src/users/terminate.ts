import type { TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { DecoupledAuthorization } from "../models/decoupled-authorization.ts";
import { LogoutNotice } from "../models/logout-notice.ts";
import { OAuthGrant } from "../models/oauth-grant.ts";
import { RefreshToken } from "../models/refresh-token.ts";
import { Session } from "../models/session.ts";
import { User } from "../models/user.ts";

/**
 * Ends everything a user has open: sessions, grants and, with the grants, every token under them (T-30). The one place
 * for it, whatever the occasion. Called within the transaction of that occasion.
 */
export async function terminateUser(
  db: TransactionOrKnex,
  {
    userId,
    reason,
    actor,
  }: {
    userId: string;
    reason: "user_disabled" | "admin_revoked";
    actor: NewEvent["actor"];
  },
  now: Date,
): Promise<void> {
  await User.query(db).findById(userId).patch({ sessionsValidAfter: now });
  await LogoutNotice.queueForUser(db, userId, now);
  await DecoupledAuthorization.denyAllOf(db, userId, now);
  const sessions = await Session.query(db)
    .patch({
      endedAt: now,
      endReason: reason,
      cookieHash: null,
      cookieEnc: null,
      previousCookieHash: null,
    })
    .where({ userId })
    .whereNull("endedAt");
  await RefreshToken.query(db)
    .patch({ revokedAt: now })
    .whereIn("grantId", OAuthGrant.query(db).select("id").where({ userId }))
    .whereNull("revokedAt");
  await OAuthGrant.query(db)
    .patch({ revokedAt: now, tokensValidAfter: now })
    .where({ userId })
    .whereNull("revokedAt");
  if (sessions > 0)
    await record(db, {
      type: "session.revoked",
      actor,
      userId,
      details: { reason, count: sessions },
    });
}
