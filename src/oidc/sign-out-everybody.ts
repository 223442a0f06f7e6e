import type { KoaContextWithOIDC } from "oidc-provider";
import type { SessionAuthorizations } from "../models/session.ts";
import type { Afterwards } from "./afterwards.ts";

/** Who is signed in on a browser beside whoever's session is in use. */
export interface SignedInBeside {
  /** What to call them, for somebody who sits at this browser. */
  names(ctx: KoaContextWithOIDC): Promise<string[]>;
  /** Ends their sign-ins too, as signing out ends one; answers what clients took part in them. */
  signOut(ctx: KoaContextWithOIDC, actorId: string): Promise<SessionAuthorizations[]>;
}

/** What the button says that signs out whoever is signed in on this browser. */
const EVERYBODY = "everybody";

/** Where somebody signed out and wants it so, ends what everybody else has on this browser (RP-Initiated Logout §2). */
export function signOutEverybody(answered: Afterwards, { signOut }: SignedInBeside): void {
  answered.at(["end_session_confirm"], async (ctx) => {
    const { session, params } = ctx.oidc;
    if (ctx.status !== 303) return;
    if (params?.["logout"] !== EVERYBODY || session?.accountId === undefined) return;
    ctx.state["endedBeside"] = await signOut(ctx, session.accountId);
  });
}

/** The sessions of others that the request has ended. */
export function endedBeside(ctx: KoaContextWithOIDC): SessionAuthorizations[] {
  return (ctx.state["endedBeside"] as SessionAuthorizations[] | undefined) ?? [];
}
