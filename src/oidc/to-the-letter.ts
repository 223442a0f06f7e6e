import {
  errors,
  Provider,
  type Client,
  type KoaContextWithOIDC,
  type ResponseType,
} from "oidc-provider";

import { levelNamed, levelsAskedFor, nameOfLevel, type LevelNames } from "../authn/levels.ts";
import type { Issuer } from "../issuers.ts";

/** Where the engine says something other than the specifications do, it is made to say what they do. */
export function keepToTheLetter(provider: Provider, { levels }: Pick<Issuer, "levels">): void {
  nameTheIssuer(provider);
  sayUnauthorized(provider);
  nameLevels(provider, levels);
}

/** Every answer to an authorization request carries `iss` (RFC 9207 §2), also beside an ID token; a JWT has its own. */
function nameTheIssuer(provider: Provider): void {
  provider.on("authorization.success", (ctx: KoaContextWithOIDC, answer = {}) => {
    const { responseMode } = ctx.oidc as { responseMode?: string };
    if (responseMode?.includes("jwt") !== true) answer["iss"] = provider.issuer;
  });
}

/**
 * What is offered, but not to this client, is `unauthorized_client`, not `invalid_request` (RFC 6749 §4.1.2.1, §5.2).
 */
function sayUnauthorized(provider: Provider): void {
  const { grantTypeAllowed, responseTypeAllowed } = provider.Client.prototype;
  Object.assign(provider.Client.prototype, {
    responseTypeAllowed(this: Client, type: ResponseType) {
      if (responseTypeAllowed.call(this, type)) return true;
      throw new errors.UnauthorizedClient("this client did not register the response_type");
    },
    grantTypeAllowed(this: Client, type: string) {
      if (grantTypeAllowed.call(this, type)) return true;
      const { oidc } = Provider.ctx ?? {};
      if (oidc?.route !== "token" || oidc.params?.["grant_type"] !== type) return false;
      throw new errors.UnauthorizedClient("this client did not register the grant type");
    },
  });
}

/**
 * The level of a session has the name by which the client asked for it (OIDC Core §5.5.1.1): the engine knows one name
 * only, and takes every other for unmet, however much better the sign-in was.
 */
function nameLevels(provider: Provider, levels: LevelNames): void {
  Object.defineProperty(provider.OIDCContext.prototype, "acr", {
    get(this: KoaContextWithOIDC["oidc"]) {
      const { session, params } = this;
      if (session?.accountId === undefined) return undefined;
      return nameOfLevel(levelNamed(session.acr), levelsAskedFor(params ?? {}), levels);
    },
  });
}
