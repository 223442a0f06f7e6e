import type { TransactionOrKnex } from "objection";
import type { NormalisedEmail } from "../authn/normalise-email.ts";
import type { User } from "../models/user.ts";
import { addEmail } from "../users/emails.ts";
import { createUser } from "../users/users.ts";

/**
 * Makes the account of somebody who arrives for the first time. Sign-up may be closed: whether a connection's people
 * get accounts is its own switch, `jit_provisioning`.
 *
 * @param account.address none where it is somebody else's, or where nobody shares addresses with this connection.
 * @param account.isVouchedFor whether the provider can say whose it is; otherwise the person only claims it, as anybody
 *   may, and has yet to prove it.
 * @throws AppError `email_taken` where somebody has proven an address meanwhile that is vouched for.
 */
export async function provision(
  db: TransactionOrKnex,
  { address, isVouchedFor }: { address: NormalisedEmail | undefined; isVouchedFor: boolean },
  now: Date,
): Promise<User> {
  const email = isVouchedFor ? address?.email : undefined;
  const user = await createUser(db, { email, verified: isVouchedFor, via: "federation" }, now);
  if (address !== undefined && !isVouchedFor) {
    const by = { actor: { type: "user", id: user.id } } as const;
    await addEmail(db, { userId: user.id, typed: address.email, by }, now);
  }
  return user;
}
