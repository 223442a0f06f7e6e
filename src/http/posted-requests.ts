import type { Context, Middleware } from "koa";
import { errors } from "../errors.ts";
import { readParameters } from "./body.ts";
import { issuerFor } from "./host.ts";

/** Where clients send people's browsers, by GET or by POST (OIDC Core §3.1.2.1, RP-Initiated Logout §2). */
const ENTRANCES = /^\/(auth|session\/end)$/;
const LONGEST_QUERY = 7_500;

/**
 * A form of a client's page that a browser posts to us comes without our cookies, because they are SameSite=Lax, and
 * should. The browser is told to ask again by GET, which changes nothing by itself, and then brings them.
 */
export function postedRequests(): Middleware {
  return (ctx, next) =>
    ctx.method === "POST" && ENTRANCES.test(ctx.path) ? askAgain(ctx) : next();
}

async function askAgain(ctx: Context): Promise<void> {
  const query = (await readParameters(ctx)).toString();
  if (query.length > LONGEST_QUERY)
    throw errors.badRequest("This request is too long for a browser. Push it (RFC 9126).");
  ctx.status = 303;
  ctx.redirect(`${issuerFor(ctx)?.path ?? ""}${ctx.path}?${query}`);
}
