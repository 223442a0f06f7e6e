import type { Router } from "@koa/router";
import Koa, { type Middleware } from "koa";
import mount from "koa-mount";

/**
 * Many routers as one. A router holds a path against each of its routes, so those are passed by that have none with the same
 * first part: a request that is for none of them, such as the engine's, costs one look-up.
 *
 * @throws TypeError where the first part of a route is a pattern.
 */
export function routersAsOne(routers: readonly Router[]): Middleware {
  const byPart = new Map<string, Koa>();
  for (const router of routers)
    for (const part of new Set(pathsOf(router).map(firstPart))) {
      if (/[^\w./-]/.test(part)) throw new TypeError(`a route begins with the pattern ${part}`);
      const app = byPart.get(part) ?? new Koa();
      app.use(router.routes()).use(router.allowedMethods());
      byPart.set(part, app);
    }
  const answers = new Map([...byPart].map(([part, app]) => [part, mount(app)] as const));
  return (ctx, next) => {
    const answer = answers.get(firstPart(ctx.path));
    return answer === undefined ? next() : answer(ctx, next);
  };
}

/** What answers by itself: a middleware of a router runs only where one of these does. */
function pathsOf(router: Router): string[] {
  return router.stack.flatMap(({ path, methods }) => (methods.length > 0 ? String(path) : []));
}

/** Routers do not tell upper case from lower. */
function firstPart(path: string): string {
  const end = path.indexOf("/", 1);
  return (end < 0 ? path : path.slice(0, end)).toLowerCase();
}
