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
 *
 * @param ended.except the session that stays, with what it holds: of whoever asks for it.
 */
export async function terminateUser(
  db: TransactionOrKnex,
  {
    userId,
    reason,
    actor,
    except,
  }: {
    userId: string;
    reason: "user_disabled" | "admin_revoked" | "password_changed" | "email_restored";
    actor: NewEvent["actor"];
    except?: string | undefined;
  },
  now: Date,
): Promise<void> {
  if (except === undefined)
    await User.query(db).findById(userId).patch({ sessionsValidAfter: now });
  await LogoutNotice.queueForUser(db, userId, now, except);
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
    .whereRaw("uid IS DISTINCT FROM CAST(? AS text)", [except ?? null])
    .whereNull("endedAt");
  const grants = OAuthGrant.query(db)
    .where({ userId })
    .whereRaw(
      "(session_uid IS DISTINCT FROM CAST(:except AS text) OR CAST(:except AS text) IS NULL)",
      {
        except: except ?? null,
      },
    );
  await RefreshToken.query(db)
    .patch({ revokedAt: now })
    .whereIn("grantId", grants.clone().select("id"))
    .whereNull("revokedAt");
  await grants.patch({ revokedAt: now, tokensValidAfter: now }).whereNull("revokedAt");
  if (sessions > 0)
    await record(db, {
      type: "session.revoked",
      actor,
      userId,
      details: { reason, count: sessions },
    });
}
