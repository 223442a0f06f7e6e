import { Router } from "@koa/router";
import type { Context } from "koa";
import { record } from "../audit/record.ts";
import { messagesAllowed, throttleMessage } from "../authn/throttle.ts";
import { errors } from "../errors.ts";
import { readParameters } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { UpstreamError, type Answer } from "./connector.ts";
import { endUpstreamSessions } from "./sessions.ts";
import { sendOn } from "./send-on.ts";
import { comeBack, type SignOutNeeds } from "./sign-out.ts";
import { answered, handOver, type StateNeeds } from "./states.ts";
import { keepTrace, startTrace, traceFailure, type Tracing } from "./trace.ts";
import { beginTrial, endTrial } from "./trial.ts";

/** What ends with who somebody is. */
const SIGN_INS = ["login", "link", "test"] as const;

/** Bytes: a signed assertion with a hundred groups in it, twice encoded, is far below. */
const LONGEST_ANSWER = 512 * 1024;

export interface FederationNeeds extends SignOutNeeds {
  /** Begins a sign-in for a page of ours. */
  readonly ownSignIns: {
    signedIn(ctx: Context): Promise<string | undefined>;
    begin(
      ctx: Context,
      back: { to: string; occasion: "no_session" | "another"; progress?: object },
    ): Promise<string>;
  };
}

/**
 * Where identity providers send people back to, and what they need to know of us. An answer comes from another site,
 * so nothing here signs anybody in: what it proves is kept for the page that the person left from, and taken there by
 * the same browser, once (T-45).
 */
export function federationRoutes(needs: FederationNeeds): Router {
  const router = new Router({ prefix: "/federation/:slug" });
  const { page, issuer, connections, connectors } = needs;

  const connected = async (ctx: Context): Promise<IdentityProvider> => {
    const provider = await connections.find(String(ctx["params"].slug), issuer.name);
    if (provider === undefined) throw errors.notFound();
    return provider;
  };

  const arrive = async (ctx: Context) => {
    const provider = await connected(ctx);
    const answer = await answerOf(ctx);
    const { parameters } = answer;
    const state = parameters["state"] ?? parameters["RelayState"] ?? "";
    const asked = { state, providerId: provider.id, purposes: SIGN_INS };
    const found = await answered(needs, ctx, asked);
    if (found === undefined) return arriveUnasked(ctx, provider, answer);
    const { errand, secrets } = found;
    if (errand.purpose === "test") {
      const connector = await connectors.of(provider);
      return endTrial(needs, ctx, { provider, connector, errand, answer: { ...answer, secrets } });
    }
    const tracing = startTrace();
    try {
      const connector = await connectors.of(provider);
      const identity = await connector.arrive({ ...answer, secrets }, tracing.trace);
      return see(ctx, await handOver(needs, errand, identity));
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      const backHref = pageBefore(errand.returnTo);
      if (error.reason === "cancelled") return see(ctx, `${backHref}/stopped?by=${provider.slug}`);
      return showFailure(needs, ctx, { provider, error, tracing, backHref });
    }
  };
  router.get("/callback", arrive);
  router.post("/callback", arrive);
  router.post("/acs", arrive);

  const arriveUnasked = async (
    ctx: Context,
    provider: IdentityProvider,
    answer: Omit<Answer, "secrets">,
  ) => {
    await assertAllowed(needs, ctx);
    const connector = await connectors.of(provider);
    // By a GET of its own, to which the browser brings our cookies.
    if (await connector.isUnsolicited?.(answer))
      return see(ctx, `${issuer.path}/federation/${provider.slug}/login`);
    await throttleMessage(needs.knex, needs.seal, placeOf(ctx));
    return page(ctx, "federation-error", { provider: provider.name, reason: "stale" }, 400);
  };

  /**
   * A link of an operator's portal: sign in there, and land on one's own pages. Who is signed in stays so: no link of
   * somebody else's changes whose account this browser uses.
   */
  const begin = async (ctx: Context, { slug }: IdentityProvider) => {
    if ((await needs.ownSignIns.signedIn(ctx)) !== undefined)
      return see(ctx, `${issuer.path}/account`);
    const progress = { account: "another", connection: slug };
    see(
      ctx,
      await needs.ownSignIns.begin(ctx, { to: "/account", occasion: "no_session", progress }),
    );
  };
  router.get("/login", async (ctx: Context) => begin(ctx, await connected(ctx)));

  /** An operator's look at what the provider says, from the command line. */
  router.get("/test", async (ctx: Context) => {
    const provider = await connected(ctx);
    const connector = await connectors.of(provider);
    if (!(await beginTrial(needs, ctx, { provider, connector })))
      await page(ctx, "federation-error", { provider: provider.name, reason: "stale" }, 410);
  });

  const describe = async (ctx: Context) => {
    const connector = await connectors.of(await connected(ctx));
    const description = await connector.describe?.();
    if (description === undefined) throw errors.notFound();
    ctx.type = description.type;
    ctx.body = description.body;
  };
  router.get("/metadata", describe);
  router.get("/jwks", describe);

  const signOutByMessage = async (ctx: Context) => {
    const provider = await connected(ctx);
    const answer = await answerOf(ctx);
    if (answer.parameters["SAMLResponse"] !== undefined)
      return comeBack(needs, ctx, provider, answer);
    await assertAllowed(needs, ctx);
    const tracing = startTrace();
    try {
      const connector = await connectors.of(provider);
      if (connector.readLogout === undefined) throw errors.notFound();
      const logout = await connector.readLogout(answer, tracing.trace);
      await endUpstreamSessions(needs.knex, { provider, logout, ...originOf(ctx) }, new Date());
      if (logout.reply !== undefined) return sendOn(page, ctx, provider.name, logout.reply);
      ctx.set("Cache-Control", "no-store");
      ctx.status = 200;
      ctx.body = "";
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      await note(needs, ctx, { provider, error, tracing });
      if (ctx.path.endsWith("/slo"))
        return page(
          ctx,
          "federation-error",
          { provider: provider.name, reason: error.reason },
          400,
        );
      ctx.status = 400;
      ctx.set("Cache-Control", "no-store");
      ctx.body = { error: "invalid_request", error_description: error.message };
    }
  };
  router.get("/slo", signOutByMessage);
  router.post("/slo", signOutByMessage);
  router.post("/backchannel-logout", signOutByMessage);
  router.get("/signed-out", async (ctx: Context) =>
    comeBack(needs, ctx, await connected(ctx), await answerOf(ctx)),
  );
  return router;
}

/** Shows why a sign-in elsewhere did not end well, and keeps what happened for whoever is asked about it. */
export async function showFailure(
  needs: Pick<FederationNeeds, "knex" | "seal" | "page">,
  ctx: Context,
  {
    backHref,
    ...failure
  }: {
    provider: IdentityProvider;
    error: UpstreamError;
    tracing: Tracing;
    backHref: string;
  },
): Promise<void> {
  await note(needs, ctx, failure);
  const { provider, error } = failure;
  const view = { provider: provider.name, reason: error.reason, backHref };
  await needs.page(ctx, "federation-error", view, error.reason === "unavailable" ? 502 : 400);
}

/** Keeps what happened, unless so much has failed from there that nobody could read it (T-104). */
async function note(
  { knex, seal }: Pick<FederationNeeds, "knex" | "seal">,
  ctx: Context,
  {
    provider,
    error,
    tracing,
  }: { provider: IdentityProvider; error: UpstreamError; tracing: Tracing },
): Promise<void> {
  if (!(await throttleMessage(knex, seal, placeOf(ctx)))) return;
  traceFailure(tracing, error);
  const supportId = String(ctx.state["correlationId"]);
  await keepTrace(knex, { supportId, providerId: provider.id, error, steps: tracing.steps });
  await record(knex, {
    ...originOf(ctx),
    type: "federation.failed",
    actor: { type: "anonymous" },
    details: { connection: provider.slug, reason: error.reason, rule: error.rule },
  });
}

/** Looks at no more messages that anybody may send, where too many from there have proved nothing (T-104). */
async function assertAllowed({ knex, seal }: StateNeeds, ctx: Context): Promise<void> {
  const verdict = await messagesAllowed(knex, seal, placeOf(ctx));
  if (!verdict.allowed) throw errors.tooManyRequests(verdict.retryAfter);
}

function placeOf(ctx: Context): { ipPrefix: string; now: Date } {
  return { ipPrefix: originOf(ctx).ipPrefix ?? "", now: new Date() };
}

/** What a browser brings. No parameter may come twice (RFC 6749 §3.1). */
async function answerOf(ctx: Context): Promise<Omit<Answer, "secrets">> {
  const method = ctx.method === "POST" ? "POST" : "GET";
  const query = ctx.querystring;
  const parameters =
    method === "POST" ? await readParameters(ctx, LONGEST_ANSWER) : new URLSearchParams(query);
  const names = new Set(parameters.keys());
  if (names.size < parameters.size)
    throw errors.badRequest("The answer has a parameter twice. Start again.");
  return { method, parameters: Object.fromEntries(parameters), query };
}

/** The page that an outcome would have gone to, without its last segment: where the person left from. */
function pageBefore(returnTo: string): string {
  return returnTo.slice(0, returnTo.lastIndexOf("/"));
}

function see(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
}
