import { Router } from "@koa/router";
import type { Knex } from "knex";
import type { Provider } from "oidc-provider";
import type { Issuer } from "../issuers.ts";
import { speakTo } from "../http/locale.ts";
import type { Page } from "../http/page.ts";
import { DecoupledAuthorization } from "../models/decoupled-authorization.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { findUserWithClaims, nameOf } from "../users/claims.ts";

export interface HomeNeeds {
  knex: Knex;
  engine: { readonly provider: Provider };
  page: Page;
  issuer: Pick<Issuer, "name" | "path">;
}

const MOST_APPS = 50;

/**
 * The front door: who is signed in on this browser, and which of the apps they use can be started from here. It is
 * where every page that has no better way on leads to.
 */
export function homeRoutes({ knex, engine, page, issuer }: HomeNeeds): Router {
  const router = new Router();

  router.get("/", async (ctx) => {
    const session = await engine.provider.Session.get(ctx);
    const user =
      session.accountId === undefined
        ? undefined
        : await findUserWithClaims(knex, session.accountId);
    if (user?.isActive !== true) return page(ctx, "home", { apps: [], approvals: [] });
    speakTo(ctx, user);

    const clients = await OAuthClient.query(knex)
      .whereIn("clientId", Object.keys(session.authorizations ?? {}))
      .where({ status: "active" })
      .whereNull("deletedAt")
      .orderBy("name")
      .limit(MOST_APPS);
    const apps = clients.flatMap((client) => {
      const href = client.metadata["initiate_login_uri"] ?? client.metadata["client_uri"];
      return typeof href === "string" ? [{ name: client.name, href }] : [];
    });
    return page(ctx, "home", {
      userName: nameOf(user),
      apps,
      approvals: await approvalsOf(knex, issuer, user.id),
    });
  });

  return router;
}

/** What waits for the person's decision; the page it leads to asks for the password (CIBA Core §8). */
async function approvalsOf(
  knex: Knex,
  { name, path }: HomeNeeds["issuer"],
  userId: string,
): Promise<{ clientName: string; href: string }[]> {
  const waiting = await DecoupledAuthorization.pendingOf(knex, userId, new Date());
  const clients = await OAuthClient.query(knex)
    .findByIds(waiting.map(({ clientId }) => clientId))
    .where({ issuer: name, status: "active" })
    .whereNull("deletedAt");
  const names = new Map(clients.map((client) => [client.id, client.name]));
  return waiting.flatMap(({ id, clientId }) => {
    const clientName = names.get(clientId);
    return clientName === undefined ? [] : [{ clientName, href: `${path}/approve/${id}` }];
  });
}
