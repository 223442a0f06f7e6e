import { Router } from "@koa/router";
import type { Assets } from "../http/assets.ts";
import type { Issuer } from "../issuers.ts";
import { stateCookie } from "./session-state.ts";

export const CHECK_SESSION_PATH = "/session/check";

/** Nothing but its script, in whoever's frame: that is what it is for. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors *",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

/** The frame that clients ask whether the session is still the one they know (OIDC Session Management §3.2). */
export function checkSessionRoutes({ issuer, assets }: { issuer: Issuer; assets: Assets }): Router {
  const script = issuer.path + assets.href("check-session.js");
  const html = `<!doctype html>
<html lang="en">
<title>Session</title>
<script src="${script}" data-cookie="${stateCookie(issuer).name}"></script>
</html>
`;
  const router = new Router();
  router.get(CHECK_SESSION_PATH, (ctx) => {
    ctx.remove("X-Frame-Options");
    ctx.set({
      "Content-Security-Policy": CONTENT_SECURITY_POLICY,
      "Cross-Origin-Resource-Policy": "cross-origin",
      "Cache-Control": "public, max-age=300",
    });
    ctx.type = "html";
    ctx.body = html;
  });
  return router;
}
