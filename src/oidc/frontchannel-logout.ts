import type { Client, KoaContextWithOIDC, Provider } from "oidc-provider";
import type { Views } from "../views.ts";
import type { Afterwards } from "./afterwards.ts";
import { endedBeside } from "./sign-out-everybody.ts";

export type ShowFrames = (ctx: KoaContextWithOIDC, view: Views["signing-out"]) => Promise<void>;

/**
 * OIDC Front-Channel Logout, which the engine does not have: when a session ends, a page shows a page of every client
 * that wants to know in a frame, and then goes on to where the engine was about to send the browser.
 */
export function showLogoutFrames(provider: Provider, answered: Afterwards, show: ShowFrames): void {
  includeSidInIdTokens(provider);
  answered.at(["end_session_confirm"], async (ctx) => {
    const { session } = ctx.oidc;
    if (ctx.status !== 303) return;
    if (session === undefined || !("destroyed" in session) || session.destroyed !== true) return;
    const bySrc = new Map<string, Views["signing-out"]["frames"][number]>();
    for (const ended of [session.authorizations ?? {}, ...endedBeside(ctx)])
      for (const frame of await framesOf(provider, ended)) bySrc.set(frame.src, frame);
    const frames = [...bySrc.values()];
    if (frames.length === 0) return;
    const continueHref = ctx.response.get("location");
    ctx.remove("Location");
    const origins = new Set(frames.map(({ src }) => new URL(src).origin));
    const policy = ctx.response.get("content-security-policy");
    ctx.set("Content-Security-Policy", `${policy}; frame-src ${[...origins].join(" ")}`);
    await show(ctx, { frames, continueHref });
  });
}

/** A client that is told which session ended must have learnt its `sid` before (§3). */
function includeSidInIdTokens(provider: Provider): void {
  const prototype = provider.Client.prototype as unknown as { includeSid: () => unknown };
  const { includeSid } = prototype;
  prototype.includeSid = function includesSid(this: Client) {
    return this["frontchannel_logout_session_required"] === true || includeSid.call(this);
  };
}

async function framesOf(
  provider: Provider,
  authorizations: Readonly<Record<string, { sid?: string | undefined }>>,
): Promise<Views["signing-out"]["frames"]> {
  const frames = [];
  for (const [clientId, { sid }] of Object.entries(authorizations)) {
    // One that is gone meanwhile, or broken, keeps nobody from signing out.
    const client = await provider.Client.find(clientId).catch(() => undefined);
    const uri: unknown = client?.["frontchannel_logout_uri"];
    if (client === undefined || typeof uri !== "string") continue;
    const wantsSid = client["frontchannel_logout_session_required"] === true && sid !== undefined;
    const about = wantsSid ? new URLSearchParams({ iss: provider.issuer, sid }) : undefined;
    frames.push({ name: client.clientName ?? clientId, src: withQuery(uri, about) });
  }
  return frames;
}

/** The address as it was registered, whatever query it has, with more behind it (§2). */
function withQuery(uri: string, more: URLSearchParams | undefined): string {
  if (more === undefined) return uri;
  return `${uri}${uri.includes("?") ? "&" : "?"}${more}`;
}
