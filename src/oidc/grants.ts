import type { Knex } from "knex";
import type { Client, Grant, KoaContextWithOIDC, Provider } from "oidc-provider";
import { findConsent, isFirstParty, undecidedScopes } from "../consents/consents.ts";
import { reader, writer } from "../database/transaction.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { Session } from "../models/session.ts";

/*
 * Consent is a person's lasting decision about a client; a grant is what one sign-in may do. Signing out anywhere
 * ends grants, never consent, so each session gets a grant of its own, made here from the decision on file.
 */

/** A grant for one sign-in: the scopes that were allowed, and those that were asked for and refused. */
async function createGrant(
  provider: Provider,
  userId: string,
  client: Client,
  scopes: readonly string[],
  rejectedScopes: readonly string[],
): Promise<Grant> {
  const grant = new provider.Grant({ accountId: userId, clientId: client.clientId });
  grant.jti = uuidv7();
  extendGrant(grant, scopes, rejectedScopes);
  await grant.save();
  return grant;
}

function extendGrant(
  grant: Grant,
  scopes: readonly string[],
  rejectedScopes: readonly string[],
): void {
  if (scopes.length > 0) grant.addOIDCScope(scopes.join(" "));
  if (rejectedScopes.length > 0) grant.rejectOIDCScope(rejectedScopes.join(" "));
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
    const requested = [...ctx.oidc.requestParamOIDCScopes];
    const hasAnswered = result?.consent !== undefined;
    const sessionGrantId = hasAnswered ? undefined : session?.grantIdFor(client.clientId);
    let grant =
      sessionGrantId === undefined ? undefined : await provider.Grant.find(sessionGrantId);
    if (grant !== undefined && covers(grant, requested)) return grant;

    const decision = await decisionOnFile(knex, account.accountId, client, requested);
    if (decision === undefined) return grant;
    if (!hasAnswered) grant = (await latestGrant(knex, ctx, account.accountId)) ?? grant;
    if (grant === undefined) {
      return createGrant(provider, account.accountId, client, decision.scopes, decision.rejected);
    }
    extendGrant(grant, decision.scopes, decision.rejected);
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

function covers(grant: Grant, requested: readonly string[]): boolean {
  const encountered = new Set(grant.getOIDCScopeEncountered().split(" "));
  return requested.every((scope) => encountered.has(scope));
}

async function decisionOnFile(
  knex: Knex,
  userId: string,
  client: Client,
  requested: readonly string[],
): Promise<{ scopes: string[]; rejected: string[] } | undefined> {
  if (isFirstParty(client)) return { scopes: [...requested], rejected: [] };
  const consent = await findConsent(reader(knex), userId, client);
  if (consent === undefined || undecidedScopes(requested, client, consent).length > 0)
    return undefined;
  return {
    scopes: requested.filter((scope) => consent.scopes.includes(scope)),
    rejected: requested.filter((scope) => consent.rejectedScopes.includes(scope)),
  };
}
