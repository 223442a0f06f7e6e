import type { Knex } from "knex";
import { errors, type Client, type Provider } from "oidc-provider";
import type { Context } from "koa";
import { reader } from "../database/transaction.ts";
import { LEVEL_NUMBERS, type LevelNames } from "../authn/levels.ts";
import type { Issuer, RelyingParty, SecondFactorPolicy } from "../issuers.ts";
import type { User } from "../models/user.ts";
import { detailsIn, type AuthorizationDetail } from "../consents/authorization-details.ts";
import {
  internalId,
  isAlwaysAsked,
  isFirstParty,
  recordedId,
  undecidedScopes,
} from "../consents/consents.ts";
import { issuerFor } from "../http/host.ts";
import { speakTo } from "../http/locale.ts";
import { permissionsAskedFor, permissionsFor } from "../resources/access.ts";
import type { Api, ResourceCache } from "../resources/cache.ts";
import type { TermsVersion } from "../models/terms.ts";
import type { TermsCache } from "../terms/cache.ts";
import { undecidedTerms } from "../terms/terms.ts";
import { scopesAskedFor, wordsOf } from "../users/claims.ts";
import { organizationOf } from "../users/organization-claims.ts";
import { isUnverified, missingClaims, requiredClaims } from "../users/requirements.ts";
import type { ConnectionCache } from "../federation/cache.ts";
import { Identity } from "../models/identity.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { homeRealm, onlyConnectionOf, type HomeRealm } from "./home-realm.ts";
import { parkedSessions, type Parked } from "./parked-sessions.ts";
import { beyondFirstFactor, heldBySession, mustSignIn } from "./demand.ts";
import { withoutSignIn, type Demand, type Progress } from "./flow.ts";
import { findPerson, type Person } from "./person.ts";
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
  readonly person: Person | undefined;
  readonly user: User | undefined;
  /** Where people can sign in elsewhere. */
  readonly connections: readonly IdentityProvider[];
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
  connections: ConnectionCache;
  readonly ownSignIns: { named(clientId: string): Client | undefined };
}

/**
 * Loads what a step needs to know.
 *
 * @throws the engine's SessionNotFound when the interaction ended, never was, or belongs to another browser.
 */
export async function loadVisit(
  provider: Provider,
  { knex, resources, terms, connections: cache, ownSignIns }: VisitNeeds,
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
  const connections = await cache.connections(issuer?.name ?? "");
  const about = { issuer, levels, policy, relyingParty, current, connections };
  const request = { interaction, here, client, ...about, browser, parked, apis };
  const visit = await assess(knex, request, readProgress(interaction));
  if (visit.user !== undefined) speakTo(ctx, visit.user);
  return visit;
}

/** The same visit after the person has come a step further. */
export async function advance(knex: Knex, visit: Visit, progress: Progress): Promise<Visit> {
  const { userId, shown } = visit.progress;
  const isSame = progress.userId === userId && progress.shown === shown;
  // Who has shown nothing new, in a request that has written nothing, is who they were a moment ago.
  return assess(knex, visit, progress, isSame && reader(knex) === knex ? visit.person : undefined);
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
    | "connections"
    | "current"
  >,
  claimed: Progress,
  known?: Person,
): Promise<Visit> {
  const { interaction, client, issuer, relyingParty, parked, apis, current } = request;
  const create = interaction.prompt.name === "create";
  const signIn = create || mustSignIn(interaction, claimed);
  const chooseAccount = interaction.prompt.name === "select_account";
  const sessionUserId = interaction.session?.accountId;
  const userId = claimed.userId ?? sessionUserId;
  const { device } = request.browser;
  const about = { clientId: recordedId(client), rpId: relyingParty?.id, device };
  const person =
    known ??
    (userId === undefined ? undefined : await findPerson(reader(knex), { userId, ...about }));
  const user = person?.user;
  const isGood = isStillGood(claimed, user) && (await isStillConnected(knex, claimed));
  const progress = isGood ? claimed : withoutSignIn(claimed);
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
    user === undefined || progress.userId !== undefined
      ? undefined
      : await heldBySession(knex, interaction);
  const who = progress.userId !== undefined || held !== undefined ? person : undefined;
  const undecided =
    who === undefined ? [] : await undecidedTerms(reader(knex), who.user.id, current);
  const decided =
    person !== undefined && knowsWho && !isFirstParty(client) ? person.consent : undefined;
  const requestedDetails = detailsIn(interaction.params);
  const prompts = new Set(wordsOf(interaction.params["prompt"]));
  const redirectUri = interaction.params["redirect_uri"];
  return {
    ...request,
    progress,
    person,
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
      homeRealm: signIn || chooseAccount ? await realmOf(knex, request, progress, user) : undefined,
      verifyEmail: who !== undefined && isUnverified(who.user, client, issuer),
      terms: undecided.length > 0,
      missing: missingClaims(who?.user, requiredClaims(client), interaction.params),
      ...(await beyondFirstFactor(
        knex,
        request,
        signIn || chooseAccount ? (who ?? {}) : {},
        progress,
      )),
      // Each detail is a decision of its own, whoever asks and whatever was allowed before.
      consent:
        !isOfAnother(who?.user, requestedScopes) &&
        (requestedDetails.length > 0 ||
          isAlwaysAsked(
            client,
            prompts,
            typeof redirectUri === "string" ? redirectUri : undefined,
          ) ||
          undecidedScopes(requestedScopes, client, decided).length > 0),
    },
  };
}

/** Whether a request is in the name of an organization that they do not belong to, which the client is told. */
function isOfAnother(user: User | undefined, items: readonly string[]): boolean {
  const slug = items.flatMap((item) => organizationOf(item) ?? [])[0];
  return slug !== undefined && user?.organizations?.some((one) => one.slug === slug) === false;
}

/** Where this person signs in, if that is not here. */
async function realmOf(
  knex: Knex,
  { interaction, client, connections }: Pick<Visit, "interaction" | "client" | "connections">,
  progress: Progress,
  user: User | undefined,
): Promise<HomeRealm | undefined> {
  if (connections.length === 0) return undefined;
  const isAnother = progress.account === "another" && progress.userId === undefined;
  const known = isAnother ? undefined : user;
  const realm = homeRealm(connections, interaction.params, progress, { client, user: known });
  const isAskedAgain = known !== undefined && progress.userId === undefined;
  return realm === undefined && isAskedAgain && progress.identifier === undefined
    ? onlyConnectionOf(reader(knex), known.id, connections)
    : realm;
}

/**
 * Whether whoever signed in here may still go on: they may have been disabled meanwhile, or have another password
 * (T-30).
 */
function isStillGood({ userId, shown = [] }: Progress, user: User | undefined): boolean {
  if (userId === undefined) return true;
  if (user === undefined) return false;
  return shown.every(({ at }) => at * 1000 > user.overtakenAt.getTime());
}

/** Whether who came from elsewhere is still known by that, through a connection that is still in use (T-93). */
async function isStillConnected(knex: Knex, { federated }: Progress): Promise<boolean> {
  if (federated === undefined) return true;
  const { identityId } = federated.upstream;
  const identity = await Identity.query(reader(knex))
    .findById(identityId)
    .whereExists(Identity.relatedQuery("provider").where({ enabled: true }));
  return identity !== undefined;
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
