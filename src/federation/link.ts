import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import { errors } from "../errors.ts";
import { Identity } from "../models/identity.ts";
import { User } from "../models/user.ts";
import type { Arrival } from "./people.ts";
import { bringUpToDate } from "./sync.ts";

/** Both sides of a link, each proven: the account by its own sign-in, the identity by the provider. */
export interface Link extends Arrival {
  readonly userId: string;
}

/**
 * Connects an identity to the account of somebody who has shown, in the browser that brought the identity, that the
 * account is theirs (T-92), and tells them. One that is theirs already is only brought up to date.
 *
 * @throws AppError `identity_taken` where it is connected to somebody else's account, from which it is never moved;
 *   `bad_request` where the connection's people have accounts of their own (`isolated`), or the account is disabled.
 */
export async function linkIdentity(
  db: TransactionOrKnex,
  { userId, ...arrival }: Link,
): Promise<Identity> {
  const { provider, identity } = arrival;
  const user = await User.query(db).findById(userId);
  if (user?.isActive !== true || provider.linkingPolicy === "isolated")
    throw errors.badRequest("This sign-in cannot be connected to this account.");
  const { issuer, subject } = identity;
  const find = () => Identity.query(db).findOne({ providerId: provider.id, issuer, subject });
  const before = await find();
  if (before === undefined) {
    try {
      // A statement that may fail is in a savepoint of its own.
      return await db.transaction(async (trx) =>
        bringUpToDate(trx, arrival, await addIdentity(trx, arrival, userId, "user")),
      );
    } catch (error) {
      if (!(error instanceof UniqueViolationError)) throw error;
    }
  }
  const taken = before ?? (await find());
  if (taken?.userId !== userId) throw errors.identityTaken();
  return bringUpToDate(db, arrival, taken);
}

/** Notes whose an identity is, in a transaction: a unique key refuses it where it is anybody's already. */
export async function addIdentity(
  db: TransactionOrKnex,
  { provider, identity, now, mailer, issuer, origin }: Arrival,
  userId: string,
  linkedVia: Identity["linkedVia"],
): Promise<Identity> {
  const row = await Identity.query(db).insertAndFetch({
    userId,
    providerId: provider.id,
    issuer: identity.issuer,
    subject: identity.subject,
    linkedVia,
    createdAt: now,
    updatedAt: now,
  });
  // Who has just got an account need not be told that it is connected.
  if (linkedVia === "signup") return row;
  await record(db, {
    ...origin,
    type: "identity.linked",
    actor: { type: "user", id: userId },
    userId,
    target: { type: "identity", id: row.id },
    details: { connection: provider.slug, via: linkedVia },
  });
  const url = `${issuer}/account/connected`;
  const { name } = provider;
  await mailer.identityChanged(db, { userId, what: "identity_linked", name, url, now });
  return row;
}
