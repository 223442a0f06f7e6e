import type { TransactionOrKnex } from "objection";
import { readFactors, SELECT_FACTORS, type Factor, type FactorsRow } from "../authn/factors.ts";
import { lookUp } from "../database/look-up.ts";
import { OAuthConsent, selectConsent, type ConsentJson } from "../models/oauth-consent.ts";
import { SELECT_DEVICES, type KnownDevices } from "../models/user-device.ts";
import { selectUser, User, type UserJson } from "../models/user.ts";

/** Who is, or is about to be, signed in, and what a sign-in has to know of them. */
export interface Person {
  readonly user: User;
  /** What they have decided about the client. */
  readonly consent: Pick<OAuthConsent, "scopes" | "rejectedScopes"> | undefined;
  /** What they can show as a second step here. */
  readonly factors: readonly Factor[];
  /** The browsers that they have signed in with, and whether this is one of them. */
  readonly devices: KnownDevices;
}

const FIND = lookUp(
  `SELECT ${selectUser("k.userId")} AS account, ${selectConsent("k.userId", "k.clientId")} AS consent,
     ${SELECT_DEVICES} AS devices, ${SELECT_FACTORS}`,
  { userId: "uuid", clientId: "uuid", rpId: "text", device: "bytea" },
);

interface PersonRow extends FactorsRow {
  readonly account: UserJson | null;
  readonly consent: ConsentJson | null;
  readonly devices: KnownDevices;
}

/**
 * Looks a person up, in one statement; nobody where they are disabled.
 *
 * @param about.clientId the key of the client's row, if it has one.
 * @param about.rpId the relying party whose passkeys count; those of any where it is not said.
 * @param about.device the hash of the cookie by which this browser is known, if it has one.
 */
export async function findPerson(
  db: TransactionOrKnex,
  about: {
    userId: string;
    clientId: string | undefined;
    rpId: string | undefined;
    device: Buffer | undefined;
  },
): Promise<Person | undefined> {
  const { userId, clientId = null, rpId = null, device = null } = about;
  const row = await User.lookUp<PersonRow>(db, FIND, { userId, clientId, rpId, device });
  if (!row?.account) return undefined;
  const user = User.withClaims(row.account);
  if (!user.isActive) return undefined;
  const consent = row.consent === null ? undefined : OAuthConsent.fromJsonRow(row.consent);
  return { user, consent, factors: readFactors(row), devices: row.devices };
}
