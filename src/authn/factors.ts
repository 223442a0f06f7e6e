import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import { MfaFactor } from "../models/mfa-factor.ts";
import { RecoveryCode } from "../models/recovery-code.ts";
import { TrustedBrowser } from "../models/trusted-browser.ts";
import { User } from "../models/user.ts";
import { WebauthnCredential } from "../models/webauthn-credential.ts";
import type { Level, LevelNames } from "./levels.ts";

/** What a person can show as a second step. */
export type Factor = "webauthn" | "totp" | "email" | "recovery";

/** Selects which factors somebody has, `k.userId`, at a relying party, `k.rpId`, or at any where that is null. */
export const SELECT_FACTORS = `EXISTS (SELECT FROM webauthn_credentials WHERE user_id = k.userId
    AND rp_id = coalesce(k.rpId, rp_id)) AS webauthn,
  EXISTS (SELECT FROM mfa_factors WHERE user_id = k.userId AND type = 'totp' AND verified_at IS NOT NULL) AS totp,
  EXISTS (SELECT FROM mfa_factors WHERE user_id = k.userId AND type = 'email') AS email,
  EXISTS (SELECT FROM recovery_codes WHERE user_id = k.userId AND used_at IS NULL) AS recovery`;

/** What {@link SELECT_FACTORS} finds. */
export type FactorsRow = Readonly<Record<Factor, boolean>>;

const FACTORS = lookUp(`SELECT ${SELECT_FACTORS}`, { userId: "uuid", rpId: "text" });

/**
 * What a person can show as a second step, the strongest first. An app that was turned off after too many wrong codes
 * is still here; recovery codes alone are nothing to recover.
 *
 * @param rpId the relying party whose passkeys count; those of any where it is not said.
 */
export async function factorsOf(
  db: TransactionOrKnex,
  userId: string,
  rpId?: string,
): Promise<Factor[]> {
  const about = { userId, rpId: rpId ?? null };
  return readFactors(await User.lookUp<FactorsRow>(db, FACTORS, about));
}

/** The same where it was looked up with something else. */
export function readFactors(row: FactorsRow | undefined): Factor[] {
  const has = (["webauthn", "totp", "email", "recovery"] as const).filter(
    (factor) => row?.[factor] === true,
  );
  return has.every((factor) => factor === "recovery") ? [] : has;
}

/** Whether any of these is something that the person has, and reaches a level. */
export function hasStrongFactor(factors: readonly Factor[]): boolean {
  return reachable(factors) > 1;
}

/**
 * Whether somebody is asked for a second step wherever they sign in (T-70). A passkey alone takes the place of the
 * password, and is asked for after it only where its owner or a policy wants that: a browser may have made it by
 * itself, and nobody is locked out of other devices by what they never set up.
 */
export function isAlwaysAskedFor(
  factors: readonly Factor[],
  { passkeyIsSecondStep }: Pick<User, "passkeyIsSecondStep">,
  policy: { readonly required: boolean },
): boolean {
  if (factors.includes("totp") || factors.includes("email")) return true;
  return factors.includes("webauthn") && (passkeyIsSecondStep || policy.required);
}

/** Makes the person's mailbox their second step: the weakest, for where a policy allows it. */
export async function addEmailFactor(
  db: TransactionOrKnex,
  userId: string,
  now: Date,
): Promise<void> {
  await MfaFactor.query(db)
    .insert({ userId, type: "email", name: "", verifiedAt: now, createdAt: now })
    .onConflict(MfaFactor.raw("(user_id) WHERE type = 'email'"))
    .ignore();
}

/** @returns whether there was one. */
export async function removeEmailFactor(db: TransactionOrKnex, userId: string): Promise<boolean> {
  return (await MfaFactor.query(db).delete().where({ userId, type: "email" })) === 1;
}

/** What was of use beside a second step only, once the last one is gone. */
export async function removeWhatRecovers(db: TransactionOrKnex, userId: string): Promise<void> {
  await RecoveryCode.query(db).delete().where({ userId });
  await TrustedBrowser.query(db).delete().where({ userId });
}

/**
 * Takes everything away that a person has for the second step, passkeys too, which may be on the device that is lost:
 * for an operator (T-87).
 *
 * @returns how many factors.
 */
export async function removeFactors(db: TransactionOrKnex, userId: string): Promise<number> {
  await removeWhatRecovers(db, userId);
  await User.query(db).findById(userId).patch({ passkeyIsSecondStep: false });
  const passkeys = await WebauthnCredential.query(db).delete().where({ userId });
  return passkeys + (await MfaFactor.query(db).delete().where({ userId }));
}

/** The highest level that somebody with these factors can reach beside a password. */
export function reachable(factors: readonly Factor[]): Level {
  if (factors.includes("webauthn")) return 3;
  return factors.includes("totp") ? 2 : 1;
}

/**
 * The level to ask a person for: the first that the client names and they can reach. One who can reach none of them
 * is asked for nothing; the client learns of it.
 */
export function levelDemanded(
  asked: readonly string[],
  names: LevelNames,
  factors: readonly Factor[],
): Level {
  const best = reachable(factors);
  const levels = asked.map((name) => names.get(name)).filter((level) => level !== undefined);
  return levels.find((level) => level <= best) ?? 1;
}
