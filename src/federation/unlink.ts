import type { TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { endSessions, type Ending } from "../devices/sessions.ts";
import { isUuid } from "../lib/uuid.ts";
import type { Mailer } from "../mail/mailer.ts";
import { Identity } from "../models/identity.ts";
import { OrganizationMember } from "../models/organization-member.ts";
import { Session } from "../models/session.ts";
import { User } from "../models/user.ts";

/** An identity that its owner wants to be rid of. */
export interface Unlink {
  readonly userId: string;
  readonly id: string;
  readonly mailer: Mailer;
  /** The address of the issuer of ours; mails lead there. */
  readonly issuer: string;
  readonly origin: Pick<NewEvent, "requestId" | "ipPrefix">;
  /** The session of who asks, which goes on. */
  readonly sessionUid: string;
  readonly now: Date;
}

/**
 * Disconnects an identity from its account and tells the person; what it signed in elsewhere ends. Not where it is the
 * last way in, nor where the connection is the only one by which the person's domain may sign in. Call it in a
 * transaction: of two who remove the last two ways at once, the second sees what the first one did.
 */
export async function unlinkIdentity(
  db: TransactionOrKnex,
  { userId, id, mailer, issuer, origin, sessionUid, now }: Unlink,
): Promise<"done" | "unknown" | "last" | "enforced"> {
  await User.query(db).findById(userId).forUpdate();
  const identity = isUuid(id)
    ? await Identity.query(db).findOne({ id, userId }).withGraphFetched("provider")
    : undefined;
  if (identity?.provider === undefined) return "unknown";
  if (await Identity.isEnforced(db, id)) return "enforced";
  if (!(await Identity.isSpare(db, { id, userId }))) return "last";
  const { slug, name } = identity.provider;
  const actor = { type: "user", id: userId } as const;
  const ending = { ...origin, actor, userId, reason: "user_revoked" } as const;
  await remove(db, { id, slug }, { ...ending, sessionUid }, now);
  const url = `${issuer}/account/connected`;
  await mailer.identityChanged(db, { userId, what: "identity_unlinked", name, url, now });
  return "done";
}

/**
 * Disconnects what was connected to an account since somebody else was in it, for its owner, who says so: also the last
 * way in, because it is not theirs. What it signed in ends. Call it in a transaction.
 */
export async function unlinkSince(
  db: TransactionOrKnex,
  since: Date,
  ending: Ending,
  now: Date,
): Promise<void> {
  const { userId } = ending;
  await User.query(db).findById(userId).forUpdate();
  const later = await Identity.query(db)
    .where({ userId })
    .where("createdAt", ">=", since)
    .withGraphFetched("provider");
  for (const { id, provider } of later) await remove(db, { id, slug: provider?.slug }, ending, now);
}

/** Takes an identity away, and ends the sessions that it began but the one of who asks. */
async function remove(
  db: TransactionOrKnex,
  { id, slug }: { id: string; slug: string | undefined },
  { sessionUid, ...ending }: Ending & { sessionUid?: string },
  now: Date,
): Promise<void> {
  const { userId, reason: _reason, ...by } = ending;
  const begun = await Session.query(db).select("uid").where({ userId, identityId: id });
  const uids = begun.map(({ uid }) => uid).filter((uid) => uid !== sessionUid);
  await endSessions(db, uids, ending, now);
  await OrganizationMember.standByOthers(db, { identityId: id });
  await Identity.query(db).deleteById(id);
  await record(db, {
    ...by,
    type: "identity.unlinked",
    userId,
    sessionUid,
    target: { type: "identity", id },
    details: { connection: slug },
  });
}
