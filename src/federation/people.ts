import type { TransactionOrKnex } from "objection";
import { UniqueViolationError } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { AppError } from "../errors.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import { Identity } from "../models/identity.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import { User } from "../models/user.ts";
import { addressOf, isAuthoritative, ownerOf } from "./addresses.ts";
import type { UpstreamIdentity } from "./connector.ts";
import { addIdentity } from "./link.ts";
import { provision } from "./provision.ts";
import { bringUpToDate } from "./sync.ts";

/** Somebody who comes from an identity provider, as it was proven to us. */
export interface Arrival {
  readonly provider: IdentityProvider;
  readonly identity: UpstreamIdentity;
  readonly now: Date;
  readonly seal: Seal;
  readonly mailer: Mailer;
  /** The address of the issuer of ours where they arrive; mails lead there. */
  readonly issuer: string;
  readonly origin?: Pick<NewEvent, "requestId" | "ipPrefix" | "clientId">;
}

/** Who they are here. Nobody is signed in by it. */
export type Recognised =
  | {
      /** Known already; known from now on, because the provider vouches for the address; or new. */
      readonly outcome: "known" | "linked" | "made";
      readonly user: User;
      readonly identity: Identity;
    }
  | {
      /** Somebody has that address here: they sign in to this account, and `linkIdentity` joins the two. */
      readonly outcome: "to_link";
      readonly userId: string;
    }
  | { readonly outcome: "refused"; readonly reason: ArrivalRefusal };

/**
 * Why nobody is recognised: they have no account and the connection makes none; their account is disabled; there is no
 * address to give to an account that must have one; the connection was switched off meanwhile (T-93).
 */
type ArrivalRefusal = "unknown" | "disabled" | "incomplete" | "unavailable";

/** How often somebody is looked up again who has just become known. */
const TRIES = 3;

/**
 * Says who somebody is here. An identity is who the provider, its issuer and its subject say, for good; an address
 * never says who somebody is (T-90). Who is not known is joined to an account, asked to sign in to it, or gets a new
 * one, as the connection's `linking_policy` says: `docs/people.md`.
 *
 * Call it in the transaction of the sign-in. Of two who arrive for the first time at once, the unique keys let one be
 * first, and the other one is known by then.
 */
export async function recognise(db: TransactionOrKnex, arrival: Arrival): Promise<Recognised> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await db.transaction((trx) => decide(trx, arrival));
    } catch (error) {
      if (tries === TRIES || !isTaken(error)) throw error;
    }
  }
}

function isTaken(error: unknown): boolean {
  return (
    error instanceof UniqueViolationError ||
    (error instanceof AppError && error.code === "email_taken")
  );
}

async function decide(db: TransactionOrKnex, arrival: Arrival): Promise<Recognised> {
  const { provider } = arrival;
  const enabled = await IdentityProvider.query(db).findOne({ id: provider.id, enabled: true });
  if (enabled === undefined) return refused("unavailable");
  const known = await identityOf(db, arrival).forUpdate();
  if (known === undefined) return meet(db, { ...arrival, provider: enabled });
  const user = await User.query(db).findById(known.userId);
  if (user?.isActive !== true) return refused("disabled");
  return welcome(db, { ...arrival, provider: enabled }, user, known, "known");
}

function identityOf(db: TransactionOrKnex, { provider, identity }: Arrival) {
  const { issuer, subject } = identity;
  return Identity.query(db).findOne({ providerId: provider.id, issuer, subject });
}

/** Somebody whom nobody has seen before. */
async function meet(db: TransactionOrKnex, arrival: Arrival): Promise<Recognised> {
  const { provider, identity, now } = arrival;
  const address = addressOf(identity);
  const isVouchedFor = await isAuthoritative(db, provider, identity, address);
  const found = address === undefined ? undefined : await ownerOf(db, address);
  // That an account is disabled is told to nobody who merely states its address: to them it is as if there were none.
  const owner = found?.user.isActive === true || isVouchedFor ? found : undefined;
  const isMatched = ["prompt", "verified_email"].includes(provider.linkingPolicy);
  if (owner !== undefined && isMatched) {
    // Whoever arrived at the same time may just have made that account.
    if ((await identityOf(db, arrival)) !== undefined) return decide(db, arrival);
    const { user, isPrimary } = owner;
    if (!user.isActive) return refused("disabled");
    if (provider.linkingPolicy !== "verified_email" || !isVouchedFor || !isPrimary)
      return { outcome: "to_link", userId: user.id };
    const row = await addIdentity(db, arrival, user.id, "auto");
    return welcome(db, arrival, user, row, "linked");
  }
  if (!provider.jitProvisioning) return refused("unknown");
  const isFree = owner === undefined && provider.linkingPolicy !== "isolated";
  const own = isFree ? address : undefined;
  const user = await provision(db, { address: own, isVouchedFor }, now);
  const row = await addIdentity(db, arrival, user.id, "signup");
  return welcome(db, arrival, user, row, "made");
}

async function welcome(
  db: TransactionOrKnex,
  arrival: Arrival,
  user: User,
  row: Identity,
  outcome: "known" | "linked" | "made",
): Promise<Recognised> {
  const isNew = outcome === "made";
  const identity = await bringUpToDate(db, arrival, row, { isNew });
  if (isNew)
    await record(db, {
      ...arrival.origin,
      type: "identity.provisioned",
      actor: { type: "user", id: user.id },
      userId: user.id,
      target: { type: "identity", id: row.id },
      details: { connection: arrival.provider.slug },
    });
  return { outcome, user, identity };
}

function refused(reason: ArrivalRefusal): Recognised {
  return { outcome: "refused", reason };
}
