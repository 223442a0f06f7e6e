import type { KoaContextWithOIDC, Provider } from "oidc-provider";
import { DECOUPLED_GRANTS } from "../issuers.ts";

/** Seconds between two questions of a client, until it asks too often (RFC 8628 §3.2, CIBA Core §7.3); the column's default. */
const INTERVAL = 5;
/** Where clients begin what is approved elsewhere, and what they must have registered for it. */
const GRANTS: Readonly<Record<string, string>> = {
  device_authorization: DECOUPLED_GRANTS.device,
  backchannel_authentication: DECOUPLED_GRANTS.ciba,
};

/**
 * Says how often a client may ask, calls one that did not register the grant by its name (RFC 6749 §5.2), and takes
 * back what the engine advertises but we do not offer.
 */
export function sayWhatIsOffered(provider: Provider): void {
  provider.use(async (ctx: KoaContextWithOIDC, next) => {
    await next();
    if (typeof ctx.body !== "object" || ctx.body === null) return;
    const { route, client } = ctx.oidc ?? {};
    const grant = route === undefined ? undefined : GRANTS[route];
    if (grant !== undefined && ctx.status === 200) Object.assign(ctx.body, { interval: INTERVAL });
    if (grant !== undefined && ctx.status === 400 && client?.grantTypeAllowed(grant) === false)
      Object.assign(ctx.body, { error: "unauthorized_client" });
    if (route === "discovery" && "backchannel_user_code_parameter_supported" in ctx.body)
      Object.assign(ctx.body, { backchannel_user_code_parameter_supported: false });
  });
}
