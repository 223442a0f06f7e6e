import type { Context } from "koa";
import type { Knex } from "knex";
import { issuerFor } from "../http/host.ts";
import type { Seal } from "../keys/seal.ts";
import { newSecret, sha256 } from "../lib/secret.ts";
import { FederationState } from "../models/federation-state.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import type {
  Answer,
  Connector,
  Departure,
  Leaving,
  Trace,
  UpstreamIdentity,
} from "./connector.ts";

/** Milliseconds that somebody has at their identity provider, and that the page they come back to has after it. */
const AWAY = 15 * 60 * 1000;
const HANDOVER = 60 * 1000;
const OURS = /^fb_[\w-]{43}$/;

const SECRETS = { table: "federation_states", column: "secrets_enc" } as const;
const OUTCOME = { table: "federation_states", column: "outcome_enc" } as const;

export interface StateNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
}

/** What a sign-in elsewhere is for, and where the browser goes with what comes of it. */
export interface Errand extends Omit<Departure, "state"> {
  readonly purpose: FederationState["purpose"];
  /** A path of ours. The outcome is added to its query. */
  readonly returnTo: string;
  /** Whose account the identity will be linked to. */
  readonly userId?: string;
}

/**
 * Sends a browser to an identity provider. What its answer will be held against is kept in the database, sealed, for
 * whichever node it reaches, and bound to this browser.
 */
export async function leaveFor(
  needs: StateNeeds,
  ctx: Context,
  { provider, connector }: { provider: IdentityProvider; connector: Connector },
  { purpose, returnTo, userId, ...errand }: Errand,
  trace: Trace,
): Promise<Leaving["to"]> {
  const state = newSecret("fs");
  const { to, secrets } = await connector.leave({ ...errand, state }, trace);
  await keepErrand(needs, ctx, { state, provider, purpose, returnTo, userId, secrets });
  return to;
}

/** Keeps what a browser is sent away for until it comes back. */
export async function keepErrand(
  { knex, seal }: StateNeeds,
  ctx: Context,
  {
    state,
    provider,
    secrets,
    userId,
    ...errand
  }: {
    state: string;
    provider: IdentityProvider;
    purpose: FederationState["purpose"];
    returnTo: string;
    userId?: string | undefined;
    secrets: Leaving["secrets"];
  },
): Promise<void> {
  const stateHash = sha256(state);
  const id = stateHash.toString("hex");
  const now = new Date();
  await FederationState.query(knex).insert({
    ...errand,
    stateHash,
    providerId: provider.id,
    userId: userId ?? null,
    bindingHash: bindBrowser(ctx),
    secretsEnc: seal.encrypt(JSON.stringify(secrets), { ...SECRETS, id }),
    createdAt: now,
    expiresAt: new Date(now.getTime() + AWAY),
  });
}

/** The errand that an answer belongs to, which is over with it: an answer that comes twice finds none. */
export async function answered(
  { knex, seal }: StateNeeds,
  ctx: Context,
  {
    state,
    providerId,
    purposes,
  }: { state: string; providerId: string; purposes: readonly FederationState["purpose"][] },
): Promise<{ errand: FederationState; secrets: Answer["secrets"] } | undefined> {
  const bindingHash = boundBrowser(ctx);
  if (bindingHash === undefined) return undefined;
  const key = { stateHash: sha256(state), bindingHash, providerId };
  const errand = await FederationState.answer(knex, { ...key, purposes, now: new Date() });
  if (errand === undefined) return undefined;
  const id = errand.stateHash.toString("hex");
  const opened = seal.decrypt(errand.secretsEnc, { ...SECRETS, id }).toString();
  return { errand, secrets: JSON.parse(opened) as Answer["secrets"] };
}

/**
 * Keeps what an identity provider said for the page that it was said for (T-45): the answer may have come as another
 * site's POST, without the cookies of that page.
 *
 * @returns where the browser goes: the page, with what takes the outcome there, once.
 */
export async function handOver(
  { knex, seal }: StateNeeds,
  { stateHash, returnTo }: FederationState,
  identity: UpstreamIdentity,
): Promise<string> {
  const outcome = newSecret("fo");
  await FederationState.query(knex)
    .findById(stateHash)
    .patch({
      outcomeHash: sha256(outcome),
      outcomeEnc: seal.encrypt(JSON.stringify(identity), {
        ...OUTCOME,
        id: stateHash.toString("hex"),
      }),
      expiresAt: new Date(Date.now() + HANDOVER),
    });
  return `${returnTo}?outcome=${outcome}`;
}

/** What an identity provider said, for this browser and this page, once (T-94). */
export async function takeOutcome(
  { knex, seal }: StateNeeds,
  ctx: Context,
  { outcome, returnTo }: { outcome: string; returnTo: string },
): Promise<{ errand: FederationState; identity: UpstreamIdentity } | undefined> {
  const bindingHash = boundBrowser(ctx);
  if (bindingHash === undefined) return undefined;
  const key = { outcomeHash: sha256(outcome), bindingHash, returnTo };
  const errand = await FederationState.take(knex, { ...key, now: new Date() });
  if (errand?.outcomeEnc == null) return undefined;
  const id = errand.stateHash.toString("hex");
  const opened = seal.decrypt(errand.outcomeEnc, { ...OUTCOME, id }).toString();
  return { errand, identity: JSON.parse(opened) as UpstreamIdentity };
}

/**
 * The cookie by which a browser is known when it comes back. It comes with another site's POST too, which is how SAML
 * and Apple answer; a browser that has several sign-ins on their way has one for all of them.
 */
function bindBrowser(ctx: Context): Buffer {
  const { name, secure } = cookieOf(ctx);
  const known = ctx.cookies.get(name, { signed: false });
  const value = known !== undefined && OURS.test(known) ? known : newSecret("fb");
  ctx.cookies.set(name, value, {
    httpOnly: true,
    secure,
    signed: false,
    maxAge: AWAY,
    // Without TLS browsers send no such cookie across sites. There, in development, everything is on one site.
    sameSite: secure ? "none" : "lax",
  });
  return sha256(value);
}

function boundBrowser(ctx: Context): Buffer | undefined {
  const value = ctx.cookies.get(cookieOf(ctx).name, { signed: false });
  return value === undefined ? undefined : sha256(value);
}

function cookieOf(ctx: Context): { name: string; secure: boolean } {
  const secure = issuerFor(ctx)?.url.startsWith("https:") === true;
  return { name: secure ? "__Host-lintel_federation" : "lintel_federation", secure };
}
