import type { AdapterPayload } from "oidc-provider";
import type { ClientCache } from "../client-cache.ts";
import { ModelAdapter } from "./model-adapter.ts";

/** Client: rows of `oauth_clients`, read through a cache. Clients are written by `clients/`, never by the engine. */
export class ClientAdapter extends ModelAdapter {
  readonly #cache: ClientCache;
  readonly #issuer: string;

  constructor(cache: ClientCache, issuer: string) {
    super();
    this.#cache = cache;
    this.#issuer = issuer;
  }

  find(id: string): Promise<AdapterPayload | undefined> {
    return this.#cache.find(this.#issuer, id);
  }

  async upsert(): Promise<void> {
    throw new Error("the engine registers no clients: dynamic registration is off");
  }

  async destroy(): Promise<void> {
    throw new Error("the engine deletes no clients: registration management is off");
  }
}
