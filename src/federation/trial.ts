import type { Context } from "koa";
import type { Knex } from "knex";
import type { Page } from "../http/page.ts";
import type { Seal } from "../keys/seal.ts";
import { sha256 } from "../lib/secret.ts";
import { uuidv7 } from "../lib/uuid.ts";
import type { FederationState } from "../models/federation-state.ts";
import { FederationTrace } from "../models/federation-trace.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { ReplayGuard } from "../models/replay-guard.ts";
import { UpstreamError, type Answer, type Connector, type UpstreamIdentity } from "./connector.ts";
import { sendOn } from "./send-on.ts";
import { leaveFor } from "./states.ts";
import { keepTrace, startTrace, traceFailure } from "./trace.ts";

/** Milliseconds in which the address of a trial can be opened, and for which its trace is kept. */
const TIME_TO_OPEN = 15 * 60 * 1000;
const KEPT = 24 * 60 * 60 * 1000;
/** What a trace says that ended well. */
export const SUCCEEDED = "succeeded";

interface TrialNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly page: Page;
}

/** A sign-in that an operator makes to see what a provider says; nobody is signed in here by it. */
export interface Trial {
  /** Under which its trace will be. */
  readonly supportId: string;
  /** Below the connection's own address; good once. */
  readonly path: string;
}

const placeOf = (id: string) => ({ table: "federation_traces", column: "trial", id });

/** Makes the address of a trial. Only who holds the seal can, so that nothing has to be kept. */
export function newTrial(seal: Seal, { slug }: IdentityProvider, now: Date): Trial {
  const supportId = uuidv7();
  const until = String(now.getTime() + TIME_TO_OPEN);
  const ticket = seal.encrypt(`${until} ${slug}`, placeOf(supportId)).toString("base64url");
  return { supportId, path: `/test?id=${supportId}&ticket=${ticket}` };
}

/**
 * Sends a browser to a provider for a trial.
 *
 * @returns whether its address was one, and good.
 */
export async function beginTrial(
  needs: TrialNeeds,
  ctx: Context,
  { provider, connector }: { provider: IdentityProvider; connector: Connector },
): Promise<boolean> {
  const { knex, seal } = needs;
  const { id, ticket } = ctx.query as Record<string, unknown>;
  const now = new Date();
  const until = endOf(seal, provider, String(id), String(ticket));
  if (until === undefined || until <= now) return false;
  if (!(await ReplayGuard.claim(knex, sha256(`federation trial ${String(id)}`), until, now)))
    return false;
  const errand = { purpose: "test", returnTo: String(id) } as const;
  const tracing = startTrace();
  try {
    const to = await leaveFor(needs, ctx, { provider, connector }, errand, tracing.trace);
    await sendOn(needs.page, ctx, provider.name, to);
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    await conclude(needs, ctx, { provider, tracing, supportId: String(id), error });
  }
  return true;
}

/** Takes the answer of a trial: all that a sign-in would prove is proven, kept as a trace, and that is all. */
export async function endTrial(
  needs: TrialNeeds,
  ctx: Context,
  {
    provider,
    connector,
    errand,
    answer,
  }: {
    provider: IdentityProvider;
    connector: Connector;
    errand: FederationState;
    answer: Answer;
  },
): Promise<void> {
  const tracing = startTrace();
  const about = { provider, tracing, supportId: errand.returnTo };
  try {
    const identity = await connector.arrive(answer, tracing.trace);
    tracing.trace("who it is", inWords(identity, provider));
    await conclude(needs, ctx, about);
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    await conclude(needs, ctx, { ...about, error });
  }
}

async function conclude(
  { knex, page }: TrialNeeds,
  ctx: Context,
  {
    provider,
    tracing,
    supportId,
    error,
  }: {
    provider: IdentityProvider;
    tracing: ReturnType<typeof startTrace>;
    supportId: string;
    error?: UpstreamError;
  },
): Promise<void> {
  const { id: providerId, name } = provider;
  if (error === undefined) {
    const now = new Date();
    const expiresAt = new Date(now.getTime() + KEPT);
    const steps = [...tracing.steps];
    await FederationTrace.query(knex).insert({
      supportId,
      providerId,
      reason: SUCCEEDED,
      steps,
      createdAt: now,
      expiresAt,
    });
    return page(ctx, "federation-tested", { provider: name });
  }
  traceFailure(tracing, error);
  await keepTrace(knex, { supportId, providerId, error, steps: tracing.steps });
  return page(ctx, "federation-error", { provider: name, reason: error.reason }, 400);
}

/** When a trial's address ends; `undefined` where it is not one of ours, for this connection. */
function endOf(seal: Seal, { slug }: IdentityProvider, id: string, ticket: string) {
  try {
    const opened = seal.decrypt(Buffer.from(ticket, "base64url"), placeOf(id)).toString();
    const [until, whose] = opened.split(" ");
    return whose === slug ? new Date(Number(until)) : undefined;
  } catch {
    return undefined;
  }
}

/** What there is to map: the names of what was said, and the values that decide something. */
function inWords(identity: UpstreamIdentity, { settings }: IdentityProvider) {
  const { issuer, subject, email, emailVerified, acr, amr, claims } = identity;
  const { groups_claim: groupsClaim = "groups", roles_claim: rolesClaim = "roles" } = settings;
  return {
    issuer,
    subject,
    email,
    email_verified: emailVerified,
    acr,
    amr,
    groups: claims[String(groupsClaim)],
    roles: claims[String(rolesClaim)],
    claims: Object.keys(claims).toSorted(),
  };
}
