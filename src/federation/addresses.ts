import type { TransactionOrKnex } from "objection";
import { normaliseEmail, type NormalisedEmail } from "../authn/normalise-email.ts";
import { AppError } from "../errors.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { SsoDomain } from "../models/sso-domain.ts";
import { UserEmail } from "../models/user-email.ts";
import { User } from "../models/user.ts";
import type { UpstreamIdentity } from "./connector.ts";

/** The address that a provider states, in our form; none where it is not one. */
export function addressOf({ email }: UpstreamIdentity): NormalisedEmail | undefined {
  if (email === undefined) return undefined;
  try {
    return normaliseEmail(email);
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}

/**
 * Who has proven an address here, and whether it is the one that names them. Who only claims one has nothing to do with
 * whoever else does (T-91).
 */
export async function ownerOf(
  db: TransactionOrKnex,
  { emailNorm }: NormalisedEmail,
): Promise<{ user: User; isPrimary: boolean } | undefined> {
  const email = await UserEmail.query(db).findOne({ emailNorm }).whereNotNull("verifiedAt");
  if (email === undefined) return undefined;
  const user = await User.query(db).findById(email.userId).throwIfNotFound();
  return { user, isPrimary: email.isPrimary };
}

/**
 * Whether a provider can say whose an address is: it says that it is verified, the operator believes it, and the
 * domain is proven to be its own. Anybody else's word makes an address neither verified nor a reason to join accounts
 * (T-91). The proof is held until the caller's transaction ends, so that it cannot be taken back meanwhile (T-93).
 */
export async function isAuthoritative(
  db: TransactionOrKnex,
  { id: providerId, trustEmailVerified }: IdentityProvider,
  { emailVerified }: UpstreamIdentity,
  address: NormalisedEmail | undefined,
): Promise<boolean> {
  if (address === undefined || !emailVerified || !trustEmailVerified) return false;
  const domain = domainOf(address);
  const proven = await SsoDomain.query(db)
    .findOne({ providerId, domain })
    .whereNotNull("verifiedAt")
    .forShare();
  return proven !== undefined;
}

/** In ASCII and lower case. */
function domainOf({ emailNorm }: NormalisedEmail): string {
  return emailNorm.slice(emailNorm.lastIndexOf("@") + 1);
}
