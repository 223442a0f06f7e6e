import type { KoaContextWithOIDC, Provider } from "oidc-provider";

type Handler = (ctx: KoaContextWithOIDC) => unknown;

/**
 * What is done once the engine has answered at one of its routes, by the name the engine has for it. One middleware for
 * all of it: a request to another route passes one look-up, not each of them.
 */
export class Afterwards {
  readonly #handlers = new Map<string, Handler[]>();

  /** Whoever is told last acts first, as middlewares do that are added one after the other. */
  at(routes: readonly string[], handler: Handler): void {
    for (const route of routes)
      this.#handlers.set(route, [handler, ...(this.#handlers.get(route) ?? [])]);
  }

  addTo(provider: Provider): void {
    provider.use(async (ctx: KoaContextWithOIDC, next) => {
      await next();
      for (const handler of this.#handlers.get(ctx.oidc?.route ?? "") ?? []) await handler(ctx);
    });
  }
}
