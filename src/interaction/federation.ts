import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import { clientView } from "../consents/client-view.ts";
import { reader, writer } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import type { ConnectionCache } from "../federation/cache.ts";
import { UpstreamError, type UpstreamIdentity } from "../federation/connector.ts";
import type { Connectors } from "../federation/connectors.ts";
import { recognise } from "../federation/people.ts";
import { showFailure } from "../federation/routes.ts";
import { sendOn } from "../federation/send-on.ts";
import { upstreamOf } from "../federation/sessions.ts";
import { leaveFor, takeOutcome } from "../federation/states.ts";
import { startTrace } from "../federation/trace.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import { localeOf } from "../http/locale.ts";
import type { Page } from "../http/page.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import { withoutSignIn } from "./flow.ts";
import { isPermitted } from "./home-realm.ts";
import { identifierOf } from "./password.ts";
import type { StepTools } from "./routes.ts";
import type { Visit } from "./visit.ts";

export interface InteractionFederationNeeds {
  knex: Knex;
  seal: Seal;
  page: Page;
  mailer: Mailer;
  connections: ConnectionCache;
  connectors: Connectors;
  readonly config: { readonly locales: readonly string[] };
}

/** Before the first factor: at these steps somebody may sign in elsewhere instead. */
const BEGINNINGS = ["identifier", "register", "password", "verify", "sso", "federation"] as const;

const choiceForm = z.strictObject({ way: z.enum(["provider", "other"]) });

/**
 * Signing in at an identity provider: the browser leaves with a state of its own and comes back with what the provider
 * said, which is the first factor here. Who that is, `federation/people.ts` decides; nobody is signed in before the
 * last step, like everywhere.
 */
export function federationRoutes(
  router: Router,
  tools: StepTools,
  needs: InteractionFederationNeeds,
): void {
  const { page, connections } = needs;

  const leave = async (ctx: Context, slug: string) => {
    const visit = tools.visit(ctx);
    const provider = await connections.find(slug, visit.issuer?.name ?? "");
    const isMeant = isPermitted(visit.client, slug) || visit.demand.homeRealm?.slug === slug;
    if (provider === undefined || !isMeant) throw errors.notFound();
    const tracing = startTrace();
    try {
      const connector = await needs.connectors.of(provider);
      const to = await leaveFor(
        needs,
        ctx,
        { provider, connector },
        errandOf(needs, ctx, visit),
        tracing.trace,
      );
      return await sendOn(page, ctx, provider.name, to);
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      return showFailure(needs, ctx, { provider, error, tracing, backHref: visit.here });
    }
  };

  router.get("/federation", tools.at("federation"), (ctx: Context) =>
    leave(ctx, tools.visit(ctx).demand.homeRealm?.slug ?? ""),
  );
  router.get("/federation/:slug", tools.at(...BEGINNINGS), (ctx: Context) =>
    leave(ctx, String(ctx["params"].slug)),
  );

  router.get("/stopped", tools.at(...BEGINNINGS), async (ctx: Context) => {
    const { progress, demand, here, issuer } = tools.visit(ctx);
    const slug = String(ctx.query["by"]);
    const provider = await connections.find(slug, issuer?.name ?? "");
    if (provider === undefined) throw errors.notFound();
    if (demand.homeRealm?.how === "forced") {
      const { name } = provider;
      return page(
        ctx,
        "federation-error",
        { provider: name, reason: "cancelled", backHref: here },
        400,
      );
    }
    const { connection: _chosen, ...rest } = withoutSignIn(progress);
    return tools.proceed(ctx, { ...rest, stopped: provider.name });
  });

  router.get("/arrived", tools.at(...BEGINNINGS), async (ctx: Context) => {
    const visit = tools.visit(ctx);
    const returnTo = `${visit.here}/arrived`;
    const outcome = String(ctx.query["outcome"]);
    const taken = await takeOutcome(needs, ctx, { outcome, returnTo });
    if (taken === undefined) return tools.proceed(ctx, visit.progress);
    const { providerId } = taken.errand;
    // What an operator has switched off meanwhile signs nobody in (T-93).
    const provider = await IdentityProvider.query(reader(needs.knex))
      .findById(providerId)
      .where({ enabled: true, atIssuer: visit.issuer?.name ?? "" })
      .withGraphFetched("[saml, domains]");
    if (provider === undefined) throw errors.notFound();
    return signIn(ctx, provider, taken.identity);
  });

  const signIn = async (ctx: Context, provider: IdentityProvider, identity: UpstreamIdentity) => {
    const { here, progress, issuer } = tools.visit(ctx);
    const now = new Date();
    const found = await recognise(await writer(needs.knex), {
      provider,
      identity,
      now,
      seal: needs.seal,
      mailer: needs.mailer,
      issuer: issuer?.url ?? "",
      origin: originOf(ctx),
    });
    if (found.outcome === "refused") {
      const { reason } = found;
      const view = { provider: provider.name, reason, backHref: here };
      return page(ctx, "federation-error", view, 403);
    }
    if (found.outcome === "to_link") {
      const { userId } = found;
      const link = { connection: provider.slug, providerId: provider.id, userId, identity };
      return tools.proceed(ctx, { ...withoutSignIn(progress), link });
    }
    const at = now.getTime() / 1000;
    const method = isTrusted(provider, identity) ? "federated_mfa" : "federated";
    const { account, identifier } = progress;
    return tools.proceed(ctx, {
      ...withoutSignIn({ ...(account && { account }), ...(identifier && { identifier }) }),
      userId: found.user.id,
      shown: [{ method, at, authTime: Math.min(at, identity.authTime ?? at) }],
      federated: {
        connection: provider.slug,
        upstream: upstreamOf(
          needs.seal,
          { identityId: found.identity.id, providerId: provider.id },
          identity,
        ),
      },
    });
  };

  router.get("/sso", tools.at("sso"), async (ctx: Context) => {
    const visit = tools.visit(ctx);
    const { interaction, client, here, demand, issuer } = visit;
    const provider = await connections.find(demand.homeRealm?.slug ?? "", issuer?.name ?? "");
    if (provider === undefined) throw errors.notFound();
    return page(ctx, "sso", {
      client: clientView(client, interaction.params["redirect_uri"]),
      identifier: identifierOf(visit),
      provider: provider.name,
      changeHref: `${here}?change=1`,
      cancelAction: `${here}/cancel`,
    });
  });

  router.post("/sso", tools.at("sso"), async (ctx: Context) => {
    const { way } = await readForm(ctx, choiceForm);
    const { progress, demand } = tools.visit(ctx);
    if (way === "other") return tools.proceed(ctx, { ...progress, isLocal: true });
    return leave(ctx, demand.homeRealm?.slug ?? "");
  });

  router.get("/link", tools.at("link"), async (ctx: Context) => {
    const { interaction, client, here, progress, issuer } = tools.visit(ctx);
    const { connection = "", identity } = progress.link ?? {};
    const provider = await connections.find(connection, issuer?.name ?? "");
    return page(ctx, "link", {
      client: clientView(client, interaction.params["redirect_uri"]),
      provider: provider?.name ?? connection,
      email: identity?.email ?? "",
      cancelAction: `${here}/cancel`,
    });
  });

  router.post("/link", tools.at("link"), async (ctx: Context) => {
    const { progress } = tools.visit(ctx);
    const { link } = progress;
    if (link === undefined) return tools.proceed(ctx, progress);
    return tools.proceed(ctx, {
      ...progress,
      identifier: link.identity.email ?? "",
      isLocal: true,
      link: { ...link, isAccepted: true },
    });
  });
}

/** What the provider is told of who is expected, and how anew they must show who they are. */
function errandOf({ config }: InteractionFederationNeeds, ctx: Context, visit: Visit) {
  const { interaction, here, progress } = visit;
  const hint = progress.identifier ?? interaction.params["login_hint"];
  const reasons = new Set(interaction.prompt.reasons);
  const isFresh = ["login_prompt", "max_age", "id_token_hint", "confirm"].some((reason) =>
    reasons.has(reason),
  );
  return {
    purpose: "login",
    returnTo: `${here}/arrived`,
    locales: [localeOf(ctx, config.locales)],
    ...(typeof hint === "string" && hint.length > 0 ? { loginHint: hint.slice(0, 254) } : {}),
    ...(isFresh ? { fresh: true } : {}),
  } as const;
}

/** Whether the operator believes this provider that what it says stands for two factors (NIST SP 800-63C §4). */
function isTrusted(
  { trustedAcrValues }: IdentityProvider,
  { acr, amr = [] }: UpstreamIdentity,
): boolean {
  return [acr, ...amr].some((value) => value !== undefined && trustedAcrValues.includes(value));
}
