import { Router } from "@koa/router";
import type { Context } from "koa";
import type { Knex } from "knex";
import { runInUnitOfWork } from "../database/transaction.ts";
import type { Page } from "../http/page.ts";
import type { Issuer } from "../issuers.ts";
import { nameOf } from "../users/claims.ts";
import { connectedRoutes, hasConnections, type ConnectedNeeds } from "./connected.ts";
import { emailRoutes, type EmailNeeds } from "./emails.ts";
import { visitor, type AccountGuard } from "./guard.ts";
import { passwordRoutes, type PasswordNeeds } from "./password.ts";
import { sessionsRoutes } from "./sessions.ts";
import { passkeysRoutes, type AccountPasskeysNeeds } from "./passkeys.ts";
import { accountCodeRoutes } from "./recovery-codes.ts";
import { accountFactorRoutes, type AccountFactorNeeds } from "./second-factors.ts";
import { accountBrowserRoutes } from "./trusted-browsers.ts";

export interface AccountNeeds
  extends AccountFactorNeeds, AccountPasskeysNeeds, ConnectedNeeds, EmailNeeds, PasswordNeeds {
  readonly config: EmailNeeds["config"] & PasswordNeeds["config"];
  readonly knex: Knex;
  readonly page: Page;
  readonly guard: AccountGuard;
  readonly issuer: Issuer;
}

/** The person's own pages. */
export function accountRoutes(needs: AccountNeeds): Router {
  const { knex, page, guard, issuer } = needs;
  const router = new Router({ prefix: "/account" });
  router.use((ctx, next) => runInUnitOfWork(knex, next, () => ctx.status < 500));

  router.get("/", guard.signedIn, async (ctx: Context) => {
    const { user } = visitor(ctx);
    await page(ctx, "account", {
      userName: nameOf(user),
      email: user.primaryEmail?.email ?? "",
      hasPasskeys: issuer.relyingParty !== undefined,
      hasConnections: await hasConnections(needs, user),
    });
  });
  sessionsRoutes(router, { knex, page, guard });
  passkeysRoutes(router, needs);

  accountFactorRoutes(router, needs);
  accountCodeRoutes(router, needs);
  accountBrowserRoutes(router, needs);
  emailRoutes(router, needs);
  passwordRoutes(router, needs);
  connectedRoutes(router, needs);
  return router;
}
