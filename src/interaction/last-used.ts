import type { Context } from "koa";
import type { ConnectionView } from "../views.ts";

const NAME = "lintel_last_connection";
const LIFETIME = 180 * 24 * 60 * 60 * 1000;

/** Remembers on this browser through which connection somebody signed in; it says nothing of who. */
export function rememberConnection(ctx: Context, slug: string): void {
  ctx.cookies.set(NAME, slug, {
    httpOnly: true,
    sameSite: "lax",
    secure: ctx.secure,
    signed: true,
    maxAge: LIFETIME,
  });
}

/** The connections of a sign-in page, the one that was used last on this browser first. */
export function lastUsedFirst(ctx: Context, all: readonly ConnectionView[]): ConnectionView[] {
  const last = ctx.cookies.get(NAME, { signed: true });
  const marked = all.map((one) => (one.slug === last ? { ...one, isLastUsed: true } : one));
  return marked.toSorted((a, b) => Number(b.slug === last) - Number(a.slug === last));
}
