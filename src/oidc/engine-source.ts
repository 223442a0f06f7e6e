import { registerHooks } from "node:module";

const FILE = "/oidc-provider/lib/helpers/initialize_app.js";
const GETTER =
  /let oidcCtx;\s+Object\.defineProperty\(ctx, 'oidc', \{\s+get: \(\) => \{\s+oidcCtx \|\|= new this\.OIDCContext\(ctx\);\s+return oidcCtx;\s+\},\s+\}\);/;

/**
 * Loads what loads the engine, and lets the engine keep what it knows of a request in a plain property of the request's
 * context.
 *
 * As published it defines a getter for each request, and to V8 a pair of getter and setter is old from the beginning:
 * all that a request held then outlives the small collections of garbage until the next large one, and its context
 * becomes a dictionary. That is a fifth to a third of what a token costs and half of its p99: docs/performance.md, "What
 * each lever gave". An engine whose source is another is left as it is.
 */
export async function withYoungRequests<T>(load: () => Promise<T>): Promise<T> {
  const hooks = registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      if (!url.endsWith(FILE) || loaded.source === undefined) return loaded;
      return { ...loaded, source: withPlainProperty(Buffer.from(loaded.source as Buffer)) };
    },
  });
  try {
    return await load();
  } finally {
    hooks.deregister();
  }
}

/** The module that {@link withYoungRequests} is about, with a value where it has a getter. */
function withPlainProperty(source: Buffer): string {
  return String(source).replace(
    GETTER,
    "Object.defineProperty(ctx, 'oidc', { value: new this.OIDCContext(ctx) });",
  );
}
