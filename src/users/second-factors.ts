import type { Knex } from "knex";
import type { EventDetails } from "../audit/events.ts";
import { record } from "../audit/record.ts";
import {
  addEmailFactor,
  factorsOf,
  hasStrongFactor,
  removeEmailFactor,
  removeWhatRecovers,
} from "../authn/factors.ts";
import { base32, keyUri } from "../authn/one-time-password.ts";
import type { Passwords } from "../authn/password.ts";
import {
  makeRecoveryCodes,
  saveRecoveryCodes,
  type NewRecoveryCodes,
} from "../authn/recovery-codes.ts";
import {
  confirmTotp,
  isCodeOf,
  listTotp,
  pendingTotp,
  removeTotp,
  type PendingTotp,
} from "../authn/totp.ts";
import { forgetTrustedBrowsers } from "../authn/trusted-browsers.ts";
import { writer } from "../database/transaction.ts";
import type { SecondFactorPolicy } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { qrCode, type QrCode } from "../lib/qr-code.ts";
import type { Mailer } from "../mail/mailer.ts";
import { RecoveryCode } from "../models/recovery-code.ts";
import { User } from "../models/user.ts";

/** With so few recovery codes left, somebody who sets something up gets new ones. */
const FEW_CODES = 3;

/** What changing somebody's second step needs. */
export interface SecondFactorNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly passwords: Passwords;
  readonly mailer: Mailer;
}

/** Whose it is, and what is known of the request in which they change it. */
interface Owner {
  readonly userId: string;
  readonly origin: {
    readonly requestId: string | undefined;
    readonly ipPrefix: string | undefined;
  };
}

/** What an authenticator app is set up with, as a person sees it. */
export interface OfferedApp {
  readonly pending: PendingTotp;
  readonly qr: QrCode;
  /** The seed in groups of four, for typing. */
  readonly key: string;
  /** For apps on this device. */
  readonly uri: string;
}

/**
 * Offers a seed to a person who sets up an authenticator app: the same one for as long as they are at it.
 *
 * @param setup.bindingHash of the interaction or session in which they do.
 * @param setup.account what the app calls the account, `setup.productName` whose it is.
 * @returns undefined where they have as many apps as anybody may.
 */
export async function offerApp(
  { knex, seal }: SecondFactorNeeds,
  setup: { userId: string; bindingHash: Buffer; account: string; productName: string },
): Promise<OfferedApp | undefined> {
  const { account, productName: issuer, ...whose } = setup;
  const pending = await pendingTotp(await writer(knex), seal, { ...whose, now: new Date() });
  if (pending === undefined) return undefined;
  const uri = keyUri(pending.seed, { issuer, account });
  const key = base32(pending.seed).replaceAll(/(.{4})(?=.)/g, "$1 ");
  return { pending, qr: qrCode(uri), key, uri };
}

/**
 * Adds the app that shows this code, and tells its owner. Recovery codes come with it where few or none are left.
 *
 * @returns the new recovery codes, if any; undefined where the code is another.
 * @throws AppError `busy` where the hash queue is full.
 */
export async function addApp(
  needs: SecondFactorNeeds,
  owner: Owner,
  { pending, code, name }: { pending: PendingTotp; code: string; name: string },
): Promise<readonly string[] | undefined> {
  const { knex, mailer } = needs;
  const { userId } = owner;
  const now = new Date();
  if (!isCodeOf(pending, code, now)) return undefined;
  const made = await codesToGoWith(needs, userId);
  const db = await writer(knex);
  if (!(await confirmTotp(db, pending, { code, name, now }))) return undefined;
  await forgetTrustedBrowsers(db, { userId });
  await note(needs, owner, "factor.added", { type: "totp" });
  await mailer.factorChanged(db, { userId, change: "totp_added", now });
  return keepCodes(needs, owner, made, now);
}

/**
 * Makes recovery codes for somebody who is about to set something up and has few or none left. Called before there is
 * a transaction, which hashing would hold up; {@link keepCodes} keeps them once it is set up.
 *
 * @throws AppError `busy` where the hash queue is full.
 */
export async function codesToGoWith(
  { knex, passwords }: SecondFactorNeeds,
  userId: string,
): Promise<NewRecoveryCodes | undefined> {
  const hasFew = (await RecoveryCode.countLeft(knex, userId)) <= FEW_CODES;
  return hasFew ? makeRecoveryCodes(passwords) : undefined;
}

/** @returns the codes as people write them down; none where none were made. */
export async function keepCodes(
  needs: SecondFactorNeeds,
  owner: Owner,
  made: NewRecoveryCodes | undefined,
  now: Date,
): Promise<readonly string[]> {
  if (made === undefined) return [];
  await saveRecoveryCodes(await writer(needs.knex), owner.userId, made, now);
  await note(needs, owner, "factor.codes_created", {});
  return made.codes;
}

/** Makes new recovery codes, which void those of before, and tells their owner. @throws AppError `busy` */
export async function renewRecoveryCodes(
  needs: SecondFactorNeeds,
  owner: Owner,
): Promise<readonly string[]> {
  const { knex, passwords, mailer } = needs;
  const made = await makeRecoveryCodes(passwords);
  const db = await writer(knex);
  const now = new Date();
  await saveRecoveryCodes(db, owner.userId, made, now);
  await note(needs, owner, "factor.codes_created", {});
  await mailer.factorChanged(db, { userId: owner.userId, change: "codes_created", now });
  return made.codes;
}

/** Makes the mailbox the second step, where the policy of the issuer allows it. */
export async function addMailbox(needs: SecondFactorNeeds, owner: Owner): Promise<void> {
  const db = await writer(needs.knex);
  const now = new Date();
  await addEmailFactor(db, owner.userId, now);
  await forgetTrustedBrowsers(db, { userId: owner.userId });
  await note(needs, owner, "factor.added", { type: "email" });
  await needs.mailer.factorChanged(db, { userId: owner.userId, change: "email_added", now });
}

/**
 * Takes one factor away from its owner, and tells them; trusted browsers are asked again.
 *
 * @param id of an app, or `email`.
 * @returns `kept` where it is the last that the policy demands, `unknown` where they have no such one.
 */
export async function removeFactor(
  needs: SecondFactorNeeds,
  owner: Owner,
  { id, policy }: { id: string; policy: SecondFactorPolicy },
): Promise<"removed" | "kept" | "unknown"> {
  const { knex, mailer } = needs;
  const { userId } = owner;
  const db = await writer(knex);
  // One removal at a time, so that of two that are the last of each other one stays.
  await User.query(db).findById(userId).forUpdate();
  const apps = (await listTotp(db, userId)).map((app) => app.id);
  const factors = await factorsOf(db, userId);
  const isMailbox = id === "email";
  if (isMailbox ? !factors.includes("email") : !apps.includes(id)) return "unknown";
  const left = factors.filter((factor) =>
    isMailbox ? factor !== "email" : factor !== "totp" || apps.length > 1,
  );
  const isEnough = hasStrongFactor(left) || (policy.byEmail && left.includes("email"));
  if (policy.required && !isEnough) return "kept";
  await (isMailbox ? removeEmailFactor(db, userId) : removeTotp(db, { userId, id }));
  await forgetTrustedBrowsers(db, { userId });
  if (!hasStrongFactor(left)) await removeWhatRecovers(db, userId);
  const type = isMailbox ? "email" : "totp";
  await note(needs, owner, "factor.removed", { type });
  await mailer.factorChanged(db, { userId, change: `${type}_removed`, now: new Date() });
  return "removed";
}

async function note<Type extends "factor.added" | "factor.removed" | "factor.codes_created">(
  { knex }: SecondFactorNeeds,
  { userId, origin }: Owner,
  type: Type,
  details: EventDetails<Type>,
): Promise<void> {
  const actor = { type: "user", id: userId } as const;
  await record(await writer(knex), { ...origin, type, actor, userId, details });
}
