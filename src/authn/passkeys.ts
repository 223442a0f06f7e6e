import { randomBytes } from "node:crypto";
import type {
  AuthenticatorTransport,
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
} from "@simplewebauthn/server";
import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";
import { reader, writer } from "../database/transaction.ts";
import type { RelyingParty } from "../issuers.ts";
import { sha256 } from "../lib/secret.ts";
import { AuthChallenge } from "../models/auth-challenge.ts";
import type { User } from "../models/user.ts";
import { WebauthnCredential } from "../models/webauthn-credential.ts";
import { suggestName } from "./authenticators.ts";
import { readAssertion, readRegistration, type ClientData } from "./passkey-responses.ts";

/** How long a browser waits for a finger, in milliseconds (WebAuthn §15.1). */
const TIMEOUT = 300_000;
/** EdDSA, ES256 and RS256, the best first (RFC 9053 §2, RFC 8812 §2): every authenticator has one of them. */
const ALGORITHMS = [-8, -7, -257];
const NO_AAGUID = "00000000-0000-0000-0000-000000000000";

/**
 * Why and where a passkey is asked for. An answer counts once, for the purpose, the interaction or session and the
 * person that the question was made for (T-80).
 */
export interface Occasion {
  readonly purpose: "sign_in" | "second_factor" | "register";
  /** The uid of the interaction or session. */
  readonly of: string;
  /** Who must answer; anybody may where it is not said. */
  readonly userId?: string | undefined;
}

/** Why an answer does not count; for the audit, not for whoever sent it. */
export type PasskeyRefusal =
  | "malformed"
  | "cross_origin"
  | "stale_challenge"
  | "unknown"
  | "other_user"
  | "not_verified"
  | "cloned";

/**
 * How far from the browser a passkey was, as the browser says: in the same device, or across a QR code in another one
 * (WebAuthn §5.4.5). For the comfort of people; nothing is decided by it that anybody else could gain from.
 */
export type PasskeyReach = "built-in" | "other-device" | "elsewhere";

/** Who answered, or why nobody did. */
export type PasskeySignIn =
  | { readonly user: User; readonly passkeyId: string; readonly reach: PasskeyReach }
  | {
      readonly refused: PasskeyRefusal;
      /** As it was sent, so that an authenticator can be told that it is not known here. */
      readonly credentialId?: string;
      readonly userId?: string;
      readonly passkeyId?: string;
    };

/**
 * The question to an authenticator: sign this challenge (WebAuthn §5.5). Whoever is not said to be somebody gets one
 * that says nothing of anybody (T-85); somebody's own passkeys are named.
 *
 * @param until when the page or interaction that asks is over: an hour from `now` at most.
 */
export async function askForPasskey(
  db: TransactionOrKnex,
  { id: rpId }: RelyingParty,
  occasion: Occasion,
  { now, until }: { now: Date; until: Date },
): Promise<PublicKeyCredentialRequestOptionsJSON> {
  const { userId } = occasion;
  const passkeys = userId === undefined ? [] : await WebauthnCredential.of(db, userId, rpId);
  const { generateAuthenticationOptions } = await webauthn();
  return generateAuthenticationOptions({
    rpID: rpId,
    challenge: await challengeFor(db, occasion, now, until),
    allowCredentials: passkeys.map(describe),
    userVerification: "required",
    timeout: TIMEOUT,
  });
}

/**
 * Checks the answer to {@link askForPasskey} (WebAuthn §7.2). The challenge is spent whatever comes of it, also where
 * nothing else of the request is kept, and an authenticator that counts must have counted up.
 */
export async function signInWithPasskey(
  knex: Knex,
  relyingParty: RelyingParty,
  occasion: Occasion,
  answer: string,
  now: Date,
): Promise<PasskeySignIn> {
  const read = readAssertion(answer);
  if (read === undefined) return { refused: "malformed" };
  const { response, clientData } = read;
  const refused = await spend(reader(knex), occasion, clientData, now);
  if (refused !== undefined) return { refused };

  const credentialId = response.id;
  const found = await WebauthnCredential.findWithUser(reader(knex), {
    credentialId: Buffer.from(credentialId, "base64url"),
    rpId: relyingParty.id,
  });
  if (found === undefined) return { refused: "unknown", credentialId };
  const { passkey, user } = found;
  const about = { credentialId, passkeyId: passkey.id, userId: passkey.userId };
  if (!isTheirs(user, occasion, response.response.userHandle))
    return { ...about, refused: "other_user" };

  const { verifyAuthenticationResponse } = await webauthn();
  const proof = await ifVerified(
    verifyAuthenticationResponse({
      response,
      expectedChallenge: clientData.challenge,
      expectedOrigin: [...relyingParty.origins],
      expectedRPID: relyingParty.id,
      requireUserVerification: true,
      // The library looks at the counter before the signature; ours is compared where it is written.
      credential: { id: credentialId, publicKey: new Uint8Array(passkey.publicKey), counter: 0 },
    }),
  );
  if (proof === undefined) return { ...about, refused: "not_verified" };
  const { newCounter: signCount, credentialBackedUp: backedUp } = proof.authenticationInfo;
  const isEligible = proof.authenticationInfo.credentialDeviceType === "multiDevice";
  // It never changes (WebAuthn §6.1.3): something else made this answer.
  if (isEligible !== passkey.backupEligible) return { ...about, refused: "not_verified" };
  const use = { id: passkey.id, signCount, backedUp, now };
  const isOnlyOne = await WebauthnCredential.use(await writer(knex), use);
  if (!isOnlyOne) return { ...about, refused: "cloned" };
  const { authenticatorAttachment: attachment } = response;
  return { user, passkeyId: passkey.id, reach: reachOf(attachment, passkey.transports) };
}

function reachOf(attachment: string | undefined, transports: readonly string[]): PasskeyReach {
  if (attachment === "platform") return "built-in";
  return attachment === "cross-platform" && transports.includes("hybrid")
    ? "other-device"
    : "elsewhere";
}

/** How a password manager shows whom a passkey is for. */
export interface PasskeyOwner {
  /** Who may not be there yet, and then has no passkeys. */
  readonly user: Pick<User, "webauthnUserHandle">;
  readonly name: string;
  readonly displayName: string;
}

/** The offer to make a passkey (WebAuthn §5.4), one that finds its user by itself and asks for more than a touch. */
export async function askForNewPasskey(
  db: TransactionOrKnex,
  { id: rpId }: RelyingParty,
  occasion: Occasion,
  { owner, productName }: { owner: PasskeyOwner; productName: string },
  { now, until }: { now: Date; until: Date },
): Promise<PublicKeyCredentialCreationOptionsJSON> {
  const { userId } = occasion;
  const passkeys = userId === undefined ? [] : await WebauthnCredential.of(db, userId, rpId);
  const { generateRegistrationOptions } = await webauthn();
  return generateRegistrationOptions({
    rpID: rpId,
    rpName: productName,
    userID: new Uint8Array(owner.user.webauthnUserHandle),
    userName: owner.name,
    userDisplayName: owner.displayName,
    challenge: await challengeFor(db, occasion, now, until),
    excludeCredentials: passkeys.map(describe),
    authenticatorSelection: { residentKey: "required", userVerification: "required" },
    attestationType: "none",
    supportedAlgorithmIDs: ALGORITHMS,
    timeout: TIMEOUT,
  });
}

/** A passkey that was made and is nobody's yet. It can be JSON; bytes are in base64url. */
export interface NewPasskey {
  readonly credentialId: string;
  readonly publicKey: string;
  readonly rpId: string;
  readonly signCount: number;
  readonly aaguid: string;
  readonly transports: readonly string[];
  readonly backupEligible: boolean;
  readonly backedUp: boolean;
  readonly isBuiltIn: boolean;
}

/** A passkey as it was kept. */
interface KeptPasskey {
  readonly id: string;
  readonly name: string;
  readonly aaguid: string;
  readonly isBuiltIn: boolean;
}

/**
 * Checks the answer to {@link askForNewPasskey} (WebAuthn §7.1) and keeps the passkey, under a name that its
 * authenticator suggests.
 *
 * @param isSilent whether the browser made it by itself after a password (§5.1.3, "conditional"): then nobody was
 *   there to touch anything.
 */
export async function addPasskey(
  db: TransactionOrKnex,
  relyingParty: RelyingParty,
  occasion: Occasion & { readonly userId: string },
  answer: string,
  { now, isSilent = false }: { now: Date; isSilent?: boolean },
): Promise<{ readonly passkey: KeptPasskey } | { readonly refused: PasskeyRefusal | "taken" }> {
  const made = await checkNewPasskey(db, relyingParty, occasion, answer, { now, isSilent });
  if ("refused" in made) return made;
  const passkey = await keepPasskey(db, occasion.userId, made.passkey, now);
  return passkey === undefined ? { refused: "taken" } : { passkey };
}

/** Checks the answer to {@link askForNewPasskey}, and keeps nothing: its owner may not be there yet. */
export async function checkNewPasskey(
  db: TransactionOrKnex,
  relyingParty: RelyingParty,
  occasion: Occasion,
  answer: string,
  { now, isSilent = false }: { now: Date; isSilent?: boolean },
): Promise<{ readonly passkey: NewPasskey } | { readonly refused: PasskeyRefusal }> {
  const read = readRegistration(answer);
  if (read === undefined) return { refused: "malformed" };
  const { response, clientData } = read;
  const refused = await spend(db, occasion, clientData, now);
  if (refused !== undefined) return { refused };
  const { verifyRegistrationResponse } = await webauthn();
  const proof = await ifVerified(
    verifyRegistrationResponse({
      response,
      expectedChallenge: clientData.challenge,
      expectedOrigin: [...relyingParty.origins],
      expectedRPID: relyingParty.id,
      requireUserPresence: !isSilent,
      requireUserVerification: !isSilent,
      supportedAlgorithmIDs: ALGORITHMS,
    }),
  );
  if (proof?.registrationInfo === undefined) return { refused: "not_verified" };
  const { credential, aaguid, credentialDeviceType, credentialBackedUp } = proof.registrationInfo;
  return {
    passkey: {
      credentialId: credential.id,
      publicKey: Buffer.from(credential.publicKey).toString("base64url"),
      rpId: relyingParty.id,
      signCount: credential.counter,
      aaguid,
      transports: response.response.transports ?? [],
      backupEligible: credentialDeviceType === "multiDevice",
      backedUp: credentialBackedUp,
      isBuiltIn: response.authenticatorAttachment === "platform",
    },
  };
}

/** @returns undefined where somebody has this passkey already, or the person too many. */
export async function keepPasskey(
  db: TransactionOrKnex,
  userId: string,
  { credentialId, publicKey, aaguid, transports, ...passkey }: NewPasskey,
  now: Date,
): Promise<KeptPasskey | undefined> {
  const others = await WebauthnCredential.of(db, userId, passkey.rpId);
  const name = suggestName(
    aaguid,
    others.map((other) => other.name),
  );
  const id = await WebauthnCredential.add(db, {
    ...passkey,
    userId,
    credentialId: Buffer.from(credentialId, "base64url"),
    publicKey: Buffer.from(publicKey, "base64url"),
    aaguid: aaguid === NO_AAGUID ? null : aaguid,
    transports: [...transports],
    name,
    createdAt: now,
  });
  return id === undefined ? undefined : { id, name, aaguid, isBuiltIn: passkey.isBuiltIn };
}

/** A name as a person may give it to a passkey, or `undefined` where it cannot be one. */
export function passkeyName(typed: string): string | undefined {
  const name = typed.normalize("NFC").trim();
  const length = Array.from(name).length;
  return length >= 1 && length <= 100 && !/\p{Cc}/u.test(name) ? name : undefined;
}

/** The library, loaded for the first passkey: a quarter of all modules, for which a server of programs has no use. */
const webauthn = () => import("@simplewebauthn/server");

/** The challenge of an occasion, which stays the same until it is answered or over. */
async function challengeFor(
  db: TransactionOrKnex,
  occasion: Occasion,
  now: Date,
  expiresAt: Date,
): Promise<Uint8Array<ArrayBuffer>> {
  const bindingHash = bindingOf(occasion);
  const fresh = randomBytes(32);
  return new Uint8Array(await AuthChallenge.current(db, { bindingHash, fresh, now, expiresAt }));
}

/** Spends the challenge of an answer that was made on a page of its own origin; says why where it cannot. */
async function spend(
  db: TransactionOrKnex,
  occasion: Occasion,
  { challenge, isCrossOrigin }: ClientData,
  now: Date,
): Promise<PasskeyRefusal | undefined> {
  const isOurs = await AuthChallenge.consume(db, {
    bindingHash: bindingOf(occasion),
    challenge: Buffer.from(challenge, "base64url"),
    now,
  });
  if (isCrossOrigin) return "cross_origin";
  return isOurs ? undefined : "stale_challenge";
}

function bindingOf({ purpose, of, userId = "" }: Occasion): Buffer {
  return sha256(JSON.stringify([purpose, of, userId]));
}

/**
 * Whether an answer is of the person who was asked. An authenticator that was told of no passkeys says whom the one
 * it chose is for; one that was told may leave it out (WebAuthn §7.2, step 6).
 */
function isTheirs(user: User, { userId }: Occasion, handle: string | undefined): boolean {
  if (userId !== undefined && userId !== user.id) return false;
  if (handle === undefined) return userId !== undefined;
  return user.webauthnUserHandle.equals(Buffer.from(handle, "base64url"));
}

/** The library throws what it finds wrong, and says so of a signature. */
async function ifVerified<T extends { verified: boolean }>(
  verification: Promise<T>,
): Promise<T | undefined> {
  try {
    const result = await verification;
    return result.verified ? result : undefined;
  } catch {
    return undefined;
  }
}

function describe({ credentialId, transports }: WebauthnCredential) {
  return {
    id: credentialId.toString("base64url"),
    transports: transports as AuthenticatorTransport[],
  };
}
