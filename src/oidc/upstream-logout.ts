import type { Context } from "koa";
import type { Afterwards } from "./afterwards.ts";

/** Sends a browser on to where it is signed out of the session elsewhere that one of ours began with, if anywhere. */
export type SignOutElsewhere = (
  ctx: Context,
  /** `returnTo` is where the engine was about to send the browser. */
  ended: { readonly uid: string; readonly returnTo: string },
) => Promise<void>;

/** Who signs out here is signed out at the identity provider as well, where its connection wants that (SAML Core §3.7). */
export function signOutElsewhereToo(answered: Afterwards, signOut: SignOutElsewhere): void {
  answered.at(["end_session_confirm"], async (ctx) => {
    const { session } = ctx.oidc;
    if (ctx.status !== 303) return;
    if (session === undefined || !("destroyed" in session) || session.destroyed !== true) return;
    await signOut(ctx, { uid: session.uid, returnTo: ctx.response.get("location") });
  });
}
