import type { TransactionOrKnex } from "objection";
import { uuidv7 } from "../lib/uuid.ts";
import { IdentifiedModel } from "./base.ts";
import { Session } from "./session.ts";

/** How often a notice is tried: with graphile-worker's backoff of e^n seconds, for about an hour. */
const MAX_ATTEMPTS = 8;

/** That a session ended, for one client that wants to know (OIDC Back-Channel Logout §2.3), and how telling it went. */
export class LogoutNotice extends IdentifiedModel {
  static override tableName = "logout_notices";
  declare clientId: string;
  declare userId: string;
  /** The session as the client knows it. */
  declare sid: string;
  declare status: "queued" | "delivered" | "failed";
  declare attempts: number;
  declare lastError: string | null;
  declare createdAt: Date;
  declare deliveredAt: Date | null;

  /** Queues a notice with its job, in the caller's transaction. `clientId` is the key of the client's row. */
  static async queue(
    db: TransactionOrKnex,
    notice: { clientId: string; userId: string; sid: string; now: Date },
  ): Promise<void> {
    await LogoutNotice.statement(
      db,
      `WITH notice AS (
         INSERT INTO logout_notices (id, client_id, user_id, sid, created_at)
         VALUES (:id, :clientId, :userId, :sid, :now) RETURNING id)
       SELECT graphile_worker.add_job('deliver_logout', json_build_object('id', notice.id),
         max_attempts => :attempts) FROM notice`,
      { ...notice, id: uuidv7(notice.now.getTime()), attempts: MAX_ATTEMPTS },
    );
  }

  /** Queues one for every client that takes part in a live session of a user, except one, and wants to know. */
  static async queueForUser(
    db: TransactionOrKnex,
    userId: string,
    now: Date,
    except?: string,
  ): Promise<void> {
    const live = await Session.liveOf(db, userId, now).select("uid");
    const uids = live.map(({ uid }) => uid).filter((uid) => uid !== except);
    await LogoutNotice.queueForSessions(db, uids, now);
  }

  /** Queues one for every client that takes part in one of these sessions and wants to know. */
  static async queueForSessions(
    db: TransactionOrKnex,
    uids: readonly string[],
    now: Date,
  ): Promise<void> {
    const rows = await LogoutNotice.statement<{ client_id: string; user_id: string; sid: string }>(
      db,
      `SELECT c.id AS client_id, s.user_id, held.value->>'sid' AS sid
       FROM sessions s, jsonb_each(s.authorizations) held, oauth_clients c
       WHERE s.uid = ANY(:uids) AND c.client_id = held.key AND c.deleted_at IS NULL
         AND c.metadata->>'backchannel_logout_uri' IS NOT NULL`,
      { uids },
    );
    for (const { client_id: clientId, user_id: userId, sid } of rows)
      await LogoutNotice.queue(db, { clientId, userId, sid, now });
  }
}
