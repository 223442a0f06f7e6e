import type { Knex } from 'knex';
import { Provider } from 'oidc-provider';
import { writer } from '../../database/transaction.ts';
import { isUuid } from '../../lib/uuid.ts';
import { OAuthGrant } from '../../models/oauth-grant.ts';

/**
 * Voids all tokens of a grant by its watermark. The engine asks once for every kind of token, at the same time;
 * one write answers them all.
 */
export class GrantRevocation {
  readonly #knex: Knex;
  readonly #requests = new WeakMap<object, Map<string, Promise<void>>>();

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  voidTokens(grantId: string): Promise<void> {
    if (!isUuid(grantId)) return Promise.resolve();
    const request: object | undefined = Provider.ctx;
    if (request === undefined) return this.#write(grantId);
    let writes = this.#requests.get(request);
    if (writes === undefined) {
      writes = new Map();
      this.#requests.set(request, writes);
    }
    let write = writes.get(grantId);
    if (write === undefined) {
      write = this.#write(grantId);
      writes.set(grantId, write);
    }
    return write;
  }

  async #write(grantId: string): Promise<void> {
    await OAuthGrant.voidTokens(await writer(this.#knex), grantId);
  }
}
