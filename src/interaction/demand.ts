import type { Knex } from "knex";
import type { Provider } from "oidc-provider";
import {
  hasStrongFactor,
  isAlwaysAskedFor,
  levelDemanded,
  reachable,
  type Factor,
} from "../authn/factors.ts";
import { levelNamed, levelOf, levelsAskedFor, type Level } from "../authn/levels.ts";
import { isTrusted } from "../authn/trusted-browsers.ts";
import { detailsIn } from "../consents/authorization-details.ts";
import { reader } from "../database/transaction.ts";
import { PasskeyOffer } from "../models/passkey-offer.ts";
import { Session } from "../models/session.ts";
import type { User } from "../models/user.ts";
import { levelTaken } from "../resources/access.ts";
import { isInStrictName, policyFor } from "../users/requirements.ts";
import type { Demand, Enrolment, Held, Progress } from "./flow.ts";
import type { Person } from "./person.ts";
import type { SignInBrowser } from "./trust.ts";
import type { Visit } from "./visit.ts";

type Interaction = Awaited<ReturnType<Provider["interactionDetails"]>>;
type BeyondFirstFactor = Pick<
  Demand,
  "factors" | "isSecondStepOwed" | "trusted" | "level" | "enrolment" | "offersPasskey"
>;

/** The engine's reasons to ask somebody who is signed in for more, and for nothing that they have shown. */
const REASONS_FOR_MORE = new Set([
  "acr_values",
  "essential_acr",
  "essential_acrs",
  "required_level",
  "email_unverified",
  "claims_missing",
]);

/** Nobody was signed in, as far as the engine knew, and now somebody is, whose session was taken into use. */
export function mustSignIn({ prompt, session }: Interaction, { account }: Progress): boolean {
  const hasSession = account === "current" && session?.accountId !== undefined;
  const wantsNoMore = prompt.reasons.every((reason) => reason === "no_session");
  return prompt.name === "login" && !(hasSession && wantsNoMore);
}

/** What is demanded beyond the first factor of whoever showed one, or of whoever has the session and is to show more. */
export async function beyondFirstFactor(
  knex: Knex,
  visit: Pick<Visit, "levels" | "policy" | "relyingParty" | "browser"> & Taken,
  { user, factors: own = [] }: Partial<Pick<Person, "user" | "factors">>,
  progress: Progress,
): Promise<BeyondFirstFactor> {
  const { browser, interaction } = visit;
  const policy = policyFor(visit.policy, user ?? {});
  const isAsked = user !== undefined && isAlwaysAskedFor(own, user, policy);
  const factors = isAsked ? own : withMailbox(own, user, progress);
  const isAnew = progress.userId !== interaction.session?.accountId;
  const trusted =
    own.length > 0 &&
    !isInDoubt(progress) &&
    progress.userId !== undefined &&
    isAnew &&
    (await isTrustedHere(knex, browser, progress.userId));
  return {
    factors,
    isSecondStepOwed: isAsked || (isInDoubt(progress) && factors.length > 0),
    trusted,
    level: levelFor(visit, user, factors),
    enrolment:
      user === undefined ? undefined : enrolmentOf({ ...visit, policy }, progress, user, own),
    offersPasskey:
      user !== undefined && !trusted && (await isPasskeyOffered(knex, visit, progress, user.id)),
  };
}

/** Whether a password alone proves too little here; who has shown something else has proven more. */
function isInDoubt({ risk, shown = [] }: Progress): boolean {
  const [first] = shown;
  return risk?.isInDoubt === true && (first === undefined || first.method === "pwd");
}

/** What a person has set up; in doubt also their mailbox. */
function withMailbox(
  own: readonly Factor[],
  user: User | undefined,
  progress: Progress,
): readonly Factor[] {
  const isVerified = user?.primaryEmail !== undefined && user.primaryEmail.verifiedAt !== null;
  return isInDoubt(progress) && isVerified && !own.includes("email") ? [...own, "email"] : own;
}

async function isTrustedHere(
  knex: Knex,
  { userAgent, trustOf }: SignInBrowser,
  userId: string,
): Promise<boolean> {
  const shown = { userId, token: trustOf(userId), userAgent, now: new Date() };
  return isTrusted(reader(knex), shown);
}

/** What the client would like as far as the person can reach it, and at least what the request takes. */
function levelFor(
  visit: Pick<Visit, "levels"> & Taken,
  user: User | undefined,
  factors: readonly Factor[],
): Level {
  const level = levelDemanded(levelsAskedFor(visit.interaction.params), visit.levels, factors);
  const required = levelRequired(visit, user);
  return required > level && required <= reachable(factors) ? required : level;
}

type Taken = Pick<Visit, "interaction" | "client" | "apis">;

/** What it takes: two factors where the client or the organization requires them, and what a permission takes. */
function levelRequired({ interaction, client, apis }: Taken, user: User | undefined): Level {
  const { params } = interaction;
  const taken = levelTaken(params, apis);
  const takesTwo = client["require_second_factor"] === true || isInStrictName(user, params);
  return taken === 1 && takesTwo ? 2 : taken;
}

/** Why this person is to set something up: a rule, or the loss of what they had (T-79). */
function enrolmentOf(
  visit: Pick<Visit, "policy"> & Taken,
  { shown = [] }: Progress,
  user: User,
  factors: readonly Factor[],
): Enrolment | undefined {
  if (shown.some(({ method }) => method === "recovery_code"))
    return { reason: "recovered", skipsLeft: Infinity };
  const reached = levelOf(shown.map(({ method }) => method));
  if (levelRequired(visit, user) > Math.max(reachable(factors), reached))
    return { reason: "client", skipsLeft: 0 };
  if (hasStrongFactor(factors) || shown.some(({ method }) => method === "federated_mfa"))
    return undefined;
  const { policy } = visit;
  if (!policy.required || (policy.byEmail && factors.includes("email"))) return undefined;
  return { reason: "policy", skipsLeft: Math.max(0, policy.skips - user.enrolmentSkips) };
}

/**
 * Whether this is a good moment to offer a passkey (ux.md P19): at a plain sign-in by password, or by a passkey of
 * another device, on a device that can make one. Never where somebody only confirms who they are, in a window over an app, or in front of something to pay.
 */
async function isPasskeyOffered(
  knex: Knex,
  { interaction, relyingParty, browser }: Pick<Visit, "interaction" | "relyingParty" | "browser">,
  { offer, canMakePasskey, passkey, shown = [] }: Progress,
  userId: string,
): Promise<boolean> {
  if (offer !== undefined) return offer === "shown";
  const { params, session } = interaction;
  const isPlain = session?.accountId === undefined && detailsIn(params).length === 0;
  const isByPassword =
    shown[0]?.method === "pwd" && !shown.some(({ method }) => method === "webauthn");
  if (relyingParty === undefined || canMakePasskey !== true || params["display"] === "popup")
    return false;
  const isByOtherDevice = passkey?.reach === "other-device";
  if (!isPlain || !(isByPassword || isByOtherDevice)) return false;
  const { device } = browser;
  const asked = { userId, rpId: relyingParty.id, isByOtherDevice, device, now: new Date() };
  return PasskeyOffer.isDue(reader(knex), asked);
}

/** What the session proves, where the engine asks for more than it and for nothing that the person has shown. */
export async function heldBySession(
  knex: Knex,
  { session, prompt }: Interaction,
): Promise<Held | undefined> {
  const isForMore = prompt.reasons.every((reason) => REASONS_FOR_MORE.has(reason));
  if (prompt.name !== "login" || !isForMore || session?.uid === undefined) return undefined;
  const row = await Session.query(reader(knex)).findById(session.uid).whereNull("endedAt");
  if (row?.loggedInAt == null) return undefined;
  return {
    level: levelNamed(row.acr ?? undefined),
    amr: row.amr ?? [],
    at: row.loggedInAt.getTime() / 1000,
    remember: !row.transient,
  };
}
