import ipaddr from "ipaddr.js";
import type { Middleware } from "koa";
import { errors } from "../errors.ts";

const LOCAL_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/**
 * Answers nobody but a browser on this machine that asked for this machine: by the connection, which nobody can forge,
 * and by the name, which keeps other sites' names for this machine out.
 */
export const localOnly: Middleware = (ctx, next) => {
  const peer = ctx.req.socket.remoteAddress ?? "";
  const isLocal = ipaddr.isValid(peer) && ipaddr.process(peer).range() === "loopback";
  if (!isLocal || !LOCAL_HOST.test(ctx.req.headers.host ?? "")) throw errors.notFound();
  return next();
};
