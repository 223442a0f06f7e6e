import { Router } from "@koa/router";
import type { Context, Next } from "koa";
import type { Knex } from "knex";
import type { Client, Provider } from "oidc-provider";
import { z } from "zod";
import { record } from "../audit/record.ts";
import { clientView } from "../consents/client-view.ts";
import { internalId } from "../consents/consents.ts";
import { explainedScopes } from "../consents/scopes.ts";
import { reader, runInUnitOfWork, writer } from "../database/transaction.ts";
import { readForm } from "../http/body.ts";
import { issuerFor } from "../http/host.ts";
import { originOf } from "../http/origin.ts";
import type { User } from "../models/user.ts";
import { findUserWithClaims, nameOf, scopesAskedFor } from "../users/claims.ts";
import type { FieldError } from "../views.ts";
import { checkPassword, type PasswordNeeds } from "./password.ts";
import { FRESH, makeProof, readProof } from "./proof.ts";

/** What waits for a person's decision. */
interface Request {
  readonly id: string;
  readonly userId: string;
  readonly client: Client;
  readonly params: Readonly<Record<string, unknown>>;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

export interface ApproveNeeds extends PasswordNeeds {
  knex: Knex;
  engine: { readonly provider: Provider };
  requests: {
    find(provider: Provider, id: string): Promise<Request | undefined>;
    decide(
      provider: Provider,
      request: Request,
      decision: { isApproved: boolean; authTime: number },
    ): Promise<boolean>;
  };
}

const passwordForm = z.strictObject({
  username: z.string().trim().max(320).default(""),
  password: z.string().max(1024).default(""),
});
const decisionForm = z.strictObject({
  decision: z.enum(["approve", "deny", "report"]),
  proof: z.string().max(1000).default(""),
});

/**
 * Where a person decides about a request that a client made elsewhere (CIBA Core §8). Nobody sees what it is about who
 * has not shown the password of the person it is for within the last five minutes, here or when they signed in.
 */
export function approveRoutes(needs: ApproveNeeds): Router {
  const { knex, engine, page, requests } = needs;
  const router = new Router({ prefix: "/approve/:id" });
  const requestOf = (ctx: Context) => ctx.state["request"] as Request;

  router.use((ctx: Context, next: Next) => runInUnitOfWork(knex, next, () => ctx.status < 500));
  router.use(async (ctx: Context, next: Next) => {
    const request = await requests.find(engine.provider, String(ctx["params"].id));
    if (request === undefined) return page(ctx, "ciba-done", { outcome: "over" }, 410);
    ctx.state["request"] = request;
    return next();
  });

  router.get("/", async (ctx: Context) => {
    const request = requestOf(ctx);
    const session = await engine.provider.Session.get(ctx);
    const user = await userSince(knex, request, session.loginTs);
    const isTheirs = user !== undefined && session.accountId === user.id;
    if (isTheirs && isFresh(session.loginTs)) return show(needs, ctx, request, user, "");
    return askPassword(needs, ctx, isTheirs ? (user.primaryEmail?.email ?? "") : "", []);
  });

  router.post("/", async (ctx: Context) => {
    const { username, password } = await readForm(ctx, passwordForm);
    const request = requestOf(ctx);
    if (username === "") {
      const error = { field: "username", message: "err.identifier.empty" } as const;
      return askPassword(needs, ctx, "", [error], 422);
    }
    const attempt = { identifier: username, password, clientId: internalId(request.client) };
    const outcome = await checkPassword(needs, ctx, attempt);
    if ("errors" in outcome)
      return askPassword(needs, ctx, username, outcome.errors, outcome.status);
    // Somebody else’s password is as wrong as any other: the page does not say whose request it is.
    const at = Math.floor(Date.now() / 1000);
    const user = await userSince(knex, request, at);
    if (user === undefined || outcome.user.id !== user.id) {
      const error = { field: "password", message: "err.password.wrong" } as const;
      return askPassword(needs, ctx, username, [error], 401);
    }
    return show(needs, ctx, request, user, makeProof(needs.seal, { of: request.id, at }));
  });

  router.post("/decision", async (ctx: Context) => {
    const { decision, proof } = await readForm(ctx, decisionForm);
    const request = requestOf(ctx);
    const session = await engine.provider.Session.get(ctx);
    const provenAt =
      readProof(needs.seal, proof, request.id) ??
      (session.accountId === request.userId ? session.loginTs : undefined);
    const user = await userSince(knex, request, provenAt);
    if (user === undefined || provenAt === undefined || !isFresh(provenAt))
      return askPassword(needs, ctx, "", [], 401);
    const isApproved = decision === "approve";
    const decided = await requests.decide(engine.provider, request, {
      isApproved,
      authTime: provenAt,
    });
    if (!decided) return page(ctx, "ciba-done", { outcome: "over" }, 410);
    await recordDecision(knex, ctx, request, decision);
    const outcomes = { approve: "approved", deny: "denied", report: "reported" } as const;
    return page(ctx, "ciba-done", { outcome: outcomes[decision] });
  });

  return router;
}

async function askPassword(
  { page }: ApproveNeeds,
  ctx: Context,
  username: string,
  errors: readonly FieldError[],
  status = 200,
): Promise<void> {
  await page(ctx, "ciba-password", { action: here(ctx), username, errors }, status);
}

async function show(
  { page }: ApproveNeeds,
  ctx: Context,
  { client, params, createdAt, expiresAt }: Request,
  user: User,
  proof: string,
): Promise<void> {
  const { binding_message: message } = params;
  const minutes = (from: number, to: number) => Math.max(0, Math.floor((to - from) / 60_000));
  await page(ctx, "ciba", {
    action: here(ctx),
    client: clientView(client, undefined),
    userName: nameOf(user),
    bindingMessage: typeof message === "string" ? message : "",
    scopes: explainedScopes(scopesAskedFor(params)),
    minutesAgo: minutes(createdAt.getTime(), Date.now()),
    minutesLeft: minutes(Date.now(), expiresAt.getTime()),
    registeredItself: client["is_dynamic"] === true,
    proof,
  });
}

/** The person whom a request is for, if they may act and nothing ended their sign-ins since `provenAt` (T-30). */
async function userSince(
  knex: Knex,
  { userId }: Request,
  provenAt: number | undefined,
): Promise<User | undefined> {
  const user = await findUserWithClaims(reader(knex), userId);
  if (user?.isActive !== true) return undefined;
  const ended = user.sessionsValidAfter?.getTime() ?? 0;
  return ((provenAt ?? 0) + 1) * 1000 > ended ? user : undefined;
}

function isFresh(provenAt: number | undefined): boolean {
  return provenAt !== undefined && Date.now() / 1000 - provenAt <= FRESH;
}

function here(ctx: Context): string {
  return `${issuerFor(ctx)?.path ?? ""}/approve/${String(ctx["params"].id)}`;
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
