import type { Knex } from "knex";
import { errors, Provider } from "oidc-provider";
import { throttleRegistration } from "../authn/throttle.ts";
import { isHostAllowed } from "../clients/document.ts";
import { reader } from "../database/transaction.ts";
import type { Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { OAuthClient } from "../models/oauth-client.ts";

const DAY = 86_400_000;

/** What an operator says of clients that register themselves. */
export type RegistrationPolicy = Pick<Issuer, "name" | "registrationQuota" | "registrationHosts">;

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
  // Outside the unit of work: a try counts even if what follows is rolled back.
  const isFine = await throttleRegistration(knex, seal, { ipPrefix, now });
  const today = await OAuthClient.query(reader(knex))
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
