import { decodeJwt, type JWTPayload } from "jose";
import type { Knex } from "knex";
import { errors, type Client, type Provider, type TokenEndpointGrantContext } from "oidc-provider";
import {
  buildTokenResponse,
  checkDpopReplay,
  checkDpopRequired,
  checkMtlsCert,
  resolveRequestedResources,
  validateClientScope,
  validateDpop,
} from "oidc-provider/lib/helpers/grants.js";
import { record } from "../audit/record.ts";
import { internalId } from "../consents/consents.ts";
import { reader, writer } from "../database/transaction.ts";
import type { Issuer } from "../issuers.ts";
import { sha256 } from "../lib/secret.ts";
import { ReplayGuard } from "../models/replay-guard.ts";
import type { Workload } from "../models/workload.ts";
import { verifyAssertion, type WorkloadKeys } from "../workloads/assertion.ts";
import { JWT_BEARER, workloadsOf } from "../workloads/workloads.ts";
import { fromEpoch } from "./adapter/payload.ts";

const { InvalidGrant, InvalidRequest, InvalidTarget } = errors;
/** Seconds for which an assertion is remembered beyond its end, because clocks differ. */
const SKEW = 60;

interface JwtBearerNeeds {
  readonly knex: Knex;
  readonly issuer: Issuer;
  readonly workloadKeys: WorkloadKeys;
}

type Context = TokenEndpointGrantContext<{ assertion?: string; scope?: string }>;

/** An assertion that was found good, and for which workload. */
interface Admission {
  readonly workload: Workload;
  readonly claims: JWTPayload & { exp: number };
}

/**
 * The JWT bearer grant (RFC 7523 §2.1) for workloads: a token of a CI system or a cluster stands for the client that
 * an operator said it is, so that nothing there has to keep a secret of ours. `client_id` says which client that is.
 */
export function registerJwtBearer(provider: Provider, needs: JwtBearerNeeds): void {
  if (!needs.issuer.preset.extensionGrants.includes(JWT_BEARER)) return;
  provider.registerGrantType<{ assertion?: string; scope?: string }>(
    JWT_BEARER,
    async (ctx) => {
      const { client, params } = ctx.oidc;
      if (params.assertion === undefined) throw new InvalidRequest("assertion is missing");
      const dPoP = await validateDpop(provider, ctx);
      const cert = checkMtlsCert(provider, ctx);
      checkDpopRequired(provider, ctx, dPoP);
      const admission = await admit(provider, needs, client, params.assertion);
      const token = await tokenFor(provider, ctx);
      if (cert !== undefined) token.setThumbprint("x5t", cert);
      await checkDpopReplay(provider, ctx, dPoP, client.clientId);
      if (dPoP !== undefined) token.setThumbprint("jkt", dPoP.thumbprint);
      // Last of all, so that a request that is refused for anything else can be repeated.
      await spend(needs, ctx, params.assertion, admission);
      ctx.oidc.entity("ClientCredentials", token);
      ctx.body = buildTokenResponse(provider, {
        accessToken: await token.save(),
        expiresIn: token.expiration,
        scope: token.scope,
        tokenType: token.tokenType,
      });
    },
    ["assertion", "scope", "resource"],
    ["resource"],
  );
}

/** @throws the engine's InvalidGrant (RFC 7523 §3.1), which does not tell what exactly is wrong. */
async function admit(
  provider: Provider,
  { knex, workloadKeys }: JwtBearerNeeds,
  client: Client,
  assertion: string,
): Promise<Admission> {
  const checks = { keys: workloadKeys, audience: provider.issuer };
  for (const workload of await workloadsOf(reader(knex), internalId(client), issuerOf(assertion))) {
    const claims = await verifyAssertion(assertion, workload, checks).catch(() => undefined);
    if (claims !== undefined) return { workload, claims };
  }
  throw new InvalidGrant("the assertion is not one of a workload of this client");
}

/** Who an assertion says made it; nobody has checked that yet. */
function issuerOf(assertion: string): string {
  try {
    return decodeJwt(assertion).iss?.replaceAll("\0", "") ?? "";
  } catch {
    throw new InvalidGrant("the assertion is not a JWT");
  }
}

/** The same token that the client would get for a secret (RFC 6749 §4.4). */
async function tokenFor(provider: Provider, ctx: Context) {
  const servers = await resolveRequestedResources(provider, ctx);
  if (servers.length > 1) throw new InvalidTarget("only a single resource is supported");
  const [server] = servers;
  const asked = [...validateClientScope(provider, ctx)];
  const scopes = server === undefined ? asked : asked.filter((scope) => server.scopes.has(scope));
  const token = new provider.ClientCredentials({
    client: ctx.oidc.client,
    scope: scopes.join(" ") || undefined,
  });
  if (server !== undefined) token.resourceServer = server;
  return token;
}

/** An assertion is good once (RFC 7523 §3), by its `jti` or, where it has none, as a whole. */
async function spend(
  { knex }: JwtBearerNeeds,
  ctx: Context,
  assertion: string,
  { workload, claims }: Admission,
): Promise<void> {
  const db = await writer(knex);
  const key = sha256(`${JWT_BEARER}\0${claims.iss ?? ""}\0${claims.jti ?? assertion}`);
  if (!(await ReplayGuard.claim(db, key, fromEpoch(claims.exp + SKEW), new Date())))
    throw new InvalidGrant("the assertion was used before");
  await record(db, {
    type: "workload.admitted",
    actor: { type: "client", id: workload.clientId },
    clientId: workload.clientId,
    target: { type: "workload", id: workload.id },
    requestId: ctx.state["correlationId"] as string | undefined,
    ipPrefix: ctx.state["ipPrefix"] as string | undefined,
  });
}
