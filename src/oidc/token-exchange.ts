import type { Knex } from "knex";
import {
  errors,
  type Client,
  type JWKS,
  type Provider,
  type ResourceServer,
  type TokenEndpointGrantContext,
} from "oidc-provider";
import {
  buildTokenResponse,
  checkDpopReplay,
  checkDpopRequired,
  checkMtlsCert,
  findAccount,
  validateClientScope,
  validateDpop,
} from "oidc-provider/lib/helpers/grants.js";
import { record } from "../audit/record.ts";
import { internalId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { OAuthGrant } from "../models/oauth-grant.ts";
import { wordsOf } from "../users/claims.ts";
import { fromEpoch } from "./adapter/payload.ts";
import { tokenOfConnection, type ConnectionTokenNeeds } from "./connection-token.ts";
import { organizationAsOfNow } from "./organizations.ts";
import { tokenReader, type PresentedToken } from "./presented-token.ts";
import { resourceServer, type ResourceNeeds } from "./resource-indicators.ts";

const GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
/** How many may act for each other; every call of a chain carries all of them. */
const LONGEST_CHAIN = 5;

const { InvalidRequest, InvalidScope, InvalidTarget } = errors;

export interface ExchangeNeeds extends ResourceNeeds, ConnectionTokenNeeds {
  readonly knex: Knex;
  /** A user as a client knows them. */
  readonly subjectOf: (accountId: string, client: Client) => string;
}

/** The parameters of RFC 8693 §2.1, and one of ours. */
interface Parameters {
  /** The connection whose provider the new token is for. */
  connection?: string;
  subject_token?: string;
  subject_token_type?: string;
  actor_token?: string;
  actor_token_type?: string;
  requested_token_type?: string;
  audience?: string | string[];
  resource?: string | string[];
  scope?: string;
}
type Context = TokenEndpointGrantContext<Parameters>;

/** What the new token may be, before it is made. */
interface Exchange {
  readonly subject: PresentedToken & { accountId: string; grantId: string };
  readonly server: ResourceServer | undefined;
  readonly scopes: readonly string[];
  readonly act: Actor | undefined;
}

/** Who acts for a person, and for whom that one acts (RFC 8693 §4.1). */
interface Actor {
  readonly sub: string;
  readonly act?: Actor;
}

/**
 * Token exchange (RFC 8693): a client that was given a person's access token gets one of its own, which says who acts
 * for whom, is good for no more and no longer than the first, and ends with it.
 */
export function registerTokenExchange(provider: Provider, jwks: JWKS, needs: ExchangeNeeds): void {
  if (!needs.issuer.preset.extensionGrants.includes(GRANT_TYPE)) return;
  const read = tokenReader(provider, jwks, needs.issuer.preset);
  provider.registerGrantType<Parameters>(
    GRANT_TYPE,
    async (ctx) => {
      const { client, params } = ctx.oidc;
      checkTypes(params);
      const dPoP = await validateDpop(provider, ctx);
      const cert = checkMtlsCert(provider, ctx);
      checkDpopRequired(provider, ctx, dPoP);
      await checkDpopReplay(provider, ctx, dPoP, client.clientId);

      const shown = async (name: "subject_token" | "actor_token") => {
        const token = await read(params[name] ?? "");
        if (token === undefined) throw new InvalidRequest(`${name} is not valid`);
        // Whoever has a bound token without its key has stolen it.
        if (token.x5t !== undefined || (token.jkt !== undefined && token.jkt !== dPoP?.thumbprint))
          throw new InvalidRequest(`${name} is bound to a key that was not proven`);
        return token;
      };
      const subject = await subjectFor(needs, client, await shown("subject_token"));
      if ((await findAccount(provider, ctx, subject.accountId, subject)) === undefined)
        throw new InvalidRequest("subject_token is not valid");
      if (params.connection !== undefined) {
        const { accountId } = subject;
        ctx.body = await tokenOfConnection(needs, ctx, client, { accountId, params });
        return;
      }
      const actor = params.actor_token === undefined ? undefined : await shown("actor_token");
      const act = actorOf(needs, client, subject, actor);
      const server = await targetOf(needs, client, subject, params);
      const scopes = scopesOf(provider, ctx, subject, server);
      await answer(provider, ctx, needs, { subject, server, scopes, act }, { dPoP, cert });
    },
    [
      "subject_token",
      "subject_token_type",
      "actor_token",
      "actor_token_type",
      "requested_token_type",
      "audience",
      "resource",
      "scope",
      "connection",
    ],
    ["audience", "resource"],
  );
}

/** RFC 8693 §2.1: which types there are, and that a token never comes without its own. */
function checkTypes(params: Parameters): void {
  if (params.subject_token === undefined) throw new InvalidRequest("subject_token is missing");
  if (params.subject_token_type !== ACCESS_TOKEN)
    throw new InvalidRequest(`subject_token_type must be ${ACCESS_TOKEN}`);
  if ((params.actor_token === undefined) !== (params.actor_token_type === undefined))
    throw new InvalidRequest("actor_token and actor_token_type come together");
  if (params.actor_token_type !== undefined && params.actor_token_type !== ACCESS_TOKEN)
    throw new InvalidRequest(`actor_token_type must be ${ACCESS_TOKEN}`);
  if (params.requested_token_type !== undefined && params.requested_token_type !== ACCESS_TOKEN)
    throw new InvalidRequest(`requested_token_type must be ${ACCESS_TOKEN}`);
}

/** A client may exchange what was issued to it, and what it was sent as the API that the token is for. */
async function subjectFor(
  { resources, issuer }: ResourceNeeds,
  client: Client,
  token: PresentedToken,
): Promise<Exchange["subject"]> {
  const { accountId, grantId, audience } = token;
  if (accountId === undefined || grantId === undefined)
    throw new InvalidRequest("subject_token must stand for a person");
  if (token.clientId !== client.clientId) {
    const api = audience === undefined ? undefined : await resources.find(issuer.name, audience);
    if (api?.ownClientId !== internalId(client))
      throw new InvalidRequest("subject_token was not issued to this client, nor sent to it");
  }
  return { ...token, accountId, grantId };
}

/** The chain of those who act, the one who does now first (RFC 8693 §4.1). It never gets shorter. */
function actorOf(
  { subjectOf }: ExchangeNeeds,
  client: Client,
  subject: PresentedToken,
  actor: PresentedToken | undefined,
): Actor | undefined {
  const before = subject.claims["act"] as Actor | undefined;
  if (actor === undefined) {
    if (client["token_exchange_impersonation"] === true) return before;
    throw new InvalidRequest("actor_token is missing, and this client may not impersonate");
  }
  if (actor.clientId !== client.clientId)
    throw new InvalidRequest("actor_token was not issued to this client");
  const sub = actor.accountId === undefined ? client.clientId : subjectOf(actor.accountId, client);
  const act = before === undefined ? { sub } : { sub, act: before };
  if (lengthOf(act) > LONGEST_CHAIN) throw new InvalidRequest("too many act for each other");
  return act;
}

function lengthOf({ act }: Actor): number {
  return 1 + (act === undefined ? 0 : lengthOf(act));
}

/** The one API that the new token is for: the subject token's, named or not (RFC 8693 §2.1, §2.2.2). */
async function targetOf(
  needs: ResourceNeeds,
  client: Client,
  { audience, clientId }: PresentedToken,
  params: Parameters,
): Promise<ResourceServer | undefined> {
  const asked = [params.audience ?? [], params.resource ?? []].flat();
  if (asked.some((target) => target !== audience))
    throw new InvalidTarget("subject_token is not for this audience");
  if (audience === undefined) return undefined;
  // The person let the first client in; any other needs the operator to.
  const presence = clientId === client.clientId ? "person" : "nobody";
  return resourceServer(needs, audience, client, presence);
}

/** What the subject token allows, this client may have and asks for; never more (RFC 8693 §5). */
function scopesOf(
  provider: Provider,
  ctx: Context,
  subject: PresentedToken,
  server: ResourceServer | undefined,
): string[] {
  // Nothing outlives the subject token.
  const held = subject.scopes.filter((scope) => scope !== "offline_access");
  const permitted = server === undefined ? held : wordsOf(server.scope);
  const asked = ctx.oidc.params.scope === undefined ? held : wordsOf(ctx.oidc.params.scope);
  const beyond = asked.filter((scope) => !held.includes(scope));
  if (beyond.length > 0)
    throw new InvalidScope("subject_token does not have the requested scope", beyond.join(" "));
  const scopes = asked.filter((scope) => permitted.includes(scope));
  if (scopes.length === 0)
    throw new InvalidScope("nothing of the requested scope is allowed", asked.join(" "));
  validateClientScope(provider, ctx, scopes);
  return scopes;
}

async function answer(
  provider: Provider,
  ctx: Context,
  needs: ExchangeNeeds,
  { subject, server, scopes, act }: Exchange,
  bound: {
    dPoP: Awaited<ReturnType<typeof validateDpop>>;
    cert: ReturnType<typeof checkMtlsCert>;
  },
): Promise<void> {
  const { client } = ctx.oidc;
  const left = subject.expiresAt - Math.floor(Date.now() / 1000);
  const expiresIn = Math.min(left, server?.accessTokenTTL ?? left);
  const scope = scopes.join(" ");
  const { audience } = subject;

  const grantId = await deriveGrant(provider, ctx, needs, { subject, audience, scope, expiresIn });
  const token = new provider.AccessToken({
    client,
    accountId: subject.accountId,
    grantId,
    gty: GRANT_TYPE,
    scope,
    expiresIn,
    extra: {
      ...subject.claims,
      ...(await organizationAsOfNow(needs.knex, subject.accountId, subject.claims)),
      ...(act === undefined ? {} : { act }),
    },
    ...(audience === undefined || server === undefined
      ? {}
      : { resourceServer: new provider.ResourceServer(audience, server) }),
  });
  if (bound.dPoP !== undefined) token.setThumbprint("jkt", bound.dPoP.thumbprint);
  if (bound.cert !== undefined) token.setThumbprint("x5t", bound.cert);

  ctx.oidc.entity("AccessToken", token);
  ctx.body = buildTokenResponse(provider, {
    accessToken: await token.save(),
    issuedTokenType: ACCESS_TOKEN,
    tokenType: token.tokenType,
    expiresIn,
    scope,
  });
  await record(await writer(needs.knex), {
    type: "token.exchanged",
    actor: { type: "client", id: internalId(client) },
    clientId: internalId(client),
    userId: subject.accountId,
    requestId: ctx.state["correlationId"] as string | undefined,
    ipPrefix: ctx.state["ipPrefix"] as string | undefined,
    details: { audience, scope, impersonation: act === undefined },
  });
}

/** A grant of this client's own, which ends with the subject token's. */
async function deriveGrant(
  provider: Provider,
  ctx: Context,
  { knex }: ExchangeNeeds,
  from: Pick<Exchange, "subject"> & {
    audience: string | undefined;
    scope: string;
    expiresIn: number;
  },
): Promise<string> {
  const { subject, audience, scope, expiresIn } = from;
  const grant = new provider.Grant({
    accountId: subject.accountId,
    clientId: ctx.oidc.client.clientId,
  });
  const id = uuidv7();
  Object.assign(grant, { jti: id, expiresIn });
  if (audience === undefined) grant.addOIDCScope(scope);
  else grant.addResourceScope(audience, scope);
  await grant.save();
  const parent = { id, parentId: subject.grantId, issuedAt: fromEpoch(subject.issuedAt) };
  if (!(await OAuthGrant.derive(await writer(knex), parent))) {
    await grant.destroy();
    throw new InvalidRequest("subject_token is not valid");
  }
  return id;
}
