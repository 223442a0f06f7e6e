import { AsyncLocalStorage } from "node:async_hooks";
import type { Middleware } from "koa";
import { newSecret, sha256 } from "../lib/secret.ts";
import { issuerFor } from "./host.ts";

const LIFETIME = 90 * 24 * 60 * 60 * 1000;
/** Where something begins that only this browser may go on with. */
const BEGINNINGS =
  /^\/(auth|device|approve\/[\w-]+|invite\/[\w-]+|federation\/[\w-]+\/login|account(\/.*)?)\/?$/i;

const browsers = new AsyncLocalStorage<Buffer>();

/**
 * Knows a browser again by a cookie that only this host can set (`__Host-`, RFC 6265bis §4.1.3.2), so that a sign-in
 * which somebody began elsewhere cannot be planted in it: cookies of an interaction are bound to a path, and a
 * sibling's subdomain could write those.
 */
export function browserBinding(): Middleware {
  return (ctx, next) => {
    const secure = issuerFor(ctx)?.url.startsWith("https:") === true;
    const name = secure ? "__Host-lintel_browser" : "lintel_browser";
    let value = ctx.cookies.get(name, { signed: false });
    if (value === undefined && BEGINNINGS.test(ctx.path)) {
      value = newSecret("b");
      ctx.cookies.set(name, value, {
        httpOnly: true,
        sameSite: "lax",
        secure,
        signed: false,
        maxAge: LIFETIME,
      });
    }
    return value === undefined ? next() : browsers.run(sha256(value), next);
  };
}

/** The hash of the cookie of the browser that asks now, where it has one. */
export function currentBrowser(): Buffer | undefined {
  return browsers.getStore();
}
