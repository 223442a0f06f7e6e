import type { Knex } from "knex";
import type { AdapterPayload } from "oidc-provider";
import type { TransactionOrKnex } from "objection";
import { liveSecrets, toEngine } from "../clients/metadata.ts";
import { reader } from "../database/transaction.ts";
import type { Seal } from "../keys/seal.ts";
import { OAuthClient } from "../models/oauth-client.ts";

/** Milliseconds after which an entry is read again even if no notification came. */
const MAX_AGE = 10_000;
const MAX_ENTRIES = 5_000;

interface Entry {
  /** The moment from which it is read again. */
  readonly until: number;
  readonly client: CachedClient | undefined;
}

interface CachedClient {
  /** The name of the issuer that it belongs to. */
  readonly issuer: string;
  readonly payload: AdapterPayload;
}

/** Nothing else can be an identifier, and the database refuses to be asked for some of it. */
export function mayBeClientId(text: string): boolean {
  return /^[!-~]{1,512}$/.test(text);
}

/**
 * Clients as the engine wants them, kept in memory because every request asks for one. A change in the database is
 * announced on the channel `lintel_clients` and empties the cache; where notifications cannot pass (a
 * transaction-pooling proxy), an entry lives ten seconds. Unknown ids are remembered too. No entry outlives a secret.
 * Nobody waits for another's look-up, who could be waiting for one of their connections; and what a transaction saw
 * is its own, for it may never have been. A client that did not change is the same object however often it is read:
 * by that the engine knows it again, with the keys that it fetched from the client's `jwks_uri`.
 */
export class ClientCache {
  readonly #knex: Knex;
  readonly #seal: Seal;
  #entries = new Map<string, Entry>();
  readonly #last = new Map<string, { readonly text: string; readonly client: CachedClient }>();

  constructor(knex: Knex, seal: Seal) {
    this.#knex = knex;
    this.#seal = seal;
  }

  /** A client of the issuer named `issuer`; another issuer's is as unknown as one that is not there. */
  async find(issuer: string, clientId: string): Promise<AdapterPayload | undefined> {
    const known = this.#entries.get(clientId);
    const isFresh = known !== undefined && Date.now() < known.until;
    const client = isFresh ? known.client : await this.#look(clientId);
    return client?.issuer === issuer ? client.payload : undefined;
  }

  async #look(clientId: string): Promise<CachedClient | undefined> {
    if (!mayBeClientId(clientId)) return undefined;
    const entries = this.#entries;
    const db = reader(this.#knex);
    const { until, client: found } = await this.#read(db, clientId);
    if (db !== this.#knex) return found;
    const client = this.#sameAsBefore(clientId, found);
    if (entries.size >= MAX_ENTRIES) entries.clear();
    entries.set(clientId, { until, client });
    return client;
  }

  #sameAsBefore(clientId: string, client: CachedClient | undefined): CachedClient | undefined {
    if (client === undefined) {
      this.#last.delete(clientId);
      return undefined;
    }
    const text = JSON.stringify(client);
    const last = this.#last.get(clientId);
    if (last?.text === text) return last.client;
    if (this.#last.size >= MAX_ENTRIES) this.#last.clear();
    this.#last.set(clientId, { text, client });
    return client;
  }

  /** What is being read at this moment may be out of date, and goes into the map that nobody asks any more. */
  clear(): void {
    this.#entries = new Map();
  }

  async #read(db: TransactionOrKnex, clientId: string): Promise<Entry> {
    const row = await OAuthClient.findActive(db, clientId);
    const now = new Date();
    const until = now.getTime() + MAX_AGE;
    if (row === undefined) return { until, client: undefined };
    const ends = liveSecrets(row.secrets ?? [], now).map(
      ({ expiresAt }) => expiresAt?.getTime() ?? until,
    );
    const payload = toEngine(row, this.#seal, now) as AdapterPayload;
    return { until: Math.min(until, ...ends), client: { issuer: row.issuer, payload } };
  }
}
