import type { Context } from "koa";
import { errors } from "../errors.ts";
import type { Page } from "../http/page.ts";
import type { Issuer } from "../issuers.ts";
import type { Logger } from "../lib/log.ts";
import { newSecret } from "../lib/secret.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { Identity } from "../models/identity.ts";
import { Session } from "../models/session.ts";
import type { ConnectionCache } from "./cache.ts";
import { UpstreamError, type Answer } from "./connector.ts";
import type { Connectors } from "./connectors.ts";
import { openUpstream } from "./sessions.ts";
import { sendOn } from "./send-on.ts";
import { answered, keepErrand, type StateNeeds } from "./states.ts";

/** Characters of an address that can be kept until somebody comes back. */
const LONGEST_RETURN = 2048;

export interface SignOutNeeds extends StateNeeds {
  readonly page: Page;
  readonly log: Logger;
  readonly issuer: Issuer;
  readonly connections: ConnectionCache;
  readonly connectors: Connectors;
}

/**
 * Sends a browser to be signed out at the identity provider that its session began with, where the connection wants
 * that; from there it comes back and goes on to `returnTo`. A provider that fails keeps nobody from signing out.
 */
export async function signOutElsewhere(
  needs: SignOutNeeds,
  ctx: Context,
  { uid, returnTo }: { uid: string; returnTo: string },
): Promise<void> {
  const { knex, seal, log, connections, connectors, issuer, page } = needs;
  const providers = await connections.connections(issuer.name);
  if (providers.length === 0) return;
  const session = await Session.query(knex).findById(uid);
  if (session?.identityId == null) return;
  const identity = await Identity.query(knex).findById(session.identityId);
  const upstream = openUpstream(seal, session);
  const provider = providers.find(({ id }) => id === identity?.providerId);
  if (provider === undefined || upstream === undefined) return;
  if (returnTo.length > LONGEST_RETURN)
    return log.warn({ connection: provider.slug }, "no sign-out at the provider: long address");
  const state = newSecret("fs");
  try {
    const connector = await connectors.of(provider);
    const to = await connector.signOut?.(upstream, state);
    if (to === undefined) return;
    await keepErrand(needs, ctx, { state, provider, purpose: "logout", returnTo, secrets: {} });
    await sendOn(page, ctx, provider.name, to);
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    log.warn({ connection: provider.slug, rule: error.rule }, "no sign-out at the provider");
  }
}

/**
 * Sends a browser that was signed out elsewhere on to where it was going. Our own session has ended before, so what the
 * provider says of its own is noted, and changes nothing.
 */
export async function comeBack(
  needs: SignOutNeeds,
  ctx: Context,
  provider: IdentityProvider,
  answer: Omit<Answer, "secrets">,
): Promise<void> {
  const state = answer.parameters["state"] ?? answer.parameters["RelayState"] ?? "";
  const asked = { state, providerId: provider.id, purposes: ["logout"] } as const;
  const found = await answered(needs, ctx, asked);
  if (found === undefined) throw errors.notFound();
  try {
    const connector = await needs.connectors.of(provider);
    const said = await connector.readLogoutResponse?.(answer);
    if (said?.isComplete === false)
      needs.log.info({ connection: provider.slug }, "not everybody there has signed out");
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    needs.log.warn({ connection: provider.slug, rule: error.rule }, "no answer to a sign-out");
  }
  ctx.status = 303;
  ctx.redirect(found.errand.returnTo);
}
