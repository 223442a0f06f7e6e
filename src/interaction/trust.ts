import type { Context } from "koa";
import type { Knex } from "knex";
import { record } from "../audit/record.ts";
import { TRUST_DAYS, trustBrowser } from "../authn/trusted-browsers.ts";
import { writer } from "../database/transaction.ts";
import { readAgent } from "../devices/agents.ts";
import { deviceOf } from "../http/device.ts";
import { issuerFor } from "../http/host.ts";
import { originOf } from "../http/origin.ts";
import { sha256 } from "../lib/secret.ts";
import type { Mailer } from "../mail/mailer.ts";

/** What is known of the browser that somebody signs in with. */
export interface SignInBrowser {
  readonly userAgent: string;
  /** The hash of the cookie by which it is known again, if it has one. */
  readonly device: Buffer | undefined;
  /** The cookie by which a person trusts it, if it has one. */
  readonly trustOf: (userId: string) => string | undefined;
}

export function browserOf(ctx: Context): SignInBrowser {
  return {
    userAgent: ctx.get("user-agent"),
    device: deviceOf(ctx),
    trustOf: (userId) => ctx.cookies.get(cookieName(ctx, userId), { signed: false }),
  };
}

/** Remembers that this person is not to be asked for the second step on this browser, and tells them (T-86). */
export async function trustThisBrowser(
  { knex, mailer }: { knex: Knex; mailer: Mailer },
  ctx: Context,
  userId: string,
): Promise<void> {
  const db = await writer(knex);
  const now = new Date();
  const { userAgent, trustOf } = browserOf(ctx);
  const { browser, os } = readAgent(userAgent);
  const name = [browser, os].filter((each) => each !== undefined).join(", ");
  const shown = { userId, token: trustOf(userId), userAgent, name, now };
  ctx.cookies.set(cookieName(ctx, userId), await trustBrowser(db, shown), {
    httpOnly: true,
    sameSite: "lax",
    secure: isSecure(ctx),
    signed: false,
    maxAge: TRUST_DAYS * 24 * 60 * 60 * 1000,
  });
  await record(db, {
    ...originOf(ctx),
    type: "factor.browser_trusted",
    actor: { type: "user", id: userId },
    userId,
  });
  await mailer.factorChanged(db, { userId, change: "browser_trusted", now });
}

/** One for each person, so that several can trust one browser; nobody but this host can set it (RFC 6265bis §4.1.3.2). */
function cookieName(ctx: Context, userId: string): string {
  const name = `lintel_trust_${sha256(userId).toString("hex").slice(0, 8)}`;
  return isSecure(ctx) ? `__Host-${name}` : name;
}

function isSecure(ctx: Context): boolean {
  return issuerFor(ctx)?.url.startsWith("https:") === true;
}
