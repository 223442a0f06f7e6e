import type { Knex } from "knex";
import { reader } from "../database/transaction.ts";
import type { TermsVersion } from "../models/terms.ts";
import { currentTerms } from "./terms.ts";

/** Milliseconds after which it is read again even if no notification came. */
const MAX_AGE = 60_000;

/** What people must agree to today, kept in memory: a change is announced on the channel `lintel_terms`. */
export class TermsCache {
  readonly #knex: Knex;
  #known: { readonly until: number; readonly terms: TermsVersion[] } | undefined;

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  async current(): Promise<readonly TermsVersion[]> {
    if (this.#known !== undefined && Date.now() < this.#known.until) return this.#known.terms;
    const terms = await currentTerms(reader(this.#knex));
    this.#known = { until: Date.now() + MAX_AGE, terms };
    return terms;
  }

  clear(): void {
    this.#known = undefined;
  }
}
