import type { Context, Middleware } from "koa";
import { errors } from "../errors.ts";
import type { Issuer } from "../issuers.ts";
import { isMachineEndpoint } from "./machines.ts";

/** A metadata document of an issuer with a path, whose address has the path behind the name (RFC 8414 §3.1). */
const WELL_KNOWN = /^(\/\.well-known\/(?:oauth-authorization-server|openid-configuration))(\/.*)$/;

/**
 * Finds the issuer that a request is for, and takes every absolute address from it: neither Host nor any X-Forwarded
 * header can put another server's name into a page, a mail or a discovery document. What comes after sees paths below
 * the issuer's own. Probes ask by address, so `/healthz` and `/readyz` answer anybody. Where clients show certificates
 * there are the endpoints of programs and nothing for people, whose cookies would come along (RFC 8705 §5).
 */
export function atIssuer(issuers: readonly Issuer[]): Middleware {
  const places = issuers
    .flatMap(placesOf)
    // The longest path first: the issuer at `/a` is not asked for what is below the one at `/a/b`.
    .sort((a, b) => b.issuer.path.length - a.issuer.path.length);
  return (ctx, next) => {
    const { headers, rawHeaders } = ctx.req;
    if (countOf("host", rawHeaders) > 1)
      throw errors.badRequest("The request names more than one host.");
    const here = places.filter(({ names }) => names.has(headers.host?.toLowerCase() ?? ""));
    const [first] = here;
    if (first === undefined) throw errors.misdirected();
    takePath(ctx, first.address.origin);
    const path = pathOf(ctx.path, here);
    const place = here.find(({ issuer }) => isBelow(path, issuer.path));
    if (place === undefined) throw errors.notFound();
    const below = path.slice(place.issuer.path.length) || "/";
    if (place.isForPrograms && !isMachineEndpoint(below)) throw errors.notFound();
    ctx.state["issuer"] = place.issuer;
    if (below !== ctx.path) ctx.path = below;
    Object.assign(ctx, { mountPath: place.issuer.path });
    // An object that something was deleted from is slow from then on.
    if (headers["forwarded"] !== undefined) delete headers["forwarded"];
    headers["x-forwarded-host"] = place.address.host;
    headers["x-forwarded-proto"] = place.address.protocol.slice(0, -1);
    return next();
  };
}

/** How often a header was sent, of names and values as they came; Node shows the first of some that are doubled. */
export function countOf(header: string, rawHeaders: readonly string[]): number {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === header.length && name.toLowerCase() === header) count += 1;
  }
  return count;
}

/** The issuer that {@link atIssuer} found. */
export function issuerFor(ctx: Context): Issuer | undefined {
  return ctx.state["issuer"] as Issuer | undefined;
}

/** Where an issuer is found: at its own address, and where clients show certificates. */
interface Place {
  readonly issuer: Issuer;
  readonly address: URL;
  readonly names: ReadonlySet<string>;
  readonly isForPrograms: boolean;
}

function placesOf(issuer: Issuer): Place[] {
  const place = (url: string, isForPrograms: boolean): Place => {
    const address = new URL(url);
    return { issuer, address, names: hostsOf(address), isForPrograms };
  };
  const origin = issuer.certificates?.origin;
  return [place(issuer.url, false), ...(origin === undefined ? [] : [place(origin, true)])];
}

function hostsOf({ host, hostname, port, protocol }: URL): Set<string> {
  // The port that a scheme has anyway may be said or left out (RFC 9110 §4.2.3).
  const names = new Set([host]);
  if (port === "") names.add(`${hostname}:${protocol === "https:" ? 443 : 80}`);
  return names;
}

/** The path with the issuer's in front, where both OpenID and OAuth put it behind the well-known name. */
function pathOf(path: string, here: readonly { issuer: Issuer }[]): string {
  const [, document = "", rest = ""] = WELL_KNOWN.exec(path) ?? [];
  const isOneOfOurs = here.some(({ issuer }) => issuer.path !== "" && issuer.path === rest);
  return isOneOfOurs ? rest + document : path;
}

/** Whether a path is another, or below it. */
export function isBelow(path: string, above: string): boolean {
  return path === above || path.startsWith(`${above}/`);
}

/**
 * A request may name a whole address instead of a path, and then that address counts (RFC 9112 §3.2.2); Koa would
 * make every absolute address from it.
 */
function takePath(ctx: Context, origin: string): void {
  if (ctx.url.startsWith("/")) return;
  const target = URL.parse(ctx.url);
  if (target === null) throw errors.badRequest("The request names no address.");
  if (target.origin !== origin) throw errors.misdirected();
  const path = `${target.pathname}${target.search}`;
  ctx.req.url = path;
  ctx.originalUrl = path;
  ctx.request.originalUrl = path;
}
