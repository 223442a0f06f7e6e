import type { Middleware } from 'koa';
import { errors } from '../errors.ts';

/**
 * Answers for the issuer's host only, and takes every absolute address from the issuer: neither Host nor any
 * X-Forwarded header can put another server's name into a page, a mail or a discovery document. Probes ask by
 * address, so `/healthz` and `/readyz` answer anybody.
 */
export function issuerHost(options: { issuer: string }): Middleware {
  const { host, protocol } = new URL(options.issuer);
  return (ctx, next) => {
    const { headers, rawHeaders } = ctx.req;
    const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && /^host$/i.test(name));
    if (hosts.length > 1) throw errors.badRequest('The request names more than one host.');
    if (headers.host !== host) throw errors.misdirected();
    delete headers['forwarded'];
    headers['x-forwarded-host'] = host;
    headers['x-forwarded-proto'] = protocol.slice(0, -1);
    return next();
  };
}
