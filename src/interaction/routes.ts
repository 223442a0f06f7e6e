import { Router } from "@koa/router";
import type { Context, Middleware, Next } from "koa";
import type { Knex } from "knex";
import { errors as engineErrors, type Provider } from "oidc-provider";
import type { Config } from "../config.ts";
import { runInUnitOfWork } from "../database/transaction.ts";
import { readParameters } from "../http/body.ts";
import { accountsRoutes } from "./accounts.ts";
import { consentRoutes, type ConsentNeeds } from "./consent.ts";
import { weigh, type ArrivalNeeds } from "./arrival.ts";
import { enrollPasskeyRoutes } from "./enroll-passkey.ts";
import { enrollRoutes } from "./enroll.ts";
import { cancel, finish } from "./finish.ts";
import { nextStep, stepPath, type Progress, type Step } from "./flow.ts";
import { identifierRoutes, type IdentifierNeeds } from "./identifier.ts";
import { methodsRoutes } from "./methods.ts";
import { mfaRoutes } from "./mfa.ts";
import { offerRoutes, type OfferNeeds } from "./offer.ts";
import { originOf } from "../http/origin.ts";
import { federationRoutes, type InteractionFederationNeeds } from "./federation.ts";
import { forgotRoutes } from "./forgot.ts";
import { profileRoutes } from "./profile.ts";
import { registerRoutes } from "./register.ts";
import { termsRoutes } from "./terms.ts";
import { verifyRoutes } from "./verify.ts";
import { passwordRoutes, type PasswordNeeds } from "./password.ts";
import { parkSession } from "./parked-sessions.ts";
import { showStale, type StaleNeeds } from "./stale.ts";
import { webauthnRoutes } from "./webauthn.ts";
import { advance, loadVisit, saveProgress, type Visit, type VisitNeeds } from "./visit.ts";

export interface InteractionNeeds
  extends
    IdentifierNeeds,
    PasswordNeeds,
    InteractionFederationNeeds,
    ConsentNeeds,
    OfferNeeds,
    StaleNeeds,
    VisitNeeds,
    ArrivalNeeds {
  config: Pick<Config, "signInLayout" | "locales" | "productName"> & ArrivalNeeds["config"];
  knex: Knex;
  engine: { readonly provider: Provider };
  ownSignIns: VisitNeeds["ownSignIns"] & {
    complete(ctx: Context, interaction: Visit["interaction"]): Promise<string>;
  };
}

/** What a step's handler gets beside the request. */
export interface StepTools {
  /** The visit of this request. */
  visit(ctx: Context): Visit;
  /** Runs the handler only when one of its steps is the one that is due; otherwise the browser goes where it should be. */
  at(...steps: Exclude<Step, "done">[]): Middleware;
  /** Keeps what the person showed or said and sends the browser on. */
  proceed(ctx: Context, progress: Progress): Promise<void>;
  /** Keeps it and sends the browser to a page beside the steps, which leads back to them. */
  keep(ctx: Context, progress: Progress, page: string): Promise<void>;
  /** Sends the browser back to the client with a no. */
  cancel(ctx: Context): Promise<void>;
}

/**
 * The pages between an authorization request and its answer. Steps never call steps: each one ends in `proceed`,
 * which asks `nextStep` where to go, so reload, the back button and a second tab all work.
 */
export function interactionRoutes(needs: InteractionNeeds): Router {
  const { knex, engine } = needs;
  const router = new Router({ prefix: "/interaction/:uid" });

  /** The session in use goes on, out of the way of the one that is about to begin. */
  const makeRoom = async (ctx: Context, { interaction, parked }: Visit): Promise<void> => {
    await parkSession(knex, engine.provider, ctx, parked);
    delete interaction.session;
  };

  const tools: StepTools = {
    visit: (ctx) => ctx.state["visit"] as Visit,
    at:
      (...steps) =>
      async (ctx, next) => {
        const { interaction, here, progress, demand } = tools.visit(ctx);
        if (hasEnded(interaction.result)) return see(ctx, interaction.returnTo);
        const due = nextStep(progress, demand);
        if (due === "done") return tools.proceed(ctx, progress);
        if (steps.includes(due) || wantsAnotherAccount(ctx, steps, due)) return next();
        return see(ctx, stepPath(here, due));
      },
    proceed: async (ctx, claimed) => {
      const advanced = await advance(knex, tools.visit(ctx), claimed);
      const visit = await weigh(needs, ctx, advanced);
      const { interaction, here, demand, progress } = visit;
      const step = nextStep(progress, demand);
      if (step === "done") {
        if (isSomebodyElse(visit)) await makeRoom(ctx, visit);
        return see(ctx, await finish(needs, ctx, visit, new Date()));
      }
      await saveProgress(interaction, progress);
      return see(ctx, stepPath(here, step));
    },
    keep: async (ctx, progress, page) => {
      const { interaction, here } = tools.visit(ctx);
      await saveProgress(interaction, progress);
      return see(ctx, `${here}/${page}`);
    },
    cancel: async (ctx) => {
      const visit = tools.visit(ctx);
      if (hasEnded(visit.interaction.result)) return see(ctx, visit.interaction.returnTo);
      return see(ctx, await cancel(knex, visit, originOf(ctx)));
    },
  };

  router.use(async (ctx: Context, next: Next) => {
    if (ctx.method !== "POST" || !PASSWORD_FORM.test(ctx.path)) return next();
    // Inside, nobody waits for somebody's slow connection.
    if (ctx.is("urlencoded") === "urlencoded") await readParameters(ctx);
    return needs.passwords.attempt(next);
  });
  const stale = (ctx: Context) => async (error: unknown) => {
    if (!(error instanceof engineErrors.SessionNotFound)) throw error;
    // Of a session that began and was undone.
    ctx.remove("Set-Cookie");
    ctx.remove("Location");
    return showStale(needs, ctx);
  };
  router.use((ctx: Context, next: Next) =>
    runInUnitOfWork(knex, next, () => ctx.status < 500, stale(ctx)),
  );
  router.use(async (ctx: Context, next: Next) => {
    try {
      const visit = await loadVisit(engine.provider, needs, ctx);
      ctx.state["visit"] = visit;
    } catch (error) {
      return stale(ctx)(error);
    }
    return next();
  });

  accountsRoutes(router, tools, needs);
  identifierRoutes(router, tools, needs);
  passwordRoutes(router, tools, needs);
  methodsRoutes(router, tools, needs);
  mfaRoutes(router, tools, needs);
  enrollRoutes(router, tools, needs);
  enrollPasskeyRoutes(router, tools, needs);
  webauthnRoutes(router, tools, needs);
  offerRoutes(router, tools, needs);
  registerRoutes(router, tools, needs);
  verifyRoutes(router, tools, needs);
  forgotRoutes(router, tools, needs);
  termsRoutes(router, tools, needs);
  profileRoutes(router, tools, needs);
  federationRoutes(router, tools, needs);
  consentRoutes(router, tools, needs);

  router.post("/cancel", (ctx: Context) => tools.cancel(ctx));
  router.get("/own", async (ctx: Context) =>
    see(ctx, await needs.ownSignIns.complete(ctx, tools.visit(ctx).interaction)),
  );
  return router;
}

function isSomebodyElse({ interaction: { session }, progress }: Visit): boolean {
  return (
    progress.userId !== undefined && ![undefined, progress.userId].includes(session?.accountId)
  );
}

/** Where passwords are sent to. */
const PASSWORD_FORM = /^\/interaction\/[^/]+(?:\/password)?\/?$/;

/** The steps before anybody has shown who they are. */
const BEGINNINGS: ReadonlySet<Step> = new Set([
  "password",
  "register",
  "verify",
  "sso",
  "federation",
  "link",
]);

/** "Not you?" on the password page leads back to the identifier, and so does sending that form again. */
function wantsAnotherAccount(ctx: Context, steps: readonly Step[], due: Step): boolean {
  return (
    steps.length === 1 &&
    steps[0] === "identifier" &&
    BEGINNINGS.has(due) &&
    (ctx.method === "POST" || ctx.query["change"] !== undefined)
  );
}

/** Whether the interaction has its result and only waits for the browser to go on. */
function hasEnded(result: Visit["interaction"]["result"]): boolean {
  return result !== undefined && ("login" in result || "consent" in result || "error" in result);
}

/** 303: whatever the request was, the next one is a GET (RFC 9110 §15.4.4). */
function see(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
}
