import type { Knex } from "knex";
import type { Client, Grant, KoaContextWithOIDC, Provider } from "oidc-provider";
import { detailsIn, type AuthorizationDetail } from "../consents/authorization-details.ts";
import { findConsent, internalId, isFirstParty, undecidedScopes } from "../consents/consents.ts";
import { reader, writer } from "../database/transaction.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { OAuthConsent } from "../models/oauth-consent.ts";
import { Session } from "../models/session.ts";
import { takeKnown } from "./adapter/prefetch.ts";
import { permissionsAskedFor, readItem } from "../resources/access.ts";
import { CLAIMS_BY_SCOPE, claimsAskedFor, scopeOf, scopesAskedFor } from "../users/claims.ts";

/*
 * Consent is a person's lasting decision about a client; a grant is what one sign-in may do. Signing out anywhere
 * ends grants, never consent, so each session gets a grant of its own, made here from the decision on file.
 */

/** What a person decided about what one request asks for. */
interface Decision {
  /** Scopes of OpenID Connect and permissions of APIs, as items of consent. */
  readonly scopes: readonly string[];
  /** Asked for and refused. */
  readonly rejected: readonly string[];
  /** Asked for one by one; each goes with its scope. */
  readonly claims: readonly string[];
  /** What else the person has just allowed (RFC 9396); no decision on file stands for it. */
  readonly details: readonly AuthorizationDetail[];
}

/** A grant for one sign-in. */
export async function createGrant(
  provider: Provider,
  userId: string,
  client: Client,
  decision: Decision,
): Promise<Grant> {
  const grant = new provider.Grant({ accountId: userId, clientId: client.clientId });
  grant.jti = uuidv7();
  extendGrant(grant, decision);
  await grant.save();
  return grant;
}

function extendGrant(grant: Grant, { scopes, rejected, claims, details }: Decision): void {
  for (const detail of details) grant.addRar(detail);
  for (const { resource, name } of scopes.map(readItem)) {
    if (resource === undefined) grant.addOIDCScope(name);
    else grant.addResourceScope(resource, name);
  }
  for (const { resource, name } of rejected.map(readItem)) {
    if (resource === undefined) grant.rejectOIDCScope(name);
    else grant.rejectResourceScope(resource, name);
  }
  const isAllowed = (claim: string) => scopes.includes(scopeOf(claim) ?? "openid");
  const [allowed, refused] = [claims.filter(isAllowed), claims.filter((each) => !isAllowed(each))];
  if (allowed.length > 0) grant.addOIDCClaims(allowed);
  if (refused.length > 0) grant.rejectOIDCClaims(refused);
}

/**
 * The engine's hook: the grant of this authorization request. It is the one this session has for the client, or a
 * new one made from the consent on file; without either the engine asks. When the person has just answered, what
 * the session had before no longer counts.
 */
export function loadExistingGrant(
  knex: Knex,
): (ctx: KoaContextWithOIDC) => Promise<Grant | undefined> {
  return async (ctx) => {
    const { provider, client, session, result, account } = ctx.oidc;
    if (client === undefined || account === undefined) return undefined;
    const params = ctx.oidc.params ?? {};
    const apis = Object.values(ctx.oidc.resourceServers ?? {}).map((api) => ({
      indicator: api.identifier(),
      permissions: api.scopes,
    }));
    const requested = [...scopesAskedFor(params), ...permissionsAskedFor(params, apis)];
    const claims = claimsAskedFor(params);
    const hasAnswered = result?.consent !== undefined;
    const sessionGrantId = hasAnswered ? undefined : session?.grantIdFor(client.clientId);
    let grant =
      sessionGrantId === undefined ? undefined : await provider.Grant.find(sessionGrantId);
    if (grant !== undefined && covers(grant, requested, claims)) return grant;

    const decided = await decisionOnFile(knex, account.accountId, client, {
      requested,
      hasAnswered,
    });
    if (decided === undefined) return grant;
    const decision = { ...decided, claims, details: hasAnswered ? detailsIn(params) : [] };
    if (!hasAnswered) grant = (await latestGrant(knex, ctx, account.accountId)) ?? grant;
    if (grant === undefined) {
      return createGrant(provider, account.accountId, client, decision);
    }
    extendGrant(grant, decision);
    await grant.save();
    return grant;
  };
}

/**
 * The grant that another tab of this browser may have made or extended a moment ago. Without it, the tab whose
 * session is saved last would leave the code of the other without the grant it names.
 */
async function latestGrant(
  knex: Knex,
  { oidc: { provider, client, session } }: KoaContextWithOIDC,
  userId: string,
): Promise<Grant | undefined> {
  // No other tab has a session that is only now being made.
  if (client === undefined || session === undefined || "new" in session) return undefined;
  const { uid } = session;
  const { clientId } = client;
  const latest = await Session.lockAuthorization(await writer(knex), { uid, userId, clientId });
  if (latest?.grantId === undefined) return undefined;
  session.authorizations = { ...session.authorizations, [clientId]: latest };
  return provider.Grant.find(latest.grantId);
}

function covers(grant: Grant, scopes: readonly string[], claims: readonly string[]): boolean {
  const knownClaims = new Set(grant.getOIDCClaimsEncountered());
  const isKnown = (item: string) => {
    const { resource, name } = readItem(item);
    const known =
      resource === undefined
        ? grant.getOIDCScopeEncountered()
        : grant.getResourceScopeEncountered(resource);
    return known.split(" ").includes(name);
  };
  return scopes.every(isKnown) && claims.every((each) => knownClaims.has(each));
}

/** Whether the engine knows a scope as one of OpenID Connect's; what it does not know, it ignores. */
export function isOidcScope(scope: string): boolean {
  return scope === "offline_access" || Object.hasOwn(CLAIMS_BY_SCOPE, scope);
}

async function decisionOnFile(
  knex: Knex,
  userId: string,
  client: Client,
  { requested, hasAnswered }: { requested: readonly string[]; hasAnswered: boolean },
): Promise<Omit<Decision, "claims" | "details"> | undefined> {
  // Nobody is asked for the operator's own, but whoever was has answered.
  if (isFirstParty(client) && !hasAnswered) return { scopes: [...requested], rejected: [] };
  const known = takeKnown("Consent", `${userId} ${internalId(client)}`);
  const consent = known
    ? OAuthConsent.fromJsonRow(known.payload)
    : await findConsent(reader(knex), userId, client);
  if (consent === undefined || undecidedScopes(requested, client, consent).length > 0)
    return undefined;
  return {
    scopes: requested.filter((scope) => consent.scopes.includes(scope)),
    rejected: requested.filter((scope) => consent.rejectedScopes.includes(scope)),
  };
}
