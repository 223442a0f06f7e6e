import type { Context, Middleware } from "koa";
import type { Knex } from "knex";
import type { Provider } from "oidc-provider";
import { factorsOf, isAlwaysAskedFor } from "../authn/factors.ts";
import { speakTo } from "../http/locale.ts";
import type { Issuer } from "../issuers.ts";
import { Session } from "../models/session.ts";
import type { User } from "../models/user.ts";
import { findUserWithClaims } from "../users/claims.ts";
import { policyFor } from "../users/requirements.ts";

/** Seconds for which somebody who has shown who they are may change what is theirs (T-78). */
const FRESH = 300;

/** Why somebody is asked to sign in: nobody has, whoever has must show it once more, or it should be somebody else. */
type Occasion = "no_session" | "confirm" | "another";

/** Who looks at their own pages. */
export interface Visitor {
  readonly user: User;
  readonly session: Session;
}

export interface AccountGuard {
  /** Lets somebody pass who is signed in; everybody else signs in first and comes back. */
  readonly signedIn: Middleware;
  /** Lets somebody pass who showed within the last five minutes, by everything they have, who they are. */
  readonly confirmed: Middleware;
}

export interface GuardNeeds {
  readonly knex: Knex;
  readonly engine: { readonly provider: Provider };
  readonly issuer: Pick<Issuer, "path" | "relyingParty" | "secondFactor">;
  readonly ownSignIns: {
    begin(ctx: Context, back: { to: string; occasion: Occasion }): Promise<string>;
  };
}

export function accountGuard(needs: GuardNeeds): AccountGuard {
  const { ownSignIns } = needs;
  const ask = async (ctx: Context, occasion: Occasion) => {
    ctx.status = 303;
    ctx.redirect(await ownSignIns.begin(ctx, { to: pageOf(ctx), occasion }));
  };
  return {
    async signedIn(ctx, next) {
      const found = await visitorOf(needs, ctx);
      if (found === undefined) return ask(ctx, "no_session");
      letIn(ctx, found);
      return next();
    },
    async confirmed(ctx, next) {
      const found = await visitorOf(needs, ctx);
      if (found === undefined) return ask(ctx, "no_session");
      if (!(await isConfirmed(needs, found))) return ask(ctx, "confirm");
      letIn(ctx, found);
      return next();
    },
  };
}

function letIn(ctx: Context, found: Visitor): void {
  ctx.state["visitor"] = found;
  speakTo(ctx, found.user);
}

/** Whom the guard let pass. */
export function visitor(ctx: Context): Visitor {
  return ctx.state["visitor"] as Visitor;
}

async function visitorOf({ knex, engine }: GuardNeeds, ctx: Context): Promise<Visitor | undefined> {
  const { accountId, uid } = await engine.provider.Session.get(ctx);
  if (accountId === undefined) return undefined;
  const user = await findUserWithClaims(knex, accountId);
  const session = await Session.query(knex).findById(uid).whereNull("endedAt");
  if (user?.isActive !== true || session?.loggedInAt == null) return undefined;
  const endedBefore = user.sessionsValidAfter?.getTime() ?? 0;
  return session.loggedInAt.getTime() + 1000 > endedBefore ? { user, session } : undefined;
}

/** Whoever has just signed in with all they have need not do so again. */
async function isConfirmed(
  { knex, issuer }: GuardNeeds,
  { user, session }: Visitor,
): Promise<boolean> {
  const isFresh = (at: Date | null) => at !== null && Date.now() - at.getTime() <= FRESH * 1000;
  if (isFresh(session.confirmedAt)) return true;
  if (!isFresh(session.loggedInAt)) return false;
  // An identity provider may have let somebody through who has shown nothing for hours.
  if (session.loginMethod?.startsWith("federated") === true) return false;
  if (session.amr?.includes("mfa") === true) return true;
  const factors = await factorsOf(knex, user.id, issuer.relyingParty?.id);
  return !isAlwaysAskedFor(factors, user, policyFor(issuer.secondFactor, user));
}

/** Where the person comes back to. What was posted is not kept: they see the page again, `/account/passkeys` of `/account/passkeys/x`. */
function pageOf({ method, path, search }: Context): string {
  return method === "GET" ? `${path}${search}` : path.split("/").slice(0, 3).join("/");
}
