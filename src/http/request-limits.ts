import type { Middleware } from "koa";
import { errors } from "../errors.ts";

const LONGEST_TARGET = 8_000;
const LONGEST_VALUE = 4_000;
/** Longer than any e-mail address (RFC 5321 §4.5.3.1.3). */
const LONGEST_HINT = 255;

/**
 * The protocol's endpoints that take parameters, all of them in the body of a POST (RFC 6749 §2.3.1, §3.2). The
 * engine's router also takes capitals and a slash at the end.
 */
const PROTOCOL =
  /^\/(auth|request|backchannel|device(\/auth)?|token(\/introspection|\/revocation)?|session\/end(\/confirm)?)\/?$/i;

/**
 * Bounds what can be said in an address (T-08), and has it said in one place: a POST to the protocol's endpoints
 * that has a query as well could mean one thing to us and another to whoever reads the log (T-07).
 */
export function requestLimits(): Middleware {
  return (ctx, next) => {
    if (ctx.req.url !== undefined && ctx.req.url.length > LONGEST_TARGET) {
      throw errors.badRequest("The address of this request is too long.");
    }
    if (ctx.method === "POST" && ctx.querystring !== "" && PROTOCOL.test(ctx.path)) {
      throw errors.badRequest("Send the parameters of a POST in its body, not in its address.");
    }
    if (ctx.querystring !== "") {
      const problem = problemWith(new URLSearchParams(ctx.querystring));
      if (problem !== undefined) throw errors.badRequest(problem);
    }
    return next();
  };
}

/** What is wrong with the first parameter that is too long, or that has a character no text can be stored with. */
export function problemWith(parameters: Iterable<readonly [string, unknown]>): string | undefined {
  for (const [name, value] of parameters) {
    const most = name === "login_hint" ? LONGEST_HINT : LONGEST_VALUE;
    const isLong = typeof value === "string" && value.length > most && name !== "request";
    if (name.length > LONGEST_HINT) return "The name of a parameter is too long.";
    if (isLong) return `The parameter ${name} is too long.`;
    if (`${name}${typeof value === "string" ? value : ""}`.includes("\0"))
      return "A parameter has a NUL character.";
  }
  return undefined;
}
