import type { Knex } from "knex";
import { reader } from "../database/transaction.ts";
import { IdentityProvider } from "../models/identity-provider.ts";

/** Milliseconds after which everything is read again even if no notification came. */
const MAX_AGE = 10_000;

interface Known {
  readonly until: number;
  readonly connections: readonly IdentityProvider[];
}

/**
 * The connections that people can sign in with, kept in memory because every sign-in page asks for them: they are few,
 * so all of them are read at once, each with what SAML needs and its domains. A change is announced on the channel
 * `lintel_connections` and empties the cache; where notifications cannot pass, it lives ten seconds. Nobody waits for
 * another's look-up, who could be waiting for one of their connections; and what a transaction saw is its own.
 *
 * What it says may have changed a moment ago: who ends a sign-in asks the database once more, in its transaction.
 */
export class ConnectionCache {
  readonly #knex: Knex;
  #known: { latest: Known | undefined } = { latest: undefined };

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  /** Those of the issuer named `atIssuer`, in the order in which its pages show them. */
  async connections(atIssuer: string): Promise<readonly IdentityProvider[]> {
    return (await this.#all()).filter((provider) => provider.atIssuer === atIssuer);
  }

  /** One of them; a disabled one, and one of another issuer, is as unknown as one that is not there. */
  async find(slug: string, atIssuer: string): Promise<IdentityProvider | undefined> {
    return (await this.connections(atIssuer)).find((provider) => provider.slug === slug);
  }

  /** What is being read at this moment may be out of date, and goes where nobody looks any more. */
  clear(): void {
    this.#known = { latest: undefined };
  }

  async #all(): Promise<readonly IdentityProvider[]> {
    const known = this.#known;
    if (known.latest !== undefined && Date.now() < known.latest.until)
      return known.latest.connections;
    const db = reader(this.#knex);
    const connections = await IdentityProvider.query(db)
      .where({ enabled: true })
      .withGraphFetched("[saml, domains]")
      .orderBy(["displayOrder", "name", "slug"]);
    if (db === this.#knex) known.latest = { until: Date.now() + MAX_AGE, connections };
    return connections;
  }
}
