import type { Context, Middleware } from "koa";
import { errors } from "../errors.ts";

/**
 * Answers for the issuer's host only, and takes every absolute address from the issuer: neither Host nor any
 * X-Forwarded header can put another server's name into a page, a mail or a discovery document. Probes ask by
 * address, so `/healthz` and `/readyz` answer anybody.
 */
export function issuerHost(options: { issuer: string }): Middleware {
  const { host, hostname, origin, port, protocol } = new URL(options.issuer);
  // The port that a scheme has anyway may be said or left out (RFC 9110 §4.2.3).
  const names = new Set([host]);
  if (port === "") names.add(`${hostname}:${protocol === "https:" ? 443 : 80}`);
  return (ctx, next) => {
    const { headers, rawHeaders } = ctx.req;
    const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && /^host$/i.test(name));
    if (hosts.length > 1) throw errors.badRequest("The request names more than one host.");
    if (!names.has(headers.host?.toLowerCase() ?? "")) throw errors.misdirected();
    takePath(ctx, origin);
    delete headers["forwarded"];
    headers["x-forwarded-host"] = host;
    headers["x-forwarded-proto"] = protocol.slice(0, -1);
    return next();
  };
}

/**
 * A request may name a whole address instead of a path, and then that address counts (RFC 9112 §3.2.2); Koa would
 * make every absolute address from it.
 */
function takePath(ctx: Context, origin: string): void {
  if (ctx.url.startsWith("/")) return;
  const target = URL.parse(ctx.url);
  if (target === null) throw errors.badRequest("The request names no address.");
  if (target.origin !== origin) throw errors.misdirected();
  const path = `${target.pathname}${target.search}`;
  ctx.req.url = path;
  ctx.originalUrl = path;
  ctx.request.originalUrl = path;
}
