import type { Knex } from "knex";
import { errors, type Client, type Provider } from "oidc-provider";
import type { Context } from "koa";
import { reader } from "../database/transaction.ts";
import {
  factorsOf,
  hasStrongFactor,
  isAlwaysAskedFor,
  levelDemanded,
  reachable,
  type Factor,
} from "../authn/factors.ts";
import { isTrusted } from "../authn/trusted-browsers.ts";
import {
  LEVEL_NUMBERS,
  levelNamed,
  levelsAskedFor,
  type Level,
  type LevelNames,
} from "../authn/levels.ts";
import { PasskeyOffer } from "../models/passkey-offer.ts";
import { Session } from "../models/session.ts";
import type { RelyingParty } from "../issuers.ts";
import type { User } from "../models/user.ts";
import { detailsIn, type AuthorizationDetail } from "../consents/authorization-details.ts";
import {
  findConsent,
  internalId,
  isAlwaysAsked,
  isFirstParty,
  undecidedScopes,
} from "../consents/consents.ts";
import { issuerFor } from "../http/host.ts";
import { speakTo } from "../http/locale.ts";
import { levelTaken, permissionsAskedFor, permissionsFor } from "../resources/access.ts";
import type { Api, ResourceCache } from "../resources/cache.ts";
import type { Issuer } from "../issuers.ts";
import type { TermsVersion } from "../models/terms.ts";
import type { TermsCache } from "../terms/cache.ts";
import { undecidedTerms } from "../terms/terms.ts";
import { findUserWithClaims, scopesAskedFor, wordsOf } from "../users/claims.ts";
import { isUnverified, missingClaims, requiredClaims } from "../users/requirements.ts";
import { parkedSessions, type Parked } from "./parked-sessions.ts";
import type { SecondFactorPolicy } from "../issuers.ts";
import { withoutSignIn, type Demand, type Enrolment, type Held, type Progress } from "./flow.ts";
import { browserOf, type SignInBrowser } from "./trust.ts";

type Interaction = Awaited<ReturnType<Provider["interactionDetails"]>>;

/** One request to an interaction: what the engine asked for, how far the person has come, and who they are. */
export interface Visit {
  readonly interaction: Interaction;
  /** The address of this interaction, below which all its pages are. */
  readonly here: string;
  readonly client: Client;
  readonly issuer: Issuer | undefined;
  /** What people must agree to today, and what of it this person has not decided about. */
  readonly current: readonly TermsVersion[];
  readonly undecided: readonly TermsVersion[];
  /** What the issuer calls its levels. */
  readonly levels: LevelNames;
  /** Who is signed in on this browser beside whoever's session is in use. */
  readonly parked: readonly Parked[];
  /** What the issuer asks of people without a second step. */
  readonly policy: SecondFactorPolicy;
  readonly browser: SignInBrowser;
  /** What passkeys belong to here, where browsers have any. */
  readonly relyingParty: RelyingParty | undefined;
  readonly progress: Progress;
  readonly demand: Demand;
  /** Who is, or is about to be, signed in: from this interaction or from the session. */
  readonly user: User | undefined;
  /** The APIs that the client asks to use. */
  readonly apis: readonly Api[];
  /** What the request asks for, as items of consent, and which of them this person has already allowed. */
  readonly requestedScopes: readonly string[];
  readonly allowedScopes: ReadonlySet<string>;
  /** What the request asks for beyond scopes (RFC 9396). */
  readonly requestedDetails: readonly AuthorizationDetail[];
}

/** Where a visit finds what it needs to know. */
export interface VisitNeeds {
  readonly knex: Knex;
  readonly resources: ResourceCache;
  readonly terms: TermsCache;
  readonly ownSignIns: { named(clientId: string): Client | undefined };
}

/**
 * Loads what a step needs to know.
 *
 * @throws the engine's SessionNotFound when the interaction ended, never was, or belongs to another browser.
 */
export async function loadVisit(
  provider: Provider,
  { knex, resources, terms, ownSignIns }: VisitNeeds,
  ctx: Context,
): Promise<Visit> {
  const interaction = await provider.interactionDetails(ctx.req, ctx.res);
  // The engine goes by the cookie alone; another sign-in's must not open this address.
  if (interaction.uid !== ctx["params"].uid) {
    throw new errors.SessionNotFound("the cookie is of another interaction");
  }
  ctx.state["uiLocales"] = interaction.params["ui_locales"];
  const clientId = String(interaction.params["client_id"]);
  const client = ownSignIns.named(clientId) ?? (await provider.Client.find(clientId));
  // One that was deleted meanwhile, or that another issuer's interaction is for.
  if (client === undefined) throw new errors.SessionNotFound("the client is gone");
  const issuer = issuerFor(ctx);
  const here = `${issuer?.path ?? ""}/interaction/${interaction.uid}`;
  const indicators = [interaction.params["resource"] ?? []].flat().map(String);
  const found = await Promise.all(
    indicators.map((indicator) => resources.find(issuer?.name ?? "", indicator)),
  );
  const apis = found.filter((api) => api !== undefined);
  const levels = issuer?.levels ?? LEVEL_NUMBERS;
  const policy = issuer?.secondFactor ?? { required: false, skips: 0, byEmail: false };
  const parked = await parkedSessions(knex, provider, ctx);
  const browser = browserOf(ctx);
  const relyingParty = issuer?.relyingParty;
  const current = await terms.current();
  const about = { issuer, levels, policy, relyingParty, current };
  const request = { interaction, here, client, ...about, browser, parked, apis };
  const visit = await assess(knex, request, readProgress(interaction));
  if (visit.user !== undefined) speakTo(ctx, visit.user);
  return visit;
}

/** The same visit after the person has come a step further. */
export async function advance(knex: Knex, visit: Visit, progress: Progress): Promise<Visit> {
  return assess(knex, visit, progress);
}

async function assess(
  knex: Knex,
  request: Pick<
    Visit,
    | "interaction"
    | "here"
    | "client"
    | "issuer"
    | "levels"
    | "policy"
    | "relyingParty"
    | "browser"
    | "parked"
    | "apis"
    | "current"
  >,
  claimed: Progress,
): Promise<Visit> {
  const { interaction, client, issuer, policy, relyingParty, parked, apis, current } = request;
  const create = interaction.prompt.name === "create";
  const signIn = create || mustSignIn(interaction, claimed);
  const chooseAccount = interaction.prompt.name === "select_account";
  const sessionUserId = interaction.session?.accountId;
  const userId = claimed.userId ?? sessionUserId;
  const found = userId === undefined ? undefined : await findUserWithClaims(reader(knex), userId);
  const user = found?.isActive === true ? found : undefined;
  const progress = isStillGood(claimed, user) ? claimed : withoutSignIn(claimed);
  const requestedScopes = [
    ...scopesAskedFor(interaction.params),
    ...permissionsAskedFor(
      interaction.params,
      apis.map((api) => ({
        indicator: api.indicator,
        permissions: permissionsFor(api, internalId(client), "person") ?? [],
      })),
    ),
  ];
  const knowsWho = progress.userId !== undefined || !signIn;
  const held =
    user === undefined || progress.userId !== undefined || !isForMore(interaction)
      ? undefined
      : await heldBySession(knex, interaction);
  const isKnown = user !== undefined && (progress.userId !== undefined || held !== undefined);
  const own =
    isKnown && (signIn || chooseAccount)
      ? await factorsOf(reader(knex), user.id, relyingParty?.id)
      : [];
  const known = isKnown ? user : undefined;
  const undecided =
    known === undefined ? [] : await undecidedTerms(reader(knex), known.id, current);
  const isAsked = user !== undefined && isAlwaysAskedFor(own, user, policy);
  const factors = isAsked ? own : withMailbox(own, user, progress);
  const decided =
    user !== undefined && knowsWho && !isFirstParty(client)
      ? await findConsent(reader(knex), user.id, client)
      : undefined;
  const requestedDetails = detailsIn(interaction.params);
  const prompts = new Set(wordsOf(interaction.params["prompt"]));
  const redirectUri = interaction.params["redirect_uri"];
  return {
    ...request,
    progress,
    user,
    requestedScopes,
    allowedScopes: new Set(decided?.scopes),
    requestedDetails,
    undecided,
    demand: {
      chooseAccount,
      signIn,
      othersSignedIn: parked.some((other) => other.user.id !== sessionUserId),
      sessionUserId: user === undefined ? undefined : sessionUserId,
      held,
      create,
      verifyEmail: known !== undefined && isUnverified(known, client, issuer),
      terms: undecided.length > 0,
      missing: missingClaims(known, requiredClaims(client), interaction.params),
      factors,
      isSecondStepOwed: isAsked || (isInDoubt(progress) && factors.length > 0),
      trusted:
        own.length > 0 &&
        !isInDoubt(progress) &&
        progress.userId !== undefined &&
        progress.userId !== sessionUserId &&
        (await isTrustedHere(knex, request.browser, progress.userId)),
      level: levelFor(request, factors),
      enrolment:
        user !== undefined && isKnown ? enrolmentOf(request, progress, user, own) : undefined,
      offersPasskey:
        user !== undefined && (await isPasskeyOffered(knex, request, progress, user.id)),
      // Each detail is a decision of its own, whoever asks and whatever was allowed before.
      consent:
        requestedDetails.length > 0 ||
        isAlwaysAsked(client, prompts, typeof redirectUri === "string" ? redirectUri : undefined) ||
        undecidedScopes(requestedScopes, client, decided).length > 0,
    },
  };
}

/** Nobody was signed in, as far as the engine knew, and now somebody is, whose session was taken into use. */
function mustSignIn({ prompt, session }: Interaction, { account }: Progress): boolean {
  const hasSession = account === "current" && session?.accountId !== undefined;
  const wantsNoMore = prompt.reasons.every((reason) => reason === "no_session");
  return prompt.name === "login" && !(hasSession && wantsNoMore);
}

/** Whether a password alone proves too little here; whoever has read a code in their mailbox has proven more. */
function isInDoubt({ risk, shown = [] }: Progress): boolean {
  return risk?.isInDoubt === true && shown[0]?.method !== "email_code";
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
function levelFor(visit: Pick<Visit, "levels"> & Taken, factors: readonly Factor[]): Level {
  const level = levelDemanded(levelsAskedFor(visit.interaction.params), visit.levels, factors);
  const required = levelRequired(visit);
  return required > level && required <= reachable(factors) ? required : level;
}

type Taken = Pick<Visit, "interaction" | "client" | "apis">;

/** What it takes whoever asks: two factors where the client requires them, and what a permission takes. */
function levelRequired({ interaction, client, apis }: Taken): Level {
  const taken = levelTaken(interaction.params, apis);
  return taken === 1 && client["require_second_factor"] === true ? 2 : taken;
}

/** Why this person is to set something up: a rule, or the loss of what they had (T-79). */
function enrolmentOf(
  visit: Pick<Visit, "policy"> & Taken,
  { shown = [] }: Progress,
  { enrolmentSkips }: User,
  factors: readonly Factor[],
): Enrolment | undefined {
  if (shown.some(({ method }) => method === "recovery_code"))
    return { reason: "recovered", skipsLeft: Infinity };
  if (levelRequired(visit) > reachable(factors)) return { reason: "client", skipsLeft: 0 };
  if (hasStrongFactor(factors)) return undefined;
  const { policy } = visit;
  if (!policy.required || (policy.byEmail && factors.includes("email"))) return undefined;
  return { reason: "policy", skipsLeft: Math.max(0, policy.skips - enrolmentSkips) };
}

/**
 * Whether this is a good moment to offer a passkey (ux.md P19): at a plain sign-in by password on a device that can
 * make one. Never where somebody only confirms who they are, in a window over an app, or in front of something to pay.
 */
async function isPasskeyOffered(
  knex: Knex,
  { interaction, relyingParty }: Pick<Visit, "interaction" | "relyingParty">,
  { offer, canMakePasskey, shown = [] }: Progress,
  userId: string,
): Promise<boolean> {
  if (offer !== undefined) return offer === "shown";
  const { params, session } = interaction;
  const isPlain = session?.accountId === undefined && detailsIn(params).length === 0;
  const isByPassword =
    shown[0]?.method === "pwd" && !shown.some(({ method }) => method === "webauthn");
  if (relyingParty === undefined || canMakePasskey !== true || params["display"] === "popup")
    return false;
  if (!isPlain || !isByPassword) return false;
  const asked = { userId, rpId: relyingParty.id, now: new Date() };
  return PasskeyOffer.isDue(reader(knex), asked);
}

/** The engine's reasons to ask somebody who is signed in for more, and for nothing that they have shown. */
const REASONS_FOR_MORE = new Set([
  "acr_values",
  "essential_acr",
  "essential_acrs",
  "required_level",
  "email_unverified",
  "claims_missing",
]);

function isForMore({ prompt }: Interaction): boolean {
  return prompt.name === "login" && prompt.reasons.every((reason) => REASONS_FOR_MORE.has(reason));
}

async function heldBySession(knex: Knex, { session }: Interaction): Promise<Held | undefined> {
  if (session?.uid === undefined) return undefined;
  const row = await Session.query(reader(knex)).findById(session.uid).whereNull("endedAt");
  if (row?.loggedInAt == null) return undefined;
  return {
    level: levelNamed(row.acr ?? undefined),
    amr: row.amr ?? [],
    at: row.loggedInAt.getTime() / 1000,
    remember: !row.transient,
  };
}

/**
 * Whether whoever signed in here may still go on: they may have been disabled meanwhile, or have another password
 * (T-30).
 */
function isStillGood({ userId, shown = [] }: Progress, user: User | undefined): boolean {
  if (userId === undefined) return true;
  if (user === undefined) return false;
  const ended = [user.sessionsValidAfter, user.credentialsChangedAt];
  const since = Math.max(...ended.map((at) => at?.getTime() ?? -Infinity));
  return shown.every(({ at }) => at * 1000 > since);
}

/** Our part of the engine's interaction: under a key of our own, so that it starts no session. */
function readProgress(interaction: Interaction): Progress {
  const progress = interaction.result?.["progress"];
  return progress !== null && typeof progress === "object" ? progress : {};
}

/** Keeps progress without finishing: the engine's session starts when a result has `login`, and not before. */
export async function saveProgress(interaction: Interaction, progress: Progress): Promise<void> {
  interaction.result = { progress };
  await interaction.persist();
}
