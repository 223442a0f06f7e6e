import type { Knex } from "knex";
import { errors, type AccessToken, type ClientCredentials, type Client } from "oidc-provider";
import type { Configuration, KoaContextWithOIDC, ResourceServer } from "oidc-provider";
import { internalId } from "../consents/consents.ts";
import type { Issuer } from "../issuers.ts";
import { permissionsFor, type Presence } from "../resources/access.ts";
import type { ResourceCache } from "../resources/cache.ts";
import { wordsOf } from "../users/claims.ts";
import { JWT_BEARER } from "../workloads/workloads.ts";
import { organizationInToken } from "./organizations.ts";

/** What decides about APIs. */
export interface ResourceNeeds {
  readonly resources: ResourceCache;
  readonly issuer: Issuer;
}

/** Grants in which a client asks for itself, so that nobody is there to allow it anything. */
const UNATTENDED: ReadonlySet<unknown> = new Set(["client_credentials", JWT_BEARER]);

type ResourceIndicators = NonNullable<NonNullable<Configuration["features"]>["resourceIndicators"]>;

/**
 * Tokens for APIs (RFC 8707). Without `resource` in a token request the answer is what the request asked for at
 * first: the token for userinfo where that had `openid`, otherwise the token for the one API it named. Where a person
 * would be asked about nothing the request is refused, because a token would then come without their consent.
 */
export function resourceIndicators(
  needs: ResourceNeeds,
  types: ReadonlyMap<string, unknown>,
): ResourceIndicators {
  const { url } = needs.issuer;
  return {
    enabled: true,
    getResourceServerInfo: async (ctx, indicator, client) => {
      if (types.size > 0 && indicator === url)
        return { scope: "", audience: url, accessTokenFormat: "opaque" };
      const params = ctx.oidc.params ?? {};
      const presence = UNATTENDED.has(params["grant_type"]) ? "nobody" : "person";
      const server = await resourceServer(needs, indicator, client, presence);
      const asked = wordsOf(params["scope"]);
      if (ctx.oidc.route !== "token" && !asked.some((word) => wordsOf(server.scope).includes(word)))
        throw new errors.InvalidScope("scope has no permission of the resource", indicator);
      return server;
    },
    // None is anybody's default; of several the client has to choose (RFC 8707 §2.2). Authorization details only go
    // into tokens for a resource: where none is named, it is this server, which can be asked about them.
    defaultResource: (ctx, _client, oneOf) =>
      oneOf ?? (ctx.oidc.params?.["authorization_details"] === undefined ? undefined : url),
    useGrantedResource: () => false,
  };
}

/**
 * What tokens for an API are like, and what of it this client may ask for.
 *
 * @throws the engine's InvalidTarget where the API is unknown or not for this client, without saying which.
 */
export async function resourceServer(
  { resources, issuer }: ResourceNeeds,
  indicator: string,
  client: Client,
  presence: Presence,
): Promise<ResourceServer> {
  const api = await resources.find(issuer.name, indicator);
  const permissions = api && permissionsFor(api, internalId(client), presence);
  if (api === undefined || permissions === undefined)
    throw new errors.InvalidTarget("resource is unknown, or this client may not ask for it");
  const { algorithms } = issuer.preset;
  const alg = algorithms.find((algorithm) => algorithm === api.signingAlg) ?? algorithms[0];
  return {
    audience: indicator,
    scope: permissions.join(" "),
    accessTokenFormat: api.tokenFormat,
    accessTokenTTL: api.tokenLifetime,
    jwt: { sign: { alg } },
  };
}

/** What an access token for an API says beside whose it is; those for userinfo have no use for it. */
export async function tokenClaims(
  knex: Knex,
  ctx: KoaContextWithOIDC,
  token: AccessToken | ClientCredentials,
): Promise<Record<string, unknown> | undefined> {
  const claims = signInClaims(ctx, token);
  return claims && { ...claims, ...(await organizationInToken(knex, ctx, token)) };
}

/**
 * How and when the person signed in (RFC 9068 §2.2.1, RFC 9470 §6), for APIs that ask for a better or more recent
 * sign-in.
 */
function signInClaims(
  ctx: KoaContextWithOIDC,
  token: AccessToken | ClientCredentials,
): Record<string, unknown> | undefined {
  if (token.aud === undefined || token.kind !== "AccessToken") return undefined;
  const { acr, entities, session } = ctx.oidc;
  const source =
    entities.AuthorizationCode ??
    entities.RefreshToken ??
    entities.DeviceCode ??
    entities.BackchannelAuthenticationRequest;
  if (source !== undefined)
    return withoutUndefined({ auth_time: source.authTime, acr: source.acr, amr: source.amr });
  return withoutUndefined({ auth_time: session?.authTime(), acr, amr: session?.amr });
}

/** Nobody stores a JWT: it names its grant, so that it can be seen to be revoked when it comes back to be exchanged. */
export function nameGrant(
  _ctx: KoaContextWithOIDC,
  token: AccessToken | ClientCredentials,
  { payload }: { payload: Record<string, unknown> },
): void {
  if (token.kind === "AccessToken") payload["grant_id"] = token.grantId;
}

function withoutUndefined(claims: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
}

/**
 * Who may ask about a token (RFC 7662 §2.1): the client it was issued to, and the API that it is for, as the client
 * that its operator named. Whoever names a public client proves nothing and learns nothing, because it may be
 * guessing tokens.
 */
export function mayIntrospect({ resources, issuer }: ResourceNeeds) {
  return async (
    _ctx: KoaContextWithOIDC,
    client: Client,
    token: { clientId?: string | undefined; aud?: string | readonly string[] | undefined },
  ): Promise<boolean> => {
    if (client.clientAuthMethod === "none") return false;
    if (token.clientId === client.clientId) return true;
    if (typeof token.aud !== "string") return false;
    const api = await resources.find(issuer.name, token.aud);
    return api?.ownClientId === internalId(client);
  };
}
