import { Router } from "@koa/router";
import type { Context, Next } from "koa";
import type { Knex } from "knex";
import type { Client, Provider } from "oidc-provider";
import { z } from "zod";
import { record } from "../audit/record.ts";
import { clientView } from "../consents/client-view.ts";
import { internalId } from "../consents/consents.ts";
import { explainedScopes } from "../consents/scopes.ts";
import { runInUnitOfWork, writer } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { originOf } from "../http/origin.ts";
import type { Page } from "../http/page.ts";
import type { User } from "../models/user.ts";
import { nameOf, scopesAskedFor } from "../users/claims.ts";
import { visitor, type AccountGuard, type GuardNeeds } from "./guard.ts";

/** What waits for a person's decision. */
interface Request {
  readonly id: string;
  readonly userId: string;
  readonly client: Client;
  readonly params: Readonly<Record<string, unknown>>;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

export interface ApproveNeeds extends GuardNeeds {
  readonly page: Page;
  readonly guard: AccountGuard;
  readonly requests: {
    find(provider: Provider, id: string): Promise<Request | undefined>;
    decide(
      provider: Provider,
      request: Request,
      decision: {
        isApproved: boolean;
        by: { acr: string; amr: readonly string[]; authTime: number };
      },
    ): Promise<boolean>;
  };
}

const decisionForm = z.strictObject({ decision: z.enum(["approve", "deny", "report"]) });

/**
 * Where a person decides about a request that a client made elsewhere (CIBA Core §8). Nobody sees what it is about but
 * the person it is for, and they have shown within the last minutes, with all they have, who they are.
 */
export function approveRoutes(needs: ApproveNeeds): Router {
  const { knex, engine, page, guard, requests, ownSignIns } = needs;
  const router = new Router({ prefix: "/approve/:id" });
  const requestOf = (ctx: Context) => ctx.state["request"] as Request;

  router.use((ctx: Context, next: Next) => runInUnitOfWork(knex, next, () => ctx.status < 500));
  router.use(async (ctx: Context, next: Next) => {
    const request = await requests.find(engine.provider, String(ctx["params"].id));
    if (request === undefined) return page(ctx, "ciba-done", { outcome: "over" }, 410);
    ctx.state["request"] = request;
    return next();
  });
  router.use(guard.confirmed);
  router.use(async (ctx: Context, next: Next) => {
    const { user } = visitor(ctx);
    if (user.id === requestOf(ctx).userId) return next();
    // The page does not say whose request it is; whoever else can sign in here may.
    ctx.status = 303;
    ctx.redirect(await ownSignIns.begin(ctx, { to: ctx.path, occasion: "another" }));
  });

  router.get("/", (ctx: Context) => show(page, ctx, requestOf(ctx), visitor(ctx).user));

  router.post("/", async (ctx: Context) => {
    const { decision } = await readForm(ctx, decisionForm);
    const request = requestOf(ctx);
    const isApproved = decision === "approve";
    const { acr, amr, loggedInAt } = visitor(ctx).session;
    const by = {
      acr: acr ?? "1",
      amr: amr ?? [],
      authTime: Math.floor((loggedInAt?.getTime() ?? 0) / 1000),
    };
    if (!(await requests.decide(engine.provider, request, { isApproved, by })))
      return page(ctx, "ciba-done", { outcome: "over" }, 410);
    await recordDecision(knex, ctx, request, decision);
    const outcomes = { approve: "approved", deny: "denied", report: "reported" } as const;
    return page(ctx, "ciba-done", { outcome: outcomes[decision] });
  });

  return router;
}

async function show(
  page: Page,
  ctx: Context,
  { client, params, createdAt, expiresAt }: Request,
  user: User,
): Promise<void> {
  const { binding_message: message } = params;
  const minutes = (from: number, to: number) => Math.max(0, Math.floor((to - from) / 60_000));
  await page(ctx, "ciba", {
    client: clientView(client, undefined),
    userName: nameOf(user),
    bindingMessage: typeof message === "string" ? message : "",
    scopes: explainedScopes(scopesAskedFor(params)),
    minutesAgo: minutes(createdAt.getTime(), Date.now()),
    minutesLeft: minutes(Date.now(), expiresAt.getTime()),
    registeredItself: client["is_dynamic"] === true,
  });
}

async function recordDecision(
  knex: Knex,
  ctx: Context,
  { id, userId, client, params }: Request,
  decision: "approve" | "deny" | "report",
): Promise<void> {
  const about = {
    ...originOf(ctx),
    actor: { type: "user", id: userId },
    userId,
    clientId: internalId(client),
    target: { type: "decoupled_authorization", id },
  } as const;
  const db = await writer(knex);
  if (decision === "approve")
    await record(db, {
      ...about,
      type: "ciba.approved",
      details: { scopes: scopesAskedFor(params) },
    });
  else await record(db, { ...about, type: decision === "deny" ? "ciba.denied" : "ciba.reported" });
}
