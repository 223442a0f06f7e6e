import type { Knex } from "knex";
import type { InteractionResults } from "oidc-provider";
import { record } from "../audit/record.ts";
import { writer } from "../database/transaction.ts";
import { User } from "../models/user.ts";
import { SINGLE_FACTOR } from "../authn/levels.ts";
import { internalId, saveConsent } from "../consents/consents.ts";
import type { Origin } from "../http/origin.ts";
import type { Visit } from "./visit.ts";

/**
 * Ends an interaction with what the person showed and decided, and answers where the browser goes: back into the
 * engine, which starts the session and issues the code. The only place that puts `login` into a result.
 */
export async function finish(knex: Knex, visit: Visit, origin: Origin, now: Date): Promise<string> {
  const { interaction, client, progress, user, requestedDetails } = visit;
  const db = await writer(knex);
  const result: InteractionResults = {};
  if (visit.demand.chooseAccount) result["select_account"] = {};

  if (progress.userId !== undefined) {
    result.login = {
      accountId: progress.userId,
      acr: SINGLE_FACTOR,
      amr: [...(progress.amr ?? [])],
      ts: progress.signedInAt === undefined ? undefined : Math.floor(progress.signedInAt),
      remember: progress.remember === true,
    };
    await User.query(db).findById(progress.userId).patch({ lastLoginAt: now });
    await record(db, {
      ...origin,
      type: "login.succeeded",
      actor: { type: "user", id: progress.userId },
      userId: progress.userId,
      clientId: internalId(client),
      details: { method: progress.amr?.join(" "), acr: SINGLE_FACTOR },
    });
  }

  if (progress.consent !== undefined && user !== undefined) {
    result.consent = {};
    await saveConsent(db, {
      userId: user.id,
      client,
      scopes: progress.consent.scopes,
      rejectedScopes: progress.consent.rejected,
      now,
    });
    await record(db, {
      ...origin,
      type: "consent.granted",
      actor: { type: "user", id: user.id },
      userId: user.id,
      clientId: internalId(client),
      details: {
        scopes: progress.consent.scopes,
        authorizationDetailsTypes:
          requestedDetails.length === 0 ? undefined : requestedDetails.map(({ type }) => type),
      },
    });
  }

  interaction.result = { ...interaction.lastSubmission, ...result };
  await interaction.persist();
  return interaction.returnTo;
}

/** Ends an interaction without an answer: the client learns that the person said no (RFC 6749 §4.1.2.1). */
export async function cancel(knex: Knex, visit: Visit, origin: Origin): Promise<string> {
  const { interaction, client, user } = visit;
  await record(await writer(knex), {
    ...origin,
    type: "consent.denied",
    actor: user === undefined ? { type: "anonymous" } : { type: "user", id: user.id },
    userId: user?.id,
    clientId: internalId(client),
    details: { scopes: visit.requestedScopes },
  });
  interaction.result = {
    error: "access_denied",
    error_description: "the end-user cancelled the request",
  };
  await interaction.persist();
  return interaction.returnTo;
}
