import type { TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { Identity } from "../models/identity.ts";
import { LogoutNotice } from "../models/logout-notice.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { OAuthGrant } from "../models/oauth-grant.ts";
import { RefreshToken } from "../models/refresh-token.ts";
import { Session } from "../models/session.ts";
import { UserDevice } from "../models/user-device.ts";
import { User } from "../models/user.ts";

/** One live sign-in of a person, with the browser it is in, if that is known, and the apps that use it. */
export interface LiveSession {
  readonly session: Session;
  readonly device: UserDevice | undefined;
  /** The names of the apps. */
  readonly apps: readonly string[];
  /** The connection through which it began, where it began elsewhere. */
  readonly connection: string | undefined;
}

/** The most that are listed; who has more ends them all. */
const MOST = 100;

/** The live sign-ins of a person, the one used last first. */
export async function listSessions(
  db: TransactionOrKnex,
  userId: string,
  now: Date,
): Promise<LiveSession[]> {
  const sessions = await Session.liveOf(db, userId, now)
    .orderBy("lastActiveAt", "desc")
    .limit(MOST);
  const devices = await UserDevice.query(db).where({ userId });
  const ids = sessions.flatMap(({ authorizations }) => Object.keys(authorizations ?? {}));
  const clients = await OAuthClient.query(db)
    .select("clientId", "name")
    .whereIn("clientId", ids)
    .whereNull("deletedAt")
    .orderBy("name");
  const identities = await Identity.query(db)
    .whereIn(
      "id",
      sessions.map(({ identityId }) => identityId).filter((id) => id !== null),
    )
    .withGraphFetched("provider");
  return sessions.map((session) => ({
    session,
    device: devices.find(({ id }) => id === session.deviceId),
    apps: clients
      .filter(({ clientId }) => session.authorizations?.[clientId] !== undefined)
      .map(({ name }) => name),
    connection: identities.find(({ id }) => id === session.identityId)?.provider?.slug,
  }));
}

/** Who ends sign-ins of a person, and why. */
export interface Ending extends Pick<NewEvent, "actor" | "requestId" | "ipPrefix"> {
  readonly userId: string;
  readonly reason:
    | "logout"
    | "admin_revoked"
    | "user_revoked"
    | "disavowed"
    | "superseded"
    | "upstream_logout";
}

/**
 * Ends sign-ins of a person with everything that was made in them: their grants, every token under those, offline
 * access too unless they only signed out, and the sign-in at each app that wants to be told (OIDC Back-Channel Logout §2). Those of others stay.
 *
 * @returns how many there were to end.
 */
export async function endSessions(
  db: TransactionOrKnex,
  uids: readonly string[],
  { userId, reason, ...about }: Ending,
  now: Date,
): Promise<number> {
  const live = Session.liveOf(db, userId, now).whereIn("uid", uids);
  const sessions = await live.select("uid", "authorizations").forUpdate();
  const ending = sessions.map(({ uid }) => uid);
  if (ending.length === 0) return 0;
  await LogoutNotice.queueForSessions(db, ending, now);
  await Session.query(db)
    .patch({
      endedAt: now,
      endReason: reason,
      cookieHash: null,
      cookieEnc: null,
      previousCookieHash: null,
    })
    .whereIn("uid", ending);
  const grants = OAuthGrant.query(db)
    .where({ userId })
    .whereIn("sessionUid", ending)
    .whereNotIn("id", reason === "logout" ? sessions.flatMap(offlineGrants) : []);
  await RefreshToken.query(db)
    .patch({ revokedAt: now })
    .whereIn("grantId", grants.clone().select("id"))
    .whereNull("revokedAt");
  await grants.patch({ revokedAt: now, tokensValidAfter: now }).whereNull("revokedAt");
  await record(db, {
    ...about,
    type: "session.revoked",
    userId,
    sessionUid: ending.length === 1 ? ending[0] : undefined,
    details: { reason, count: ending.length },
  });
  return ending.length;
}

/** What goes on when somebody signs out (OIDC Core §11). */
function offlineGrants({ authorizations }: Session): string[] {
  return Object.values(authorizations ?? {}).flatMap(({ grantId, persistsLogout }) =>
    persistsLogout === true && grantId !== undefined ? [grantId] : [],
  );
}

/** Ends all sign-ins of a person, but one where it is named, and those that were begun and not finished (T-30). */
export async function endAllSessions(
  db: TransactionOrKnex,
  ending: Ending,
  now: Date,
  except?: string,
): Promise<void> {
  await User.query(db).findById(ending.userId).patch({ credentialsChangedAt: now });
  const live = await Session.liveOf(db, ending.userId, now).select("uid");
  const uids = live.map(({ uid }) => uid).filter((uid) => uid !== except);
  await endSessions(db, uids, ending, now);
}

/** Makes a browser a stranger to a person again, and ends what they have open on it. */
export async function forgetDevice(
  db: TransactionOrKnex,
  deviceId: string,
  ending: Ending,
  now: Date,
): Promise<boolean> {
  const { userId } = ending;
  const there = await Session.query(db).select("uid").where({ userId, deviceId });
  await endSessions(
    db,
    there.map(({ uid }) => uid),
    ending,
    now,
  );
  return (await UserDevice.query(db).delete().where({ id: deviceId, userId })) === 1;
}
