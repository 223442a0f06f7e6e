import type { Knex } from "knex";
import type { KoaContextWithOIDC, Provider } from "oidc-provider";
import { record, recordAtEnd } from "../audit/record.ts";
import { internalId } from "../consents/consents.ts";
import type { Decision } from "./adapter/decoupled-adapter.ts";
import { defer, writer } from "../database/transaction.ts";
import { currentBrowser } from "../http/browser.ts";
import type { Logger } from "../lib/log.ts";
import { sha256 } from "../lib/secret.ts";
import type { Mailer } from "../mail/mailer.ts";
import { OAuthInteraction } from "../models/oauth-interaction.ts";

export interface EventNeeds {
  knex: Knex;
  log: Logger;
  mailer: Mailer;
}

export interface Observer {
  /** Has an engine's requests looked at. */
  observe(provider: Provider): void;
  /** Writes down what a request came to. */
  recordOutcome(ctx: KoaContextWithOIDC): Promise<void>;
}

/** The routes whose outcome is read here; what others change is recorded where it is changed. */
const AUDITED = new Set(["token", "revocation", "end_session_confirm"]);

/**
 * Writes down what the engine did, in the unit of work of the request that did it. The engine's own events come at
 * the wrong moment for that, or cannot be awaited, so most of this reads what the request left behind.
 */
export function createObserver(needs: EventNeeds): Observer {
  const recordOutcome = (ctx: KoaContextWithOIDC) => recordOutcomeOf(needs, ctx);
  const observe = (provider: Provider): void => {
    provider.on("server_error", (ctx, error) => {
      needs.log.error(
        { err: error, route: ctx.oidc?.route, correlationId: ctx.state["correlationId"] },
        "the engine failed",
      );
    });
    provider.use(async (ctx: KoaContextWithOIDC, next) => {
      await next();
      if (ctx.state["decided"] !== undefined) await recordDecision(needs, ctx);
      if (AUDITED.has(ctx.oidc?.route ?? "") && ctx.status < 500) await recordOutcome(ctx);
    });
  };
  return { observe, recordOutcome };
}

/** A person said yes or no to a device (RFC 8628 §3.3); what the adapter wrote, it left in the request. */
async function recordDecision({ knex }: EventNeeds, ctx: KoaContextWithOIDC): Promise<void> {
  const { id, status, clientId, grantId } = ctx.state["decided"] as Decision;
  const client = await ctx.oidc.provider.Client.find(clientId);
  const userId = ctx.oidc.session?.accountId;
  const about = {
    requestId: ctx.state["correlationId"] as string | undefined,
    ipPrefix: ctx.state["ipPrefix"] as string | undefined,
    clientId: client === undefined ? undefined : internalId(client),
    actor: { type: userId === undefined ? "anonymous" : "user", id: userId },
    userId,
    target: { type: "decoupled_authorization", id },
  } as const;
  const db = await writer(knex);
  if (status === "approved")
    await record(db, {
      ...about,
      type: "device.approved",
      details: { grantId: grantId ?? undefined },
    });
  else await record(db, { ...about, type: "device.denied" });
}

async function recordOutcomeOf(needs: EventNeeds, ctx: KoaContextWithOIDC): Promise<void> {
  const { oidc } = ctx;
  const client = oidc.client;
  const about = {
    requestId: ctx.state["correlationId"] as string | undefined,
    ipPrefix: ctx.state["ipPrefix"] as string | undefined,
    clientId: client === undefined ? undefined : internalId(client),
    actor: { type: "client", id: client === undefined ? undefined : internalId(client) },
  } as const;

  if (oidc.route === "token" && ctx.status === 400) {
    // At this endpoint nothing but a code or a refresh token that was used before revokes a grant.
    const revoked = ctx.state["revokedGrant"] as { id: string; userId: string } | undefined;
    if (revoked !== undefined) {
      const db = await writer(needs.knex);
      const { id: grantId, userId } = revoked;
      const isRefresh = oidc.params?.["grant_type"] === "refresh_token";
      const type = isRefresh ? "token.refresh_reused" : "token.code_reused";
      await record(db, { ...about, type, userId, details: { grantId: grantId ?? undefined } });
      if (isRefresh) {
        const clientName = client?.clientName ?? client?.clientId ?? "";
        await needs.mailer.tokenReused(db, { userId, clientName, now: new Date() });
      }
    }
  }

  if (oidc.route === "revocation" && ctx.status === 200) {
    await record(await writer(needs.knex), { ...about, type: "token.revoked" });
  }

  if (oidc.route === "end_session_confirm" && ctx.status === 303 && oidc.session !== undefined) {
    const hasEnded = "destroyed" in oidc.session && oidc.session.destroyed === true;
    const { accountId: userId, uid: sessionUid } = oidc.session;
    if (!hasEnded || userId === undefined) return;
    const browser = currentBrowser();
    if (browser !== undefined) {
      // Somebody else who signs in ends the session of whoever was there, and then goes on.
      const goesOn = /\/(?:auth|device)\/([\w-]+)$/.exec(ctx.response.get("location"))?.[1] ?? "";
      const finishing = OAuthInteraction.finishingOfBrowser(browser, sha256(goesOn), new Date());
      await defer(needs.knex, finishing);
    }
    await recordAtEnd(needs.knex, {
      ...about,
      type: client === undefined ? "logout.user" : "logout.rp",
      actor: { type: "user", id: userId },
      userId,
      sessionUid,
    });
  }
}
