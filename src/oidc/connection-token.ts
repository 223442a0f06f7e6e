import { errors, type Client } from "oidc-provider";
import type { Context } from "koa";
import { record } from "../audit/record.ts";
import { internalId } from "../consents/consents.ts";
import { reader, writer } from "../database/transaction.ts";
import { accessTo, type AccessNeeds } from "../federation/access.ts";
import { UpstreamError, type UpstreamTokens } from "../federation/connector.ts";
import type { Issuer } from "../issuers.ts";
import { Identity } from "../models/identity.ts";
import { IdentityProvider } from "../models/identity-provider.ts";

const { InvalidRequest, InvalidTarget, TemporarilyUnavailable } = errors;

export interface ConnectionTokenNeeds extends AccessNeeds {
  readonly issuer: Issuer;
}

/** Parameters that say what of ours the new token is to be; it is not ours. */
const OURS = ["actor_token", "audience", "resource", "scope"] as const;

/**
 * Exchanges a person's token for the one that lets a client use the APIs of a connection's provider for them (RFC 8693
 * §2.1: the parameter `connection` names the target service). For clients that the connection lists; who is not one,
 * asks for one that there is not, or for somebody who is not connected, hears the same.
 *
 * @throws InvalidTarget, InvalidRequest, TemporarilyUnavailable
 */
export async function tokenOfConnection(
  needs: ConnectionTokenNeeds,
  ctx: Pick<Context, "state">,
  client: Client,
  { accountId: userId, params }: { accountId: string; params: { connection?: string } },
): Promise<Record<string, unknown>> {
  const extra = OURS.find((name) => (params as Record<string, unknown>)[name] !== undefined);
  if (extra !== undefined)
    throw new InvalidRequest(`${extra} says nothing of a connection's token; leave it out`);
  const found = await find(needs, client, { userId, slug: params.connection ?? "" });
  const tokens = found && (await tokensOf(needs, found));
  if (found === undefined || tokens === undefined)
    throw new InvalidTarget("there is no token of this connection for this client and person");
  await record(await writer(needs.knex), {
    type: "identity.token_issued",
    actor: { type: "client", id: internalId(client) },
    clientId: internalId(client),
    userId,
    target: { type: "identity", id: found.identity.id },
    requestId: ctx.state["correlationId"] as string | undefined,
    ipPrefix: ctx.state["ipPrefix"] as string | undefined,
    details: { connection: found.provider.slug, scopes: tokens.scopes },
  });
  return answerOf(tokens);
}

/** The connection, where it is for this client, and who the person is there: as whom they signed in last. */
async function find(
  { knex, issuer }: ConnectionTokenNeeds,
  client: Client,
  { userId, slug }: { userId: string; slug: string },
): Promise<{ provider: IdentityProvider; identity: Identity } | undefined> {
  const wanted = { slug, atIssuer: issuer.name, enabled: true, keepAccess: true };
  const provider = await IdentityProvider.query(reader(knex)).findOne(wanted);
  if (provider?.exchangeClientIds.includes(client.clientId) !== true) return undefined;
  const identity = await Identity.query(reader(knex))
    .where({ userId, providerId: provider.id })
    .orderByRaw("last_login_at DESC NULLS LAST, id")
    .first();
  return identity && { provider, identity };
}

async function tokensOf(
  needs: ConnectionTokenNeeds,
  { provider, identity }: { provider: IdentityProvider; identity: Identity },
): Promise<UpstreamTokens | undefined> {
  try {
    return await accessTo(needs, provider, identity.id);
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    throw new TemporarilyUnavailable("the connection's provider gives no new token now");
  }
}

/** RFC 8693 §2.2.1. The refresh token stays here. */
function answerOf({ accessToken, scopes, expiresAt }: UpstreamTokens): Record<string, unknown> {
  return {
    access_token: accessToken,
    issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
    token_type: "Bearer",
    ...(expiresAt === undefined
      ? {}
      : { expires_in: Math.max(0, Math.floor(expiresAt - Date.now() / 1000)) }),
    scope: scopes.join(" "),
  };
}
