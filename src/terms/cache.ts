import type { Knex } from "knex";
import { reader } from "../database/transaction.ts";
import type { TermsVersion } from "../models/terms.ts";
import { currentTerms } from "./terms.ts";

/** Milliseconds after which it is read again even if no notification came. */
const MAX_AGE = 60_000;

/** What people must agree to today, kept in memory: a change is announced on the channel `lintel_terms`. */
export class TermsCache {
  readonly #knex: Knex;
  #memory: { known?: { readonly until: number; readonly terms: TermsVersion[] } } = {};

  constructor(knex: Knex) {
    this.#knex = knex;
  }

  async current(): Promise<readonly TermsVersion[]> {
    const memory = this.#memory;
    if (memory.known !== undefined && Date.now() < memory.known.until) return memory.known.terms;
    const terms = await currentTerms(reader(this.#knex));
    memory.known = { until: Date.now() + MAX_AGE, terms };
    return terms;
  }

  /** What is being read at this moment may be out of date, and goes where nobody looks any more. */
  clear(): void {
    this.#memory = {};
  }
}
