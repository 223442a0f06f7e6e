import type { Context } from "koa";
import type { Knex } from "knex";
import type { InteractionResults } from "oidc-provider";
import { recordAtEnd } from "../audit/record.ts";
import { defer, writer } from "../database/transaction.ts";
import { User } from "../models/user.ts";
import { referencesOf } from "../authn/levels.ts";
import { noteTrustUsed } from "../authn/trusted-browsers.ts";
import { recordedId, savingConsent } from "../consents/consents.ts";
import { originOf, type Origin } from "../http/origin.ts";
import { linkIdentity } from "../federation/link.ts";
import { upstreamOf } from "../federation/sessions.ts";
import type { UpstreamSignIn } from "../models/session.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import { arrive, type ArrivalNeeds } from "./arrival.ts";
import { rememberConnection } from "./last-used.ts";
import { reached, type Progress } from "./flow.ts";
import type { Visit } from "./visit.ts";

/**
 * Ends an interaction with what the person showed and decided, and answers where the browser goes: back into the
 * engine, which starts the session and issues the code. The only place that puts `login` into a result.
 */
export async function finish(
  needs: ArrivalNeeds,
  ctx: Context,
  visit: Visit,
  now: Date,
): Promise<string> {
  const { interaction, client, progress, user, requestedDetails } = visit;
  const { knex } = needs;
  const origin = originOf(ctx);
  const result: InteractionResults = {};
  if (visit.demand.chooseAccount) result["select_account"] = {};
  if (visit.demand.create) result["create"] = {};

  const login = loginOf(visit);
  if (login !== undefined) {
    result.login = login;
    const { accountId, acr, amr } = login;
    const about = {
      ...origin,
      actor: { type: "user", id: accountId },
      userId: accountId,
      clientId: recordedId(client),
      details: { method: amr.join(" "), acr },
    } as const;
    // Who was spared the second step has not shown all they have.
    if (visit.demand.trusted) result["spared"] = true;
    result["finishedAt"] = now.getTime();
    if (user !== undefined) result["asOf"] = user.overtakenAt.getTime();
    if (visit.demand.trusted)
      await noteTrustUsed(await writer(knex), {
        userId: accountId,
        token: visit.browser.trustOf(accountId),
        now,
      });
    if (progress.userId !== undefined) {
      const { link } = progress;
      const linked =
        link?.isAccepted === true && link.userId === accountId
          ? await connect(needs, ctx, visit, link, now)
          : undefined;
      if (progress.federated !== undefined) rememberConnection(ctx, progress.federated.connection);
      const signIn = {
        ...(await arrive(needs, ctx, visit, now)),
        upstream: progress.federated?.upstream ?? linked,
      };
      result["signIn"] = signIn;
      await defer(knex, User.notingLogin(accountId, now));
      const { country, riskScore, riskReasons, isNewDevice } = signIn;
      await recordAtEnd(knex, {
        ...about,
        type: "login.succeeded",
        details: { ...about.details, country, riskScore, riskReasons, isNewDevice },
      });
    } else if (progress.shown !== undefined) {
      await recordAtEnd(knex, { ...about, type: "login.stepped_up" });
    }
  }

  if (progress.consent !== undefined && user !== undefined) {
    result.consent = {};
    const { scopes, rejected: rejectedScopes } = progress.consent;
    const decision = { userId: user.id, client, scopes, rejectedScopes, now };
    await defer(knex, savingConsent(decision));
    await recordAtEnd(knex, {
      ...origin,
      type: "consent.granted",
      actor: { type: "user", id: user.id },
      userId: user.id,
      clientId: recordedId(client),
      details: {
        scopes,
        authorizationDetailsTypes:
          requestedDetails.length === 0 ? undefined : requestedDetails.map(({ type }) => type),
      },
    });
  }

  interaction.result = { ...interaction.lastSubmission, ...result };
  await interaction.persist();
  return interaction.returnTo;
}

/** Connects who somebody is elsewhere to the account that they have just signed in to (T-91). */
async function connect(
  { knex, seal, mailer }: ArrivalNeeds,
  ctx: Context,
  { issuer }: Visit,
  { providerId, userId, identity }: NonNullable<Progress["link"]>,
  now: Date,
): Promise<UpstreamSignIn | undefined> {
  const db = await writer(knex);
  const provider = await IdentityProvider.query(db).findById(providerId).where({ enabled: true });
  if (provider === undefined) return undefined;
  const link = { provider, identity, userId, now, seal, mailer } as const;
  const { id: identityId } = await linkIdentity(db, {
    ...link,
    issuer: issuer?.url ?? "",
    origin: originOf(ctx),
  });
  return upstreamOf(seal, { identityId, providerId }, identity);
}

/**
 * How the session begins, or what it becomes where more was shown. Its time is that of the first factor, because
 * nothing is known of the person that is older (`auth_time`, OIDC Core §2).
 */
function loginOf({ progress, demand }: Visit) {
  const { held, sessionUserId } = demand;
  const shown = progress.shown ?? [];
  const accountId = progress.userId ?? (held === undefined ? undefined : sessionUserId);
  if (accountId === undefined) return undefined;
  const references = referencesOf(shown.map(({ method }) => method));
  const level = reached(progress, demand);
  const amr = new Set([...(held?.amr ?? []), ...references, ...(level > 1 ? ["mfa"] : [])]);
  const at = held?.at ?? shown[0]?.authTime ?? shown[0]?.at;
  return {
    accountId,
    acr: String(level),
    amr: [...amr],
    ts: at === undefined ? undefined : Math.floor(at),
    remember: held?.remember ?? progress.remember === true,
  };
}

/** Ends an interaction without an answer: the client learns that the person said no (RFC 6749 §4.1.2.1). */
export async function cancel(knex: Knex, visit: Visit, origin: Origin): Promise<string> {
  const { interaction, client, user } = visit;
  await recordAtEnd(knex, {
    ...origin,
    type: "consent.denied",
    actor: user === undefined ? { type: "anonymous" } : { type: "user", id: user.id },
    userId: user?.id,
    clientId: recordedId(client),
    details: { scopes: visit.requestedScopes },
  });
  interaction.result = {
    error: "access_denied",
    error_description: "the end-user cancelled the request",
  };
  await interaction.persist();
  return interaction.returnTo;
}
