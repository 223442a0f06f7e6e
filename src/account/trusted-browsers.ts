import type { Router } from "@koa/router";
import type { Context } from "koa";
import { record } from "../audit/record.ts";
import { forgetTrustedBrowsers, listTrustedBrowsers } from "../authn/trusted-browsers.ts";
import { reader, writer } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import { isUuid } from "../lib/uuid.ts";
import { visitor } from "./guard.ts";
import { go, ownerOf, type AccountFactorNeeds } from "./second-factors.ts";

/** The browsers on which a person is not asked for the second step; each can be forgotten, or all (T-86). */
export function accountBrowserRoutes(router: Router, needs: AccountFactorNeeds): void {
  const { knex, guard, page, issuer } = needs;
  const here = `${issuer.path}/account/browsers`;

  const forget = async (ctx: Context, id?: string) => {
    const { userId, origin } = ownerOf(ctx);
    const db = await writer(knex);
    const count = await forgetTrustedBrowsers(db, id === undefined ? { userId } : { userId, id });
    if (id !== undefined && count === 0) throw errors.notFound();
    const actor = { type: "user", id: userId } as const;
    await record(db, {
      ...origin,
      type: "factor.trust_removed",
      actor,
      userId,
      details: { count },
    });
    return go(ctx, here);
  };

  router.get("/browsers", guard.signedIn, async (ctx: Context) => {
    const { user } = visitor(ctx);
    const trusted = await listTrustedBrowsers(reader(knex), user.id, new Date());
    const browsers = trusted.map(({ id, name, lastUsedAt, expiresAt }) => ({
      id,
      name,
      usedAt: lastUsedAt.getTime(),
      until: expiresAt.getTime(),
    }));
    await page(ctx, "account-browsers", { browsers, here });
  });

  router.post("/browsers/forget-all", guard.signedIn, (ctx: Context) => forget(ctx));

  router.post("/browsers/:id/forget", guard.signedIn, (ctx: Context) => {
    const id = String(ctx["params"].id);
    if (!isUuid(id)) throw errors.notFound();
    return forget(ctx, id);
  });
}
