import type { Context, Middleware } from "koa";
import type { Knex } from "knex";

interface Needs {
  readonly knex: Knex;
  readonly engines: readonly { readonly hasKeys: boolean }[];
}

/**
 * `/healthz` says that the process answers; `/readyz` that it can do its work: the database is there, and so are
 * signing keys. Probes name the host as they like.
 */
export function health(needs: Needs): Middleware {
  return (ctx, next) => {
    if (ctx.path === "/readyz") return sayReady(ctx, needs);
    if (ctx.path !== "/healthz") return next();
    ctx.set("Cache-Control", "no-store");
    ctx.body = { status: "ok" };
    return undefined;
  };
}

async function sayReady(ctx: Context, { knex, engines }: Needs): Promise<void> {
  const checks = {
    database: await answers(knex),
    keys: engines.every(({ hasKeys }) => hasKeys),
  };
  const isReady = Object.values(checks).every(Boolean);
  ctx.status = isReady ? 200 : 503;
  ctx.set("Cache-Control", "no-store");
  ctx.body = { status: isReady ? "ok" : "unavailable", checks };
}

async function answers(knex: Knex): Promise<boolean> {
  try {
    await knex.raw("SELECT 1");
    return true;
  } catch {
    return false;
  }
}
