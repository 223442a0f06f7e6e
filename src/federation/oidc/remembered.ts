import type { Trace } from "../connector.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;
/** How long something is used of which its provider has no newer one to give. */
const STALE_IF_ERROR = DAY;
/** How long nobody is asked again who did not answer and of whom nothing is known. */
const REST = 5 * SECOND;

/**
 * Something that a provider publishes: asked for once in a while, by one caller at a time, and kept while the provider
 * does not answer (RFC 5861 §4). Nothing that comes from outside makes us ask more than once a minute (T-95).
 */
export class Remembered<Value> {
  readonly #load: (trace: Trace) => Promise<Value>;
  readonly #freshFor: number;
  #known: { readonly value: Value; readonly at: number } | undefined;
  #failed: { readonly error: unknown; readonly at: number } | undefined;
  #renewedAt = 0;
  #running: Promise<Value> | undefined;

  /** @param freshFor milliseconds after which it is asked for again. */
  constructor(load: (trace: Trace) => Promise<Value>, freshFor: number) {
    this.#load = load;
    this.#freshFor = freshFor;
  }

  /** What is known, or what the provider says where that is too old. */
  async get(trace: Trace): Promise<Value> {
    const now = Date.now();
    const known = this.#known;
    if (known !== undefined && now - known.at < this.#freshFor) return known.value;
    const usable = known !== undefined && now - known.at < STALE_IF_ERROR ? known : undefined;
    if (this.#failed !== undefined && now - this.#failed.at < (usable ? MINUTE : REST)) {
      if (usable === undefined) throw this.#failed.error;
      return usable.value;
    }
    try {
      return await this.#ask(trace);
    } catch (error) {
      if (usable === undefined) throw error;
      trace("kept what was known before", { because: String(error), since: iso(usable.at) });
      return usable.value;
    }
  }

  /**
   * What the provider says now, unless this was asked within the last minute, or nobody answered. What was read as a
   * matter of course counts for nothing here: a provider may change its keys right after it.
   */
  async renew(trace: Trace): Promise<Value> {
    if (this.#running !== undefined) return await this.#ask(trace);
    const asked = Math.max(this.#renewedAt, this.#failed?.at ?? 0);
    if (this.#known !== undefined && Date.now() - asked < MINUTE) {
      trace("did not ask again, because a minute has not passed", { since: iso(asked) });
      return this.#known.value;
    }
    this.#renewedAt = Date.now();
    return await this.#ask(trace);
  }

  async #ask(trace: Trace): Promise<Value> {
    this.#running ??= this.#load(trace).finally(() => (this.#running = undefined));
    try {
      const value = await this.#running;
      this.#known = { value, at: Date.now() };
      this.#failed = undefined;
      return value;
    } catch (error) {
      this.#failed = { error, at: Date.now() };
      throw error;
    }
  }
}

const iso = (at: number): string => new Date(at).toISOString();
