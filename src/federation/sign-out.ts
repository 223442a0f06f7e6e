import type { Context } from "koa";
import type { Knex } from "knex";
import { errors } from "../errors.ts";
import type { Page } from "../http/page.ts";
import type { Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import type { Logger } from "../lib/log.ts";
import { newSecret } from "../lib/secret.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { Identity } from "../models/identity.ts";
import { Session } from "../models/session.ts";
import type { ConnectionCache } from "./cache.ts";
import { UpstreamError, type Leaving } from "./connector.ts";
import type { Connectors } from "./connectors.ts";
import { openUpstream } from "./sessions.ts";
import { answered, keepErrand, type StateNeeds } from "./states.ts";

export interface SignOutNeeds extends StateNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly log: Logger;
  readonly issuer: Pick<Issuer, "name">;
  readonly connections: ConnectionCache;
  readonly connectors: Connectors;
}

/**
 * Where a browser goes to be signed out at the identity provider that its session began with, where the connection
 * wants that; from there it comes back and goes on to `returnTo`. A provider that fails keeps nobody from signing out.
 */
export async function signOutUpstream(
  needs: SignOutNeeds,
  ctx: Context,
  { uid, returnTo }: { uid: string; returnTo: string },
): Promise<{ provider: IdentityProvider; to: Leaving["to"] } | undefined> {
  const { knex, seal, log, connections, connectors, issuer } = needs;
  const session = await Session.query(knex).findById(uid);
  if (session?.identityId == null) return undefined;
  const identity = await Identity.query(knex).findById(session.identityId);
  const upstream = openUpstream(seal, session);
  const provider = (await connections.connections(issuer.name)).find(
    ({ id }) => id === identity?.providerId,
  );
  if (provider === undefined || upstream === undefined) return undefined;
  const state = newSecret("fs");
  try {
    const to = await connectors.of(provider).signOut?.(upstream, state);
    if (to === undefined) return undefined;
    await keepErrand(needs, ctx, { state, provider, purpose: "logout", returnTo, secrets: {} });
    return { provider, to };
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    log.warn({ connection: provider.slug, rule: error.rule }, "no sign-out at the provider");
    return undefined;
  }
}

/** Sends a browser that was signed out elsewhere on to where it was going. What it brings is not needed for that. */
export async function comeBack(
  needs: StateNeeds & { readonly page: Page },
  ctx: Context,
  provider: IdentityProvider,
): Promise<void> {
  const parameters = new URLSearchParams(ctx.querystring);
  const state = parameters.get("state") ?? parameters.get("RelayState") ?? "";
  const found = await answered(needs, ctx, { state, providerId: provider.id });
  if (found?.errand.purpose !== "logout") throw errors.notFound();
  ctx.status = 303;
  ctx.redirect(found.errand.returnTo);
}
