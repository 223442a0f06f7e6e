import { randomBytes } from "node:crypto";
import type { Middleware } from "koa";
import type { Logger } from "../lib/log.ts";

/** Crockford's alphabet: nothing in it can be misread aloud. */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** Path segments that are secrets or personal: the ids of interactions and of one-time links. */
const SECRET_SEGMENT = /^(\/+(?:interaction|auth|setup|device|verify|reset|undo|invite)\/+)[^/]+/;

/** What is as long as a secret may be one, wherever it was put. */
const LONG_SEGMENT = /[^/]{32,}/g;

/**
 * Gives each request an id that people can quote, and logs one line about it. No address, user agent, query or body
 * gets into the log.
 */
export function requestLog(log: Logger): Middleware {
  return async (ctx, next) => {
    const startedAt = performance.now();
    const correlationId = [...randomBytes(10)].map((byte) => ALPHABET[byte % 32]).join("");
    ctx.state["correlationId"] = correlationId;
    ctx.set("X-Correlation-Id", correlationId);
    await next();
    log.info(
      {
        correlationId,
        method: ctx.method,
        path: ctx.path
          .replace(SECRET_SEGMENT, "$1:id")
          .replaceAll(LONG_SEGMENT, ":id")
          .slice(0, 200),
        status: ctx.status,
        ms: Math.round(performance.now() - startedAt),
      },
      "request",
    );
  };
}
