import { createHmac, randomBytes } from "node:crypto";
import type { Context } from "koa";
import { Provider, type KoaContextWithOIDC } from "oidc-provider";
import type { Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { sha256 } from "../lib/secret.ts";
import type { Afterwards } from "./afterwards.ts";

type SetOption = NonNullable<Parameters<Context["cookies"]["set"]>[2]>;

/**
 * The cookie with the state of the browser, which the script of the frame reads (OIDC Session Management §3.2). It
 * says only whether something changed; whoever reads it learns nothing that is of use anywhere else.
 */
export function stateCookie({ name, url }: Issuer): { name: string; options: SetOption } {
  const secure = url.startsWith("https:");
  return {
    name: `${secure ? "__Host-" : ""}lintel_state${name === "" ? "" : `_${name}`}`,
    // In another site's frame it is there with SameSite=None only, which browsers take over https only.
    options: { httpOnly: false, sameSite: secure ? "none" : "lax", secure, signed: false },
  };
}

/**
 * The engine with a `session_state` in every authentication response, errors included (§2), whatever mode it is sent
 * by. The state of the browser is set with it: another session or another person is another state, and nobody is none.
 */
export function withSessionState({
  seal,
  issuer,
}: {
  seal: Seal;
  issuer: Issuer;
}): typeof Provider {
  const key = seal.derive("session-state");
  return class extends Provider {
    override registerResponseMode(
      name: string,
      handler: Parameters<Provider["registerResponseMode"]>[1],
    ): void {
      super.registerResponseMode(name, (ctx, redirectUri, payload) => {
        const state = browserState(key, ctx);
        remember(ctx, issuer, state);
        const sessionState = sessionStateOf(ctx.oidc.client?.clientId ?? "", redirectUri, state);
        return handler.call(this, ctx, redirectUri, { ...payload, session_state: sessionState });
      });
    }
  };
}

/** Signing out leaves no state, and so tells every client that asks. */
export function forgetBrowserState(answered: Afterwards, issuer: Issuer): void {
  answered.at(["end_session_confirm"], (ctx) => {
    const { session } = ctx.oidc;
    if (session === undefined) return;
    if ("destroyed" in session && session.destroyed === true) remember(ctx, issuer, "");
  });
}

function browserState(key: Buffer, { oidc: { session } }: KoaContextWithOIDC): string {
  if (session?.accountId === undefined) return "";
  return createHmac("sha256", key)
    .update(`${session.uid}\0${session.accountId}`)
    .digest("base64url");
}

function remember(ctx: KoaContextWithOIDC, issuer: Issuer, state: string): void {
  const { name, options } = stateCookie(issuer);
  const lasts = ctx.oidc.session?.transient !== true;
  ctx.cookies.set(name, state === "" ? null : state, {
    ...options,
    ...(state !== "" && lasts ? { maxAge: issuer.sessionLimits.kept.idle * 1000 } : {}),
  });
}

/** What the client keeps, and compares through the frame: a hash that its own origin is in (§3.2). */
function sessionStateOf(clientId: string, redirectUri: string, state: string): string {
  const salt = randomBytes(12).toString("base64url");
  const { origin } = new URL(redirectUri);
  return `${sha256(`${clientId} ${origin} ${state} ${salt}`).toString("base64url")}.${salt}`;
}
