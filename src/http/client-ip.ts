import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import type { Middleware } from "koa";

/**
 * The network that a request came from, `/24` or `/64`: exact enough to count tries, too coarse to be a person.
 * With trusted proxies in front it is the address that the outermost of them saw; anything else in X-Forwarded-For
 * was written by whoever sent the request.
 */
function ipPrefix(request: IncomingMessage, trustedProxies: number): string | undefined {
  const socket = request.socket.remoteAddress ?? "";
  return prefixOf(forwarded(request, trustedProxies) ?? "") ?? prefixOf(socket);
}

/** Puts {@link ipPrefix} where handlers find it. */
export function clientIp(trustedProxies: number): Middleware {
  return (ctx, next) => {
    ctx.state["ipPrefix"] = ipPrefix(ctx.req, trustedProxies);
    return next();
  };
}

function forwarded(request: IncomingMessage, trustedProxies: number): string | undefined {
  const header = request.headers["x-forwarded-for"];
  if (trustedProxies === 0 || header === undefined) return undefined;
  const addresses = String(header).split(",");
  return addresses[addresses.length - trustedProxies]?.trim();
}

function prefixOf(address: string): string | undefined {
  // Not ipaddr's own check, which reads "1" and "0x7f" as addresses too.
  if (isIP(address) === 0) return undefined;
  const parsed = ipaddr.process(address);
  const bits = parsed.kind() === "ipv4" ? 24 : 64;
  const bytes = parsed.toByteArray().map((byte, index) => (index * 8 < bits ? byte : 0));
  return `${ipaddr.fromByteArray(bytes).toString()}/${bits}`;
}
