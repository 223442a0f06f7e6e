import { Router } from "@koa/router";
import type { Knex } from "knex";
import { errors } from "../errors.ts";
import { recordKeyChanges } from "../keys/record-changes.ts";
import { rotate } from "../keys/rotation.ts";
import type { Seal } from "../keys/seal.ts";
import { equalBytes } from "../lib/secret.ts";

/**
 * What a suite does to the server between two requests. Mounted where `CONFORMANCE_SUITE_URL` is set, and for those
 * only who have the token that `lintel conformance seed` prints.
 */
export function conformanceRoutes({ knex, seal }: { knex: Knex; seal: Seal }): Router {
  const router = new Router({ prefix: "/conformance" });
  const expected = Buffer.from(`Bearer ${hookToken(seal)}`);

  router.use((ctx, next) => {
    if (!equalBytes(Buffer.from(ctx.get("authorization")), expected)) throw errors.notFound();
    return next();
  });

  /** Another signing key signs from now on, and the one before stays published (oidcc-server-rotate-keys). */
  router.post("/rotate-keys", async (ctx) => {
    const { activated } = await knex.transaction(async (trx) => {
      const changes = await rotate(trx, seal, new Date(), { lead: 0 });
      await recordKeyChanges(trx, changes);
      return changes;
    });
    ctx.body = { activated };
  });

  return router;
}

/** What lets a suite in at the hooks; the same on every node, and of no use for anything else. */
export function hookToken(seal: Pick<Seal, "derive">): string {
  return seal.derive("conformance").toString("base64url");
}
