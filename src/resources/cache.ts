import type { Knex } from "knex";
import type { Level } from "../authn/levels.ts";
import { reader } from "../database/transaction.ts";
import type { SigningAlgorithm } from "../issuers.ts";
import { ApiResource } from "../models/api-resource.ts";

/** Milliseconds after which an entry is read again even if no notification came. */
const MAX_AGE = 10_000;
const MAX_ENTRIES = 1_000;

/** What requests need to know of an API. */
export interface Api {
  readonly indicator: string;
  readonly name: string;
  /** What may be allowed, each with what it means to people. */
  readonly permissions: ReadonlyMap<string, string>;
  /** The level of sign-in that each of them takes. */
  readonly levels: ReadonlyMap<string, Level>;
  /** Whether any client of the issuer may ask people for it. */
  readonly isOpen: boolean;
  /** By the keys of their rows, the clients that may ask for it, and the permissions each may have; `null` for all. */
  readonly clients: ReadonlyMap<string, readonly string[] | null>;
  readonly tokenFormat: "jwt" | "opaque";
  /** Seconds. */
  readonly tokenLifetime: number;
  readonly signingAlg: SigningAlgorithm | null;
  /** The key of the row of the client that the API itself is. */
  readonly ownClientId: string | null;
}

/**
 * APIs by issuer and indicator, kept in memory like clients: a change is announced on the channel `lintel_resources`
 * and empties the cache; where notifications cannot pass, an entry lives ten seconds. Unknown ones are remembered too.
 * Nobody waits for another's look-up: token requests ask within their transaction, and whoever looks up for all of
 * them could be waiting for one of their connections.
 */
export class ResourceCache {
  readonly #knex: Knex;
  #entries = new Map<string, { until: number; api: Api | undefined }>();

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  /** An API of the issuer named `issuer`; another issuer's is as unknown as one that is not there. */
  async find(issuer: string, indicator: string): Promise<Api | undefined> {
    const key = `${issuer} ${indicator}`;
    const entries = this.#entries;
    const known = entries.get(key);
    if (known !== undefined && Date.now() < known.until) return known.api;
    const api = await this.#read(issuer, indicator);
    if (entries.size >= MAX_ENTRIES) entries.clear();
    entries.set(key, { until: Date.now() + MAX_AGE, api });
    return api;
  }

  /** What is being read at this moment may be out of date, and goes into the map that nobody asks any more. */
  clear(): void {
    this.#entries = new Map();
  }

  async #read(issuer: string, indicator: string): Promise<Api | undefined> {
    // Nothing else can be one, and the database refuses to be asked for some of it.
    if (!/^[!-~]{1,512}$/.test(indicator)) return undefined;
    const row = await ApiResource.query(reader(this.#knex))
      .findOne({ issuer, indicator })
      .withGraphFetched("[permissions(byName), clients]")
      .modifiers({ byName: (query) => query.orderBy("name") });
    if (row === undefined) return undefined;
    const { permissions = [], clients = [] } = row;
    return {
      indicator,
      name: row.name,
      permissions: new Map(permissions.map(({ name, description }) => [name, description])),
      levels: new Map(permissions.map(({ name, level }) => [name, level])),
      isOpen: row.openTo === "any",
      clients: new Map(clients.map(({ clientId, permissions: names }) => [clientId, names])),
      tokenFormat: row.tokenFormat,
      tokenLifetime: row.tokenLifetime,
      signingAlg: row.signingAlg,
      ownClientId: row.ownClientId,
    };
  }
}
