import type { Middleware } from "koa";
import { errors } from "../errors.ts";
import { issuerFor } from "./host.ts";
import { isMachineEndpoint } from "./machines.ts";

/** Where identity providers make browsers post to; each answer is held against what this browser was sent away with. */
const ANSWERS = /^\/federation\/[\w-]+\/(callback|acs|slo)$/;
const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Refuses what another site's page makes a browser send (CSRF): a request that changes something must come from our
 * own pages, by Sec-Fetch-Site or else by Origin. What has neither header is not a browser's cross-site request and
 * is left to the cookie checks, which SameSite and the interaction's own path make hold.
 */
export function sameOrigin(): Middleware {
  return (ctx, next) => {
    if (SAFE.has(ctx.method) || isMachineEndpoint(ctx.path)) return next();
    if (ANSWERS.test(ctx.path)) return next();
    const site = ctx.get("sec-fetch-site");
    const source = ctx.get("origin");
    const issuer = issuerFor(ctx);
    if (issuer === undefined) throw errors.misdirected();
    const { origin } = new URL(issuer.url);
    // Where a browser says both, the first decides: an extension or a proxy that strips referrers makes the origin of
    // our own forms `null` (Fetch, "append a request Origin header").
    const isOurs =
      site === "" ? source === "" || source === origin : site === "same-origin" || site === "none";
    if (!isOurs) throw errors.crossSite();
    return next();
  };
}
