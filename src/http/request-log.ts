import { randomBytes } from "node:crypto";
import type { Middleware } from "koa";
import type { Logger } from "../lib/log.ts";

/** Crockford's alphabet: nothing in it can be misread aloud. */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** Path segments that are secrets or personal: the ids of interactions and of one-time links. */
const SECRET_SEGMENT = /^(\/+(?:interaction|auth|setup|device|verify|reset|undo|invite)\/+)[^/]+/;

/** What is as long as a secret may be one, wherever it was put. */
const LONG_SEGMENT = /[^/]{32,}/g;

/** Random bytes that were made together, and how many of them are used up. */
const RANDOM = { bytes: Buffer.alloc(0), used: 0 };
const REFERENCE_BYTES = 10;

/** What somebody can quote about a request: ten characters, 50 random bits. */
export function newReference(): string {
  if (RANDOM.used + REFERENCE_BYTES > RANDOM.bytes.length) {
    RANDOM.bytes = randomBytes(REFERENCE_BYTES * 400);
    RANDOM.used = 0;
  }
  let reference = "";
  for (const end = RANDOM.used + REFERENCE_BYTES; RANDOM.used < end; RANDOM.used += 1)
    reference += ALPHABET[(RANDOM.bytes[RANDOM.used] ?? 0) % 32];
  return reference;
}

/**
 * Gives each request an id that people can quote, and logs one line about it. No address, user agent, query or body
 * gets into the log.
 */
export function requestLog(log: Logger): Middleware {
  // What is logged here is named here, so there is nothing to look for that must not be.
  const lines = log.child({}, { redact: [] });
  return async (ctx, next) => {
    const startedAt = performance.now();
    const correlationId = newReference();
    ctx.state["correlationId"] = correlationId;
    ctx.set("X-Correlation-Id", correlationId);
    await next();
    lines.info(
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
