import { forgetTrustedBrowsers } from "../authn/trusted-browsers.ts";
import type { PublicKeyCredentialCreationOptionsJSON } from "@simplewebauthn/server";
import type { TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import {
  addPasskey,
  askForNewPasskey,
  keepPasskey,
  passkeyName,
  type NewPasskey,
  type Occasion,
} from "../authn/passkeys.ts";
import type { RelyingParty } from "../issuers.ts";
import { isUuid } from "../lib/uuid.ts";
import { User } from "../models/user.ts";
import { WebauthnCredential } from "../models/webauthn-credential.ts";
import { nameOf } from "./claims.ts";

/** Where and for whom passkeys are kept. */
export interface PasskeyHolder {
  readonly relyingParty: RelyingParty;
  /** With addresses and profile, which name them to their password manager. */
  readonly user: User;
}

/** For the audit: from where somebody changes their passkeys, and with which client. */
type Circumstances = Pick<NewEvent, "clientId" | "sessionUid" | "requestId" | "ipPrefix">;

/** How a passkey came to be made: on a page of one's own, because a policy or an offer asked, or by the browser alone. */
export type PasskeyVia = "account" | "enrolment" | "offer" | "upgrade";

/** What the browser needs to make a passkey for somebody (WebAuthn §5.4), as JSON. */
export async function newPasskeyOptions(
  db: TransactionOrKnex,
  { relyingParty, user }: PasskeyHolder,
  { of, productName, now, until }: { of: string; productName: string; now: Date; until: Date },
): Promise<string> {
  const owner = { user, ...namesOf(user) };
  const options: PublicKeyCredentialCreationOptionsJSON = await askForNewPasskey(
    db,
    relyingParty,
    occasionOf(user, of),
    { owner, productName },
    { now, until },
  );
  return JSON.stringify(options);
}

/**
 * Keeps the passkey that a browser made, in the caller's transaction.
 *
 * @returns its id and name, and where it is, or nothing where the answer was not good.
 */
export async function createPasskey(
  db: TransactionOrKnex,
  { relyingParty, user }: PasskeyHolder,
  { of, answer, via, now }: { of: string; answer: string; via: PasskeyVia; now: Date },
  circumstances: Circumstances,
): Promise<{ id: string; name: string; isBuiltIn: boolean } | undefined> {
  const isSilent = via === "upgrade";
  const occasion = occasionOf(user, of);
  const outcome = await addPasskey(db, relyingParty, occasion, answer, { now, isSilent });
  if ("refused" in outcome) return undefined;
  const { id, name, aaguid, isBuiltIn } = outcome.passkey;
  await recordOf(db, circumstances, user, "passkey.created", id, { via, aaguid });
  return { id, name, isBuiltIn };
}

/**
 * Keeps the passkey with which somebody made their account, in the caller's transaction.
 *
 * @returns it, or nothing where somebody has it already.
 */
export async function keepFirstPasskey(
  db: TransactionOrKnex,
  user: User,
  made: NewPasskey,
  now: Date,
): Promise<{ id: string; isBuiltIn: boolean } | undefined> {
  const passkey = await keepPasskey(db, user.id, made, now);
  if (passkey === undefined) return undefined;
  const { id, aaguid, isBuiltIn } = passkey;
  await recordOf(db, {}, user, "passkey.created", id, { via: "registration", aaguid });
  return { id, isBuiltIn };
}

/** @returns whether there is such a passkey of theirs, and the name can be one. */
export async function renamePasskey(
  db: TransactionOrKnex,
  user: User,
  { id, name: typed }: { id: string; name: string },
  circumstances: Circumstances,
): Promise<boolean> {
  const name = passkeyName(typed);
  if (name === undefined || !isUuid(id)) return false;
  const changed = await WebauthnCredential.query(db).patch({ name }).where({ id, userId: user.id });
  if (changed !== 1) return false;
  await recordOf(db, circumstances, user, "passkey.renamed", id);
  return true;
}

/**
 * Removes a passkey, and with the last one the wish to be asked for it after the password.
 *
 * @returns what it was called, or nothing where it is not theirs or their last way in. Call it in a transaction.
 */
export async function removePasskey(
  db: TransactionOrKnex,
  user: User,
  id: string,
  circumstances: Circumstances,
): Promise<{ name: string } | undefined> {
  if (!isUuid(id)) return undefined;
  const removed = await WebauthnCredential.remove(db, { id, userId: user.id });
  if (removed === undefined) return undefined;
  await User.query(db)
    .findById(user.id)
    .patch({ passkeyIsSecondStep: false })
    .whereNotExists(WebauthnCredential.query(db).where({ userId: user.id }));
  await recordOf(db, circumstances, user, "passkey.removed", id);
  return removed;
}

/** Decides whether a passkey is asked for after the password, always, and not only where a client wants it. */
export async function askForPasskeyAlways(
  db: TransactionOrKnex,
  user: User,
  always: boolean,
  circumstances: Circumstances,
): Promise<void> {
  await User.query(db).findById(user.id).patch({ passkeyIsSecondStep: always });
  // What was trusted before was spared less.
  if (always) await forgetTrustedBrowsers(db, { userId: user.id });
  const about = {
    ...circumstances,
    actor: { type: "user", id: user.id },
    userId: user.id,
  } as const;
  await record(db, { ...about, type: "passkey.second_step_set", details: { always } });
}

/**
 * What a password manager is told at each visit, so that it shows what works and under today's name (WebAuthn
 * §5.1.10), as JSON.
 */
export function passkeySignals(
  { relyingParty: { id: rpId }, user }: PasskeyHolder,
  passkeys: readonly WebauthnCredential[],
): string {
  const userId = user.webauthnUserHandle.toString("base64url");
  const accepted = passkeys.map(({ credentialId }) => credentialId.toString("base64url"));
  return JSON.stringify({
    signalAllAcceptedCredentials: { rpId, userId, allAcceptedCredentialIds: accepted },
    signalCurrentUserDetails: { rpId, userId, ...namesOf(user) },
  });
}

function occasionOf(user: User, of: string): Occasion & { userId: string } {
  return { purpose: "register", of, userId: user.id };
}

function namesOf(user: User): { name: string; displayName: string } {
  return {
    name: user.primaryEmail?.email ?? user.username ?? nameOf(user),
    displayName: nameOf(user),
  };
}

async function recordOf<Type extends "passkey.created" | "passkey.renamed" | "passkey.removed">(
  db: TransactionOrKnex,
  circumstances: Circumstances,
  user: User,
  type: Type,
  id: string,
  details?: NewEvent<Type>["details"],
): Promise<void> {
  await record<Type>(db, {
    ...circumstances,
    type,
    actor: { type: "user", id: user.id },
    userId: user.id,
    target: { type: "webauthn_credential", id },
    details,
  });
}
