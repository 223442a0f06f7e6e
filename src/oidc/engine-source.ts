import { registerHooks } from "node:module";

/** Where the engine is loaded otherwise than it was published: the end of a module's address, and what stands for what. */
const CHANGES = [
  // A getter for each request: to V8 a pair of getter and setter is old from the beginning, so all that a request held
  // outlives the small collections of garbage until the next large one, and its context becomes a dictionary.
  {
    file: "/oidc-provider/lib/helpers/initialize_app.js",
    from: /let oidcCtx;\s+Object\.defineProperty\(ctx, 'oidc', \{\s+get: \(\) => \{\s+oidcCtx \|\|= new this\.OIDCContext\(ctx\);\s+return oidcCtx;\s+\},\s+\}\);/,
    to: "Object.defineProperty(ctx, 'oidc', { value: new this.OIDCContext(ctx) });",
  },
  // An error with two traces of the stack for each thing that could be wrong with an access token, and is not.
  {
    file: "/oidc-provider/lib/shared/access_token.js",
    from: /ctx\.assert\((\w+), (new InvalidToken\('[\w ]+'\))\);/g,
    to: "if (!$1) throw $2;",
  },
] as const;

/**
 * Loads what loads the engine, with a few lines of it changed that cost much and are easily said otherwise: a fifth to a
 * third of what a token costs and half of its p99 (docs/performance.md, "What each lever is worth"). An engine whose
 * source is another is left as it is.
 */
export async function withLeanEngine<T>(load: () => Promise<T>): Promise<T> {
  const hooks = registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      const change = CHANGES.find(({ file }) => url.endsWith(file));
      if (change === undefined || loaded.source === undefined) return loaded;
      const source = String(Buffer.from(loaded.source as Buffer));
      return { ...loaded, source: source.replace(change.from, change.to) };
    },
  });
  try {
    return await load();
  } finally {
    hooks.deregister();
  }
}
