import type { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { z } from "zod";
import type { Config } from "../config.ts";
import { reader, writer } from "../database/transaction.ts";
import { AppError, errors } from "../errors.ts";
import type { ConnectionCache } from "../federation/cache.ts";
import { UpstreamError } from "../federation/connector.ts";
import type { Connectors } from "../federation/connectors.ts";
import { linkIdentity } from "../federation/link.ts";
import { showFailure } from "../federation/routes.ts";
import { sendOn } from "../federation/send-on.ts";
import { leaveFor, takeOutcome } from "../federation/states.ts";
import { startTrace } from "../federation/trace.ts";
import { unlinkIdentity } from "../federation/unlink.ts";
import { readForm } from "../http/body.ts";
import { localeOf } from "../http/locale.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import type { Mailer } from "../mail/mailer.ts";
import { Identity } from "../models/identity.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import type { User } from "../models/user.ts";
import type { FieldError } from "../views.ts";
import { visitor, type AccountGuard } from "./guard.ts";

export interface ConnectedNeeds {
  readonly config: Pick<Config, "locales">;
  readonly knex: Knex;
  readonly seal: Seal;
  readonly page: Page;
  readonly mailer: Mailer;
  readonly guard: AccountGuard;
  readonly issuer: Pick<Issuer, "name" | "path" | "url">;
  readonly connections: ConnectionCache;
  readonly connectors: Connectors;
}

const noForm = z.strictObject({});
const KEPT = { last: "err.identity.last", enforced: "err.identity.enforced" } as const;
const DONE = ["connected", "disconnected"] as const;

/**
 * With what else a person can sign in: which there are, another one, and away with one. The way to a provider begins
 * with a form, because a link would let another site connect somebody here to a stranger's account there (T-92).
 */
export function connectedRoutes(router: Router, needs: ConnectedNeeds): void {
  const { knex, page, guard, issuer } = needs;
  const here = `${issuer.path}/account/connected`;
  const arrivedAt = `${here}/arrived`;

  const list = async (ctx: Context, problems: readonly FieldError[] = [], status = 200) => {
    const { user } = visitor(ctx);
    const db = reader(knex);
    const identities = [];
    for (const row of await identitiesOf(needs, user))
      identities.push({
        id: row.id,
        name: row.provider?.name ?? "",
        who: row.email ?? row.name ?? "",
        usedAt: (row.lastLoginAt ?? row.createdAt).getTime(),
        isRemovable: !(await Identity.isEnforced(db, row.id)),
      });
    const done = DONE.find((each) => each === ctx.query["done"]);
    const offered = await connectionsFor(needs, user);
    const view = {
      identities,
      connections: offered.map(({ slug, name }) => ({ slug, name })),
      here,
      ...(done === undefined ? {} : { done }),
      errors: problems,
    };
    await page(ctx, "account-connected", view, status);
  };

  router.get("/connected", guard.signedIn, (ctx: Context) => list(ctx));
  router.get("/connected/stopped", (ctx: Context) => see(ctx, here));

  router.get("/connected/arrived", guard.signedIn, async (ctx: Context) => {
    const { user } = visitor(ctx);
    const outcome = String(ctx.query["outcome"]);
    const taken = await takeOutcome(needs, ctx, { outcome, returnTo: arrivedAt });
    const provider =
      taken && (await IdentityProvider.query(reader(knex)).findById(taken.errand.providerId));
    // Whoever is signed in now may be somebody else than who began.
    if (taken?.errand.userId !== user.id || provider?.enabled !== true)
      return list(ctx, [{ field: "connections", message: "err.identity.over" }], 410);
    try {
      await linkIdentity(await writer(knex), {
        userId: user.id,
        provider,
        identity: taken.identity,
        ...toldFrom(needs, ctx),
      });
    } catch (error) {
      if (!(error instanceof AppError && error.code === "identity_taken")) throw error;
      return list(ctx, [{ field: "connections", message: "err.identity.taken" }], 409);
    }
    return see(ctx, `${here}?done=connected`);
  });

  router.post("/connected/:id/disconnect", guard.confirmed, async (ctx: Context) => {
    await readForm(ctx, noForm);
    const { user, session } = visitor(ctx);
    const { id } = ctx["params"] as { id: string };
    const outcome = await unlinkIdentity(await writer(knex), {
      userId: user.id,
      id,
      sessionUid: session.uid,
      ...toldFrom(needs, ctx),
    });
    if (outcome === "unknown") throw errors.notFound();
    if (outcome === "done") return see(ctx, `${here}?done=disconnected`);
    const all = await identitiesOf(needs, user);
    const field = `disconnect-${all.findIndex((row) => row.id === id) + 1}`;
    return list(ctx, [{ field, message: KEPT[outcome] }], 409);
  });

  router.post("/connected/:slug", guard.confirmed, async (ctx: Context) => {
    await readForm(ctx, noForm);
    const { user } = visitor(ctx);
    const { slug } = ctx["params"] as { slug: string };
    const provider = (await connectionsFor(needs, user)).find((one) => one.slug === slug);
    if (provider === undefined) throw errors.notFound();
    const tracing = startTrace();
    try {
      const connector = await needs.connectors.of(provider);
      const errand = {
        purpose: "link",
        returnTo: arrivedAt,
        userId: user.id,
        locales: [localeOf(ctx, needs.config.locales)],
        fresh: true,
      } as const;
      const to = await leaveFor(needs, ctx, { provider, connector }, errand, tracing.trace);
      return await sendOn(page, ctx, provider.name, to);
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      return showFailure(needs, ctx, { provider, error, tracing, backHref: here });
    }
  });
}

/** Whether there is anything to see or to do on the page. */
export async function hasConnections(
  needs: Pick<ConnectedNeeds, "knex" | "issuer" | "connections">,
  user: User,
): Promise<boolean> {
  const own = await Identity.query(reader(needs.knex)).findOne({ userId: user.id });
  return own !== undefined || (await connectionsFor(needs, user)).length > 0;
}

async function identitiesOf({ knex }: ConnectedNeeds, { id: userId }: User): Promise<Identity[]> {
  return Identity.query(reader(knex))
    .where({ userId })
    .withGraphFetched("provider")
    .orderBy(["createdAt", "id"]);
}

/**
 * What somebody could connect: what has a button, and what their domain has. Not what they have, nor what keeps its
 * people apart; and nobody learns here which companies are connected.
 */
async function connectionsFor(
  { knex, issuer, connections }: Pick<ConnectedNeeds, "knex" | "issuer" | "connections">,
  { id: userId, emails = [] }: User,
): Promise<IdentityProvider[]> {
  const own = await Identity.query(reader(knex)).select("providerId").where({ userId });
  const taken = new Set(own.map(({ providerId }) => providerId));
  const proven = emails.filter(({ verifiedAt }) => verifiedAt !== null);
  const isTheirs = ({ domains = [] }: IdentityProvider) =>
    proven.some(({ emailNorm }) =>
      domains.some((one) => one.verifiedAt !== null && emailNorm.endsWith(`@${one.domain}`)),
    );
  return (await connections.connections(issuer.name)).filter(
    (provider) =>
      !taken.has(provider.id) &&
      provider.linkingPolicy !== "isolated" &&
      (provider.showButton || isTheirs(provider)),
  );
}

/** What a change of how somebody signs in is told and recorded with. */
function toldFrom({ seal, mailer, issuer }: ConnectedNeeds, ctx: Context) {
  return { seal, mailer, issuer: issuer.url, origin: originOf(ctx), now: new Date() };
}

function see(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
}
