import type { Knex } from "knex";
import { errors, Provider } from "oidc-provider";
import { throttleRegistration } from "../authn/throttle.ts";
import { isHostAllowed } from "../clients/document.ts";
import { writer } from "../database/transaction.ts";
import { DECOUPLED_GRANTS, type Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { OAuthClient } from "../models/oauth-client.ts";

const DAY = 86_400_000;

/** What an operator says of clients that register themselves. */
export type RegistrationPolicy = Pick<
  Issuer,
  "name" | "registration" | "registrationQuota" | "registrationHosts"
>;

/**
 * Keeps those without an initial access token from registering clients without end (RFC 7591 §5): so many an hour
 * from one network, and so many a day altogether. A token counts its uses itself.
 *
 * @throws the engine's TemporarilyUnavailable, with status 429.
 */
export async function assertQuota(
  { knex, seal }: { knex: Knex; seal: Seal },
  { name, registrationQuota: quota }: RegistrationPolicy,
): Promise<void> {
  const { ctx } = Provider;
  if (quota === undefined || ctx?.oidc.entities.InitialAccessToken !== undefined) return;
  const now = new Date();
  const ipPrefix = String(ctx?.state["ipPrefix"] ?? "");
  // In the unit of work, whose connection is already held: waiting for another would be waiting for each other.
  const db = await writer(knex);
  const isFine = await throttleRegistration(db, seal, { ipPrefix, now });
  const today = await OAuthClient.query(db)
    .where({ issuer: name, isDynamic: true })
    .where("createdAt", ">", new Date(now.getTime() - DAY))
    .resultSize();
  if (isFine && today < quota) return;
  throw Object.assign(new errors.TemporarilyUnavailable("too many clients were registered"), {
    status: 429,
    statusCode: 429,
  });
}

/**
 * Keeps strangers from reaching people who never heard of them: where anybody may register, nobody registers for
 * requests that a mail is sent about (CIBA Core §13).
 *
 * @throws the engine's InvalidClientMetadata
 */
export function assertGrants(
  { registration, registrationQuota }: RegistrationPolicy,
  { grant_types: grants }: Readonly<Record<string, unknown>>,
): void {
  const isOpen = registration === "open" && registrationQuota !== undefined;
  if (isOpen && Array.isArray(grants) && grants.includes(DECOUPLED_GRANTS.ciba))
    throw new errors.InvalidClientMetadata(
      `grant_types must not have ${DECOUPLED_GRANTS.ciba} where anybody may register`,
    );
}

/**
 * Holds a client to the hosts that may register here.
 *
 * @throws the engine's InvalidClientMetadata, as `invalid_redirect_uri` (RFC 7591 §3.2.2).
 */
export function assertHosts(
  { registrationHosts: hosts }: RegistrationPolicy,
  { redirect_uris: redirects }: Readonly<Record<string, unknown>>,
): void {
  if (hosts.length === 0 || !Array.isArray(redirects)) return;
  for (const address of redirects)
    if (!isHostAllowed(String(address), hosts))
      throw new errors.InvalidClientMetadata(
        "redirect_uris must be on hosts that may register here",
      );
}
