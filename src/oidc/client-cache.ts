import type { Knex } from "knex";
import type { AdapterPayload } from "oidc-provider";
import { liveSecrets, toEngine } from "../clients/metadata.ts";
import type { Seal } from "../keys/seal.ts";
import { OAuthClient } from "../models/oauth-client.ts";

/** Milliseconds after which an entry is read again even if no notification came. */
const MAX_AGE = 10_000;
const MAX_ENTRIES = 5_000;

interface Entry {
  /** The moment from which it is read again. */
  until: number;
  readonly client: Promise<CachedClient | undefined>;
}

interface CachedClient {
  /** The name of the issuer that it belongs to. */
  readonly issuer: string;
  readonly payload: AdapterPayload;
}

/**
 * Clients as the engine wants them, kept in memory because every request asks for one. A change in the database is
 * announced on the channel `lintel_clients` and empties the cache; where notifications cannot pass (a
 * transaction-pooling proxy), an entry lives ten seconds. Unknown ids are remembered too. No entry outlives a secret.
 */
export class ClientCache {
  readonly #knex: Knex;
  readonly #seal: Seal;
  readonly #entries = new Map<string, Entry>();

  constructor(knex: Knex, seal: Seal) {
    this.#knex = knex;
    this.#seal = seal;
  }

  /** A client of the issuer named `issuer`; another issuer's is as unknown as one that is not there. */
  async find(issuer: string, clientId: string): Promise<AdapterPayload | undefined> {
    // Nothing else can be an identifier, and the database refuses to be asked for some of it.
    if (!/^[!-~]{1,512}$/.test(clientId)) return undefined;
    const client = await this.#find(clientId);
    return client?.issuer === issuer ? client.payload : undefined;
  }

  #find(clientId: string): Promise<CachedClient | undefined> {
    const known = this.#entries.get(clientId);
    if (known !== undefined && Date.now() < known.until) return known.client;
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear();
    const entry: Entry = {
      until: Date.now() + MAX_AGE,
      client: this.#read(clientId, (moment) => {
        entry.until = Math.min(entry.until, moment);
      }),
    };
    this.#entries.set(clientId, entry);
    entry.client.catch(() => this.#entries.delete(clientId));
    return entry.client;
  }

  clear(): void {
    this.#entries.clear();
  }

  async #read(
    clientId: string,
    changesAt: (moment: number) => void,
  ): Promise<CachedClient | undefined> {
    const row = await OAuthClient.query(this.#knex)
      .findOne({ clientId, status: "active" })
      .whereNull("deletedAt")
      .withGraphFetched("secrets");
    if (row === undefined) return undefined;
    const now = new Date();
    for (const { expiresAt } of liveSecrets(row.secrets ?? [], now)) {
      if (expiresAt !== null) changesAt(expiresAt.getTime());
    }
    return { issuer: row.issuer, payload: toEngine(row, this.#seal, now) as AdapterPayload };
  }
}
