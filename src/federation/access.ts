import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import type { Seal } from "../keys/seal.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { IdentityToken } from "../models/identity-token.ts";
import { UpstreamError, type Connector, type UpstreamTokens } from "./connector.ts";
import { openTokens, replaceTokens } from "./tokens.ts";

/** Milliseconds before its end from which a token is as good as over. */
const MARGIN = 60_000;
/** How long one caller may take to get new tokens, how long the others wait for it, and how often they look. */
const LEASE = 20_000;
const PATIENCE = 10_000;
const PAUSE = 100;

export interface AccessNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly connectors: { of(provider: IdentityProvider): Promise<Pick<Connector, "refresh">> };
}

/**
 * The token that lets somebody use a provider's APIs for one person: the one that is kept, or a new one where its time
 * is over. Providers often take a refresh token once, so that of any number of callers on any number of nodes one asks,
 * and the others wait for what it got. What was got is kept whatever becomes of the request that needed it, which is
 * why this is outside of its unit of work.
 *
 * @returns nothing where none is kept, or the provider gives none any more: then the person must sign in there again.
 * @throws UpstreamError where the provider does not answer, or not in time.
 */
export async function accessTo(
  needs: AccessNeeds,
  provider: IdentityProvider,
  identityId: string,
): Promise<UpstreamTokens | undefined> {
  const { knex, seal } = needs;
  const deadline = Date.now() + PATIENCE;
  while (Date.now() < deadline) {
    const row = await IdentityToken.query(knex).findById(identityId);
    if (row === undefined) return undefined;
    if (isGood(row)) return openTokens(seal, row);
    const now = new Date();
    const until = new Date(now.getTime() + LEASE);
    const reserved = await IdentityToken.reserve(knex, { identityId, now, until });
    if (reserved !== undefined) return renew(needs, provider, reserved);
    await delay(PAUSE);
  }
  throw new UpstreamError("unavailable", "oauth.refresh", "Nobody got new tokens in time.");
}

function isGood({ expiresAt }: IdentityToken): boolean {
  return expiresAt === null || expiresAt.getTime() > Date.now() + MARGIN;
}

async function renew(
  { knex, seal, connectors }: AccessNeeds,
  provider: IdentityProvider,
  reserved: IdentityToken,
): Promise<UpstreamTokens | undefined> {
  // Somebody may have been faster between the look and the reservation.
  if (isGood(reserved)) {
    await IdentityToken.release(knex, reserved);
    return openTokens(seal, reserved);
  }
  const { refreshToken } = openTokens(seal, reserved);
  try {
    const tokens =
      refreshToken === undefined
        ? undefined
        : await (await connectors.of(provider)).refresh?.(refreshToken);
    await replaceTokens(knex, seal, reserved, tokens);
    return tokens;
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    // The refresh token is over, or was taken back there.
    if (error.reason === "expired") {
      await replaceTokens(knex, seal, reserved, undefined);
      return undefined;
    }
    await IdentityToken.release(knex, reserved);
    throw error;
  }
}
