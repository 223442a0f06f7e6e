import type { Context } from "koa";
import { newSecret, sha256 } from "../lib/secret.ts";
import { issuerFor } from "./host.ts";

const OURS = /^dv_[\w-]{43}$/;

/** The hash of the cookie by which people are known to have signed in with this browser, where it has one. */
export function deviceOf(ctx: Context): Buffer | undefined {
  const value = cookieOf(ctx);
  return value === undefined ? undefined : sha256(value);
}

/**
 * Lets this browser be known again, by a random cookie that only this host can set (`__Host-`, RFC 6265bis §4.1.3.2),
 * the same for everybody who shares it; who has signed in with it is noted elsewhere.
 *
 * @param lifetime in milliseconds, from now on.
 * @returns the cookie's hash.
 */
export function keepDevice(ctx: Context, lifetime: number): Buffer {
  const name = nameOf(ctx);
  const value = cookieOf(ctx) ?? newSecret("dv");
  ctx.cookies.set(name, value, {
    httpOnly: true,
    sameSite: "lax",
    secure: name.startsWith("__Host-"),
    signed: false,
    maxAge: lifetime,
  });
  return sha256(value);
}

/** One that we did not make is none: whoever made it might know it. */
function cookieOf(ctx: Context): string | undefined {
  const value = ctx.cookies.get(nameOf(ctx), { signed: false });
  return value !== undefined && OURS.test(value) ? value : undefined;
}

function nameOf(ctx: Context): string {
  const secure = issuerFor(ctx)?.url.startsWith("https:") === true;
  return secure ? "__Host-lintel_device" : "lintel_device";
}
