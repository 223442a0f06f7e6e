import type { Knex } from "knex";
import type { Client, Provider } from "oidc-provider";
import { internalId } from "../consents/consents.ts";
import { writer } from "../database/transaction.ts";
import type { Logger } from "../lib/log.ts";
import { LogoutNotice } from "../models/logout-notice.ts";
import { OAuthClient } from "../models/oauth-client.ts";

type Tell = (this: Client, userId: string, sid: string) => Promise<void>;

/** How the engine itself tells a client, kept before it is replaced. */
const told = new WeakMap<Provider, Tell>();

/**
 * The engine tells clients of a logout while the person waits, once, and forgets those that did not answer. Instead
 * the notice is queued with the logout, and delivered by a job until the client has it.
 */
export function queueLogoutNotices(provider: Provider, knex: Knex): void {
  const prototype = provider.Client.prototype as unknown as { backchannelLogout: Tell };
  told.set(provider, prototype.backchannelLogout);
  prototype.backchannelLogout = async function queue(userId, sid) {
    const clientId = internalId(this);
    await LogoutNotice.queue(await writer(knex), { clientId, userId, sid, now: new Date() });
  };
}

/** What the job needs: the engine of every issuer, by its name. */
export interface LogoutDelivery {
  readonly knex: Knex;
  readonly providerOf: (issuer: string) => Provider | undefined;
  readonly log: Logger;
}

/**
 * Sends one notice, signed anew at every attempt, because a logout token is good for two minutes only
 * (OIDC Back-Channel Logout §2.4).
 *
 * @throws when the client did not answer with success and another attempt will follow.
 */
export async function deliverLogoutNotice(
  { knex, providerOf, log }: LogoutDelivery,
  { id, attempt, last }: { id: string; attempt: number; last: boolean },
): Promise<void> {
  const notice = await LogoutNotice.query(knex).findById(id).where({ status: "queued" });
  if (notice === undefined) return;
  const settle = (changes: Partial<LogoutNotice>) =>
    LogoutNotice.query(knex)
      .findById(id)
      .patch({ attempts: attempt, ...changes });
  const row = await OAuthClient.query(knex).findById(notice.clientId).whereNull("deletedAt");
  const provider = row === undefined ? undefined : providerOf(row.issuer);
  const client = row === undefined ? undefined : await provider?.Client.find(row.clientId);
  const tell = provider === undefined ? undefined : told.get(provider);
  if (client?.["backchannelLogoutUri"] === undefined || tell === undefined) {
    await settle({ status: "failed", lastError: "the client does not want to know any more" });
    return;
  }
  try {
    await tell.call(client, notice.userId, notice.sid);
  } catch (error) {
    const lastError = error instanceof Error ? error.message.slice(0, 500) : "unknown";
    await settle({ status: last ? "failed" : "queued", lastError });
    log.warn({ clientId: client.clientId, attempt, err: error }, "logout notice not delivered");
    if (last) return;
    throw error;
  }
  await settle({ status: "delivered", deliveredAt: new Date(), lastError: null });
}
