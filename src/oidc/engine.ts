import mount from "koa-mount";
import type { Middleware } from "koa";
import type { JWKS, Provider } from "oidc-provider";
import type { Knex } from "knex";
import { loadDefinitions, type TypeDefinition } from "../consents/authorization-types.ts";
import { loadKeys } from "../keys/keystore.ts";
import type { Seal } from "../keys/seal.ts";
import type { Logger } from "../lib/log.ts";

export interface EngineOptions {
  readonly knex: Knex;
  readonly seal: Seal;
  /** Which of the keys it publishes and signs with. */
  readonly algorithms: readonly string[];
  readonly build: (jwks: JWKS, types: ReadonlyMap<string, TypeDefinition>) => Provider;
  /** Called when another engine has taken the place of the last one. */
  readonly onChange: () => void;
}

/**
 * The engine of one issuer that runs now. It is built from keys and authorization types and never changed: when they
 * do, a new one takes its place, also in the middle of a sign-in, because everything it knows is in the database.
 */
export class Engine {
  readonly #knex: Knex;
  readonly #seal: Seal;
  readonly #algorithms: readonly string[];
  readonly #build: EngineOptions["build"];
  readonly #onChange: EngineOptions["onChange"];
  #version = "";
  #last: Promise<void> = Promise.resolve();
  #provider: Provider | undefined;
  #mounted: Middleware | undefined;

  private constructor({ knex, seal, algorithms, build, onChange }: EngineOptions) {
    this.#knex = knex;
    this.#seal = seal;
    this.#algorithms = algorithms;
    this.#build = build;
    this.#onChange = onChange;
  }

  static async open(options: EngineOptions): Promise<Engine> {
    const engine = new Engine(options);
    await engine.refresh();
    return engine;
  }

  /** Whether there is something to sign with. */
  get hasKeys(): boolean {
    return this.#provider !== undefined;
  }

  get provider(): Provider {
    if (this.#provider === undefined) throw new Error("the engine was not opened");
    return this.#provider;
  }

  /** Every protocol endpoint; requests it does not know pass through. */
  readonly middleware: Middleware = (ctx, next) => {
    if (this.#mounted === undefined) throw new Error("the engine was not opened");
    return this.#mounted(ctx, next);
  };

  /** {@link refresh} when nobody waits for it; what fails now is tried again at the next occasion. */
  refreshSoon(log: Logger): void {
    this.refresh().catch((error: unknown) =>
      log.error({ err: error }, "signing keys and authorization types not read"),
    );
  }

  /** Builds a new engine if the keys or the authorization types changed since the last one was built. */
  refresh(): Promise<void> {
    // One after the other: of two that overlap, the one that read earlier must not win.
    const next = this.#last.catch(() => undefined).then(() => this.#reload());
    this.#last = next;
    return next;
  }

  async #reload(): Promise<void> {
    const keys = await loadKeys(this.#knex, this.#seal);
    const types = await loadDefinitions(this.#knex);
    const version = `${keys.version} ${JSON.stringify([...types])}`;
    if (version === this.#version) return;
    const ours = keys.signing.filter(({ alg }) => this.#algorithms.includes(alg ?? ""));
    const provider = this.#build({ keys: ours }, types);
    this.#mounted = mount(provider);
    this.#provider = provider;
    this.#version = version;
    this.#onChange();
  }
}
