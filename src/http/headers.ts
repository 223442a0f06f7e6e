import type { Context, Middleware, Next } from "koa";
import type { Issuer } from "../issuers.ts";
import { isBelow } from "./host.ts";
import { isMachineEndpoint } from "./machines.ts";

/** Addresses whose forms end, after redirects, at a client: browsers hold `form-action` against the whole chain. */
const PROTOCOL = /^\/(auth|interaction|session|device|ciba|federation|account\/connected)(\/|$)/;

const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  // Explicit, so that the engine can add the hash of its form_post script.
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  // No script of ours, and none of the engine's, writes HTML.
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const PERMISSIONS_POLICY = [
  "publickey-credentials-get=(self)",
  "publickey-credentials-create=(self)",
  "camera=()",
  "microphone=()",
  "geolocation=()",
].join(", ");

/** What a browser shall do with an answer that is no page, should it ever see one: nothing. */
const NO_PAGE = {
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

/** The headers that every answer has. They are set first, because the engine adds to the policy it finds. */
export function securityHeaders(issuers: readonly Issuer[]): Middleware {
  const isHttps = issuers.every(({ url }) => url.startsWith("https:"));
  // The longest first, as the issuer of a request is found.
  const paths = issuers.map(({ path }) => path).sort((a, b) => b.length - a.length);
  return (ctx, next) => {
    const { path } = ctx;
    const below = paths
      .filter((start) => isBelow(path, start))
      .map((start) => path.slice(start.length));
    const [own = path] = below;
    ctx.set(isMachineEndpoint(own) ? NO_PAGE : ofPages(below.some(isProtocol)));
    if (isHttps) ctx.set("Strict-Transport-Security", "max-age=63072000; includeSubDomains");
    return path === "/jwks" || path.startsWith("/.well-known/") ? mayBeKept(ctx, next) : next();
  };
}

function isProtocol(path: string): boolean {
  return PROTOCOL.test(path);
}

function ofPages(isOfProtocol: boolean): Record<string, string> {
  return {
    "Content-Security-Policy": isOfProtocol
      ? CONTENT_SECURITY_POLICY
      : `${CONTENT_SECURITY_POLICY}; form-action 'self'`,
    // An app that opened the sign-in in a pop-up keeps its window; nobody else shares ours.
    "Cross-Origin-Opener-Policy": isOfProtocol ? "same-origin-allow-popups" : "same-origin",
    // Other sites read what CORS lets them read, and embed nothing.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": PERMISSIONS_POLICY,
    // Nothing to other sites. Not `no-referrer`: browsers without Sec-Fetch-Site would then send our own forms with
    // `Origin: null`, like another site's (Fetch, "append a request Origin header").
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
  };
}

/** Key sets and metadata may be kept for a while; the lead time of key rotation is far longer. */
async function mayBeKept(ctx: Context, next: Next): Promise<void> {
  await next();
  if (ctx.status === 200) ctx.set("Cache-Control", "public, max-age=300");
}
