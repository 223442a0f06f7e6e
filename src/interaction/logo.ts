import { Router } from "@koa/router";
import type { Knex } from "knex";
import { findLogo } from "../clients/logos.ts";
import { errors } from "../errors.ts";
import type { Issuer } from "../issuers.ts";

/** What the pictures of clients are made from. */
export interface LogoNeeds {
  knex: Knex;
  fetch: typeof fetch;
  issuer: Pick<Issuer, "name">;
}

/** The logos of clients, from our own origin. Opened by itself, one is a picture and can be nothing else. */
export function logoRoutes({ knex, fetch, issuer }: LogoNeeds): Router {
  const router = new Router();
  router.get("/client-logo/:id", async (ctx) => {
    const client = { issuer: issuer.name, clientId: ctx.params["id"] ?? "" };
    const logo = await findLogo({ knex, fetch }, client, new Date());
    if (logo === undefined) throw errors.notFound();
    ctx.set("Cache-Control", "private, max-age=3600");
    ctx.set("Content-Security-Policy", "default-src 'none'; sandbox");
    ctx.type = logo.mediaType;
    ctx.body = logo.bytes;
  });
  return router;
}
