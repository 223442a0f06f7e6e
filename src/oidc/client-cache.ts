import type { Knex } from 'knex';
import type { AdapterPayload } from 'oidc-provider';
import { toEngine } from '../clients/metadata.ts';
import { OAuthClient } from '../models/oauth-client.ts';

/** Milliseconds after which an entry is read again even if no notification came. */
const MAX_AGE = 10_000;
const MAX_ENTRIES = 5_000;

/**
 * Clients as the engine wants them, kept in memory because every request asks for one. A change in the database is
 * announced on the channel `lintel_clients` and empties the cache; where notifications cannot pass (a
 * transaction-pooling proxy), an entry lives ten seconds. Unknown ids are remembered too.
 */
export class ClientCache {
  readonly #knex: Knex;
  readonly #entries = new Map<string, { at: number; client: Promise<AdapterPayload | undefined> }>();

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  find(clientId: string): Promise<AdapterPayload | undefined> {
    const entry = this.#entries.get(clientId);
    if (entry !== undefined && Date.now() - entry.at < MAX_AGE) return entry.client;
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear();
    const client = this.#read(clientId);
    this.#entries.set(clientId, { at: Date.now(), client });
    client.catch(() => this.#entries.delete(clientId));
    return client;
  }

  clear(): void {
    this.#entries.clear();
  }

  async #read(clientId: string): Promise<AdapterPayload | undefined> {
    const row = await OAuthClient.query(this.#knex)
      .findOne({ clientId, status: 'active' })
      .whereNull('deletedAt')
      .withGraphFetched('secrets');
    return row && toEngine(row);
  }
}
