import { Router } from "@koa/router";
import type { Issuer } from "../issuers.ts";

/**
 * Where password managers find their way to a person's own pages, and browsers learn which other sites may use our
 * passkeys.
 *
 * @param needs.issuers all of this process: those that share passkeys are related to each other.
 */
export function wellKnownRoutes(needs: { issuer: Issuer; issuers: readonly Issuer[] }): Router {
  const { issuer, issuers } = needs;
  const router = new Router({ prefix: "/.well-known" });

  // W3C, A Well-Known URL for Changing Passwords §3.
  router.get("/change-password", (ctx) => {
    ctx.status = 302;
    ctx.redirect(`${issuer.path}/account/password`);
  });

  const { relyingParty } = issuer;
  if (relyingParty === undefined) return router;

  // W3C, A Well-Known URL for Relying Party Passkey Endpoints §3.
  router.get("/passkey-endpoints", (ctx) => {
    const manage = `${issuer.url}/account/passkeys`;
    ctx.body = { enroll: `${manage}/new`, manage };
  });

  const related = relatedOrigins(issuer, issuers);
  // WebAuthn §5.11.
  if (related.length > 0)
    router.get("/webauthn", (ctx) => {
      ctx.body = { origins: related };
    });
  return router;
}

/** The origins on other sites whose pages may use this issuer's passkeys; none where it is not the site they belong to. */
function relatedOrigins({ url, relyingParty }: Issuer, issuers: readonly Issuer[]): string[] {
  const { hostname, origin } = new URL(url);
  if (relyingParty?.id !== hostname) return [];
  const shared = issuers.filter((other) => other.relyingParty?.id === hostname);
  const origins = new Set(shared.flatMap((other) => other.relyingParty?.origins ?? []));
  origins.delete(origin);
  return [...origins];
}
