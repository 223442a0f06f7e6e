import type { Knex } from 'knex';
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { record } from '../audit/record.ts';
import { internalId } from '../consents/consents.ts';
import { writer } from '../database/transaction.ts';
import type { Logger } from '../lib/log.ts';
import type { Mailer } from '../mail/mailer.ts';

export interface EventNeeds {
  knex: Knex;
  log: Logger;
  mailer: Mailer;
}

/**
 * Writes down what the engine did, in the unit of work of the request that did it. The engine's own events come at
 * the wrong moment for that, or cannot be awaited, so most of this reads what the request left behind.
 */
export function observe(needs: EventNeeds): (provider: Provider) => void {
  return (provider) => {
    provider.on('server_error', (ctx, error) => {
      needs.log.error(
        { err: error, route: ctx.oidc?.route, correlationId: ctx.state['correlationId'] },
        'the engine failed',
      );
    });
    provider.use(async (ctx: KoaContextWithOIDC, next) => {
      await next();
      if (ctx.oidc !== undefined && ctx.status < 500) await recordOutcome(needs, ctx);
    });
  };
}

async function recordOutcome(needs: EventNeeds, ctx: KoaContextWithOIDC): Promise<void> {
  const { oidc } = ctx;
  const { entities } = oidc;
  const client = oidc.client;
  const about = {
    requestId: ctx.state['correlationId'] as string | undefined,
    ipPrefix: ctx.state['ipPrefix'] as string | undefined,
    clientId: client === undefined ? undefined : internalId(client),
    actor: { type: 'client', id: client === undefined ? undefined : internalId(client) },
  } as const;

  if (oidc.route === 'token' && ctx.status === 400) {
    // The engine names these only after it has authenticated the client they belong to.
    const { RefreshToken: refreshToken, AuthorizationCode: code } = entities;
    if (wasConsumed(refreshToken)) {
      const db = await writer(needs.knex);
      const { accountId: userId, grantId } = refreshToken;
      await record(db, { ...about, type: 'token.refresh_reused', userId, details: { grantId } });
      const clientName = client?.clientName ?? client?.clientId ?? '';
      await needs.mailer.tokenReused(db, { userId, clientName, now: new Date() });
    } else if (wasConsumed(code)) {
      const { accountId: userId, grantId } = code;
      const db = await writer(needs.knex);
      await record(db, { ...about, type: 'token.code_reused', userId, details: { grantId } });
    }
  }

  if (oidc.route === 'revocation' && ctx.status === 200) {
    await record(await writer(needs.knex), { ...about, type: 'token.revoked' });
  }

  if (oidc.route === 'end_session_confirm' && ctx.status === 303 && oidc.session !== undefined) {
    const hasEnded = 'destroyed' in oidc.session && oidc.session.destroyed === true;
    const { accountId: userId, uid: sessionUid } = oidc.session;
    if (!hasEnded || userId === undefined) return;
    await record(await writer(needs.knex), {
      ...about,
      type: client === undefined ? 'logout.user' : 'logout.rp',
      actor: { type: 'user', id: userId },
      userId,
      sessionUid,
    });
  }
}

/** Whether the engine found a code or token that had been used before. */
function wasConsumed<Token extends object>(token: Token | undefined): token is Token {
  return token !== undefined && 'consumed' in token && Boolean(token.consumed);
}
