import type { TransactionOrKnex } from "objection";
import type { NormalisedEmail } from "../authn/normalise-email.ts";
import type { User } from "../models/user.ts";
import { createUser } from "../users/users.ts";

/**
 * Makes the account of somebody who arrives for the first time. Sign-up may be closed: whether a connection's people
 * get accounts is its own switch, `jit_provisioning`.
 *
 * @param account.address none where it is somebody else's, or where nobody shares addresses with this connection.
 * @param account.isVouchedFor whether the provider can say whose it is; otherwise the person has yet to prove it.
 * @throws AppError `email_taken` where somebody has proven the address meanwhile.
 */
export async function provision(
  db: TransactionOrKnex,
  { address, isVouchedFor }: { address: NormalisedEmail | undefined; isVouchedFor: boolean },
  now: Date,
): Promise<User> {
  return createUser(db, { email: address?.email, verified: isVouchedFor, via: "federation" }, now);
}
