import { decodeJwt } from "jose";
import { errors, interactionPolicy, type Account, type KoaContextWithOIDC } from "oidc-provider";
import { levelNamed, levelsAskedFor, type Level, type LevelNames } from "../authn/levels.ts";
import { isAlwaysAsked } from "../consents/consents.ts";
import type { Issuer } from "../issuers.ts";
import { User } from "../models/user.ts";
import {
  isInStrictName,
  isUnverified,
  missingClaims,
  requiredClaims,
} from "../users/requirements.ts";
import { levelTaken } from "../resources/access.ts";
import type { ResourceCache } from "../resources/cache.ts";
import { belongsToOrganization, decidedOnOrganization } from "./organizations.ts";

const { Check, Prompt, base } = interactionPolicy;

/** What a request may want of whoever signs in, by the engine's checks, and how it fails where that cannot be had. */
const DEMANDS = {
  id_token_hint: errors.LoginRequired,
  claims_id_token_sub_value: errors.LoginRequired,
  essential_acrs: errors.UnmetAuthenticationRequirements,
  essential_acr: errors.UnmetAuthenticationRequirements,
} as const;

export interface PolicyNeeds {
  readonly issuer: Pick<Issuer, "name" | "levels" | "requiresVerifiedEmail">;
  readonly resources: ResourceCache;
}

/**
 * When the engine stops an authorization request to ask the person something. To the engine's own rules we add
 * five and narrow five; after the choice of an account the order (sign in, then consent) is the engine's.
 */
export function policy(needs: PolicyNeeds): ReturnType<typeof base> {
  const { issuer } = needs;
  const { levels } = issuer;
  const prompts = base();
  prompts.add(new Prompt({ name: "select_account", requestable: true }), 0);
  prompts.add(new Prompt({ name: "create", requestable: true }), 0);

  const login = prompts.get("login");
  login?.checks.add(
    new Check(
      "account_unavailable",
      "the signed-in user is disabled or gone, or every session of theirs was ended",
      "login_required",
      ({ oidc }: KoaContextWithOIDC) =>
        oidc.session?.accountId !== undefined &&
        (oidc.account === undefined || isEnded(oidc.session.loginTs, oidc.account)),
    ),
  );
  login?.checks.add(
    new Check(
      "acr_values",
      "the client would like a better proven sign-in",
      "login_required",
      ({ oidc }: KoaContextWithOIDC) => wantsMore(oidc, levels),
    ),
  );

  login?.checks.add(
    new Check(
      "required_level",
      "the client, the organization, or a permission that it asks for, takes a better proven sign-in",
      "login_required",
      async ({ oidc }: KoaContextWithOIDC) =>
        oidc.session?.accountId !== undefined &&
        levelNamed(oidc.session.acr) < (await levelRequired(oidc, needs)),
    ),
  );
  login?.checks.add(
    new Check(
      "email_unverified",
      "the end-user's e-mail address is not verified",
      "interaction_required",
      ({ oidc }: KoaContextWithOIDC) => {
        const user = userOf(oidc.account);
        return (
          user !== undefined && oidc.client !== undefined && isUnverified(user, oidc.client, issuer)
        );
      },
    ),
  );
  login?.checks.add(
    new Check(
      "claims_missing",
      "the end-user has not said what the client requires",
      "interaction_required",
      ({ oidc }: KoaContextWithOIDC) =>
        oidc.client !== undefined &&
        missingClaims(userOf(oidc.account), requiredClaims(oidc.client)).required.length > 0,
    ),
  );

  login?.checks.add(belongsToOrganization());
  for (const [reason, Failure] of Object.entries(DEMANDS)) askOnce(prompts, reason, Failure);

  const consent = prompts.get("consent");
  consent?.checks.add(decidedOnOrganization());
  consent?.checks.remove("native_client_prompt");
  consent?.checks.add(
    new Check(
      "native_client_prompt",
      "native clients require End-User interaction",
      "interaction_required",
      ({ oidc }: KoaContextWithOIDC) =>
        oidc.client !== undefined &&
        oidc.result?.consent === undefined &&
        isAlwaysAsked(oidc.client, new Set(), redirectUri(oidc.params)),
    ),
  );
  return prompts;
}

/** What it takes: two factors where the client or the organization requires them, and what a permission takes. */
async function levelRequired(
  { client, account, params = {} }: KoaContextWithOIDC["oidc"],
  { resources, issuer }: PolicyNeeds,
): Promise<Level> {
  const indicators = [params["resource"] ?? []].flat().map(String);
  const apis = await Promise.all(indicators.map((name) => resources.find(issuer.name, name)));
  const taken = levelTaken(
    params,
    apis.filter((api) => api !== undefined),
  );
  const takesTwo =
    client?.["require_second_factor"] === true || isInStrictName(userOf(account), params);
  return taken === 1 && takesTwo ? 2 : taken;
}

/**
 * Whether the client would like a level that the session does not reach. It is a wish: where nobody can be asked, or
 * was asked just now, the sign-in is as good as it is (OIDC Core §3.1.2.1, RFC 9470 §5).
 */
function wantsMore(oidc: KoaContextWithOIDC["oidc"], levels: LevelNames): boolean {
  const { session, params, result, prompts } = oidc;
  if (session?.accountId === undefined || result?.login !== undefined || prompts.has("none"))
    return false;
  const asked = levelsAskedFor(params ?? {}).flatMap((name) => levels.get(name) ?? []);
  return asked.length > 0 && asked.every((level) => level > levelNamed(session.acr));
}

/**
 * Whoever has just signed in and still is not who, or as well proven as, the client demands is not asked for ever: the
 * client learns of it (OIDC Core §3.1.2.2, §5.5.1.1).
 */
function askOnce(
  prompts: ReturnType<typeof base>,
  reason: string,
  Failure: new (description: string) => Error,
): void {
  const rule = prompts.get("login")?.checks.get(reason);
  if (rule === undefined) throw new TypeError(`the engine has no check ${reason}`);
  const { check, description } = rule;
  rule.check = async (ctx) => {
    rememberHint(ctx);
    const isUnmet = await check(ctx);
    if (isUnmet && ctx.oidc.result?.login !== undefined) throw new Failure(description);
    return isUnmet;
  };
}

/** The engine reads the hint when a request comes, checks it, and forgets it while the person signs in. */
function rememberHint({ oidc }: KoaContextWithOIDC): void {
  const hint = oidc.params?.["id_token_hint"];
  if (typeof hint !== "string" || oidc.entities.IdTokenHint !== undefined) return;
  oidc.entity("IdTokenHint", { header: {}, payload: decodeJwt(hint) });
}

/** Whether a sign-in is older than the moment at which all of a user's were ended; `loginTs` has no fraction. */
function isEnded(loginTs: number | undefined, account: Account): boolean {
  const { sessionsValidAfter } = account;
  return (
    sessionsValidAfter instanceof Date &&
    ((loginTs ?? 0) + 1) * 1000 <= sessionsValidAfter.getTime()
  );
}

function userOf(account: Account | undefined): User | undefined {
  return account?.["user"] instanceof User ? account["user"] : undefined;
}

function redirectUri(params: Record<string, unknown> | undefined): string | undefined {
  const value = params?.["redirect_uri"];
  return typeof value === "string" ? value : undefined;
}
