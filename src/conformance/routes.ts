import { Router } from "@koa/router";
import type { Context, Middleware } from "koa";
import type { Knex } from "knex";
import { runInUnitOfWork } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { recordKeyChanges } from "../keys/record-changes.ts";
import { rotate } from "../keys/rotation.ts";
import type { Seal } from "../keys/seal.ts";
import { equalBytes, sha256 } from "../lib/secret.ts";
import { DecoupledAuthorization } from "../models/decoupled-authorization.ts";

/** What the hooks act on. */
export interface ConformanceNeeds<Provider, Request> {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly engine: { readonly provider: Provider };
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

/**
 * What a suite does to the server between two requests. Mounted where `CONFORMANCE_SUITE_URL` is set, and for those
 * only who have the token that `lintel conformance seed` prints.
 */
export function conformanceRoutes<Provider, Request>(
  needs: ConformanceNeeds<Provider, Request>,
): Router {
  const { knex, seal, engine, requests } = needs;
  const router = new Router({ prefix: "/conformance" });
  /** Only whoever shows this token is answered; to others there is nothing here. */
  const only =
    (token: string, shown: (ctx: Context) => unknown): Middleware =>
    (ctx, next) => {
      if (!equalBytes(Buffer.from(String(shown(ctx))), Buffer.from(token))) throw errors.notFound();
      return next();
    };
  const isSuite = only(`Bearer ${hookToken(seal)}`, (ctx) => ctx.get("authorization"));
  const mayApprove = only(approvalToken(seal), (ctx) => ctx.query["token"]);

  /** Another signing key signs from now on, and the one before stays published (oidcc-server-rotate-keys). */
  router.post("/rotate-keys", isSuite, async (ctx) => {
    const { activated } = await knex.transaction(async (trx) => {
      const changes = await rotate(trx, seal, new Date(), { lead: 0 });
      await recordKeyChanges(trx, changes);
      return changes;
    });
    ctx.body = { activated };
  });

  /** Answers a CIBA request in place of its person (`automated_ciba_approval_url`). */
  router.get("/ciba", mayApprove, async (ctx) => {
    await runInUnitOfWork(
      knex,
      () => decide(ctx),
      () => ctx.status < 500,
    );
  });

  async function decide(ctx: Context): Promise<void> {
    const { auth_req_id: authReqId, action } = ctx.query;
    const codeHash = sha256(typeof authReqId === "string" ? authReqId : "");
    const row = await DecoupledAuthorization.query(knex).findOne({ codeHash });
    const request = row && (await requests.find(engine.provider, row.id));
    if (request === undefined) throw errors.notFound();
    const by = { acr: "1", amr: ["pwd"], authTime: Math.floor(Date.now() / 1000) };
    const decision = { isApproved: action === "allow", by };
    ctx.body = { decided: await requests.decide(engine.provider, request, decision) };
  }

  return router;
}

/** What lets a suite rotate the keys; the same on every node, and of no use for anything else. */
export function hookToken(seal: Pick<Seal, "derive">): string {
  return seal.derive("conformance").toString("base64url");
}

/**
 * What lets a suite approve in a person's place. It is in an address, because the suite's `automated_ciba_approval_url`
 * is opened as it is, with no header to put it into; so it is good for that alone.
 */
export function approvalToken(seal: Pick<Seal, "derive">): string {
  return seal.derive("conformance-approval").toString("base64url");
}
