import type { Context } from "koa";
import type { KoaContextWithOIDC, Provider } from "oidc-provider";

/** Sends a browser on to where it is signed out of the session elsewhere that one of ours began with, if anywhere. */
export type SignOutElsewhere = (
  ctx: Context,
  /** `returnTo` is where the engine was about to send the browser. */
  ended: { readonly uid: string; readonly returnTo: string },
) => Promise<void>;

/** Who signs out here is signed out at the identity provider as well, where its connection wants that (SAML Core §3.7). */
export function signOutElsewhereToo(provider: Provider, signOut: SignOutElsewhere): void {
  provider.use(async (ctx: KoaContextWithOIDC, next) => {
    await next();
    const { route, session } = ctx.oidc ?? {};
    if (route !== "end_session_confirm" || ctx.status !== 303) return;
    if (session === undefined || !("destroyed" in session) || session.destroyed !== true) return;
    await signOut(ctx, { uid: session.uid, returnTo: ctx.response.get("location") });
  });
}
