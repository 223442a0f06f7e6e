import type { Middleware } from "koa";
import type { Knex } from "knex";

/**
 * `/healthz` says that the process answers; `/readyz` that it can do its work: the database is there, and so are
 * signing keys. Probes name the host as they like.
 */
export function health(needs: {
  knex: Knex;
  engines: readonly { readonly hasKeys: boolean }[];
}): Middleware {
  return async (ctx, next) => {
    if (ctx.path === "/healthz") {
      ctx.set("Cache-Control", "no-store");
      ctx.body = { status: "ok" };
      return;
    }
    if (ctx.path !== "/readyz") return next();
    const checks = {
      database: await answers(needs.knex),
      keys: needs.engines.every(({ hasKeys }) => hasKeys),
    };
    const isReady = Object.values(checks).every(Boolean);
    ctx.status = isReady ? 200 : 503;
    ctx.set("Cache-Control", "no-store");
    ctx.body = { status: isReady ? "ok" : "unavailable", checks };
  };
}

async function answers(knex: Knex): Promise<boolean> {
  try {
    await knex.raw("SELECT 1");
    return true;
  } catch {
    return false;
  }
}
