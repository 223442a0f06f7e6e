import { hash, randomUUID } from "node:crypto";
import type { Context } from "koa";
import {
  errors,
  type AccessToken,
  type ClientCredentials,
  type Provider,
  type TokenEndpointGrantContext,
} from "oidc-provider";
import { checkDpopReplay, validateDpop } from "oidc-provider/lib/helpers/grants.js";
import type { CertificateHeaders } from "../http/client-certificate.ts";
import { ACCOUNTS_PATH, type Issuer } from "../issuers.ts";
import { certificateShown } from "./mutual-tls.ts";

const { InvalidToken } = errors;

/** What it takes to know what a token is bound to. */
interface AccountsNeeds {
  readonly issuer: Issuer;
  readonly config: { readonly mutualTls: CertificateHeaders | undefined };
}

/**
 * The API that the FAPI plans call with what they were given: userinfo is for OpenID Connect, and they also ask for
 * tokens without it. Whatever a token says, here it allows nothing but to see that it was good. Mounted where
 * `CONFORMANCE_SUITE_URL` is set.
 */
export function offerAccounts(provider: Provider, needs: AccountsNeeds): void {
  provider.use(async (ctx, next) => {
    if (ctx.path !== ACCOUNTS_PATH || ctx.method !== "GET") return next();
    // FAPI 1.0 Baseline §6.2.1: the server echoes what the client sent, or says something of its own.
    ctx.set("x-fapi-interaction-id", ctx.get("x-fapi-interaction-id") || randomUUID());
    ctx.set("cache-control", "no-store");
    try {
      const holder = await admit(provider, ctx, needs);
      ctx.body = { accounts: [{ holder, iban: "DE02120300000000202051" }] };
    } catch (error) {
      if (!(error instanceof errors.OIDCProviderError)) throw error;
      refuse(ctx, error);
    }
  });
}

/**
 * Whose token it is: one of ours that is good, in the header alone (FAPI 2.0 §5.3.4), with a proof of the key (RFC 9449
 * §7.1) or the certificate (RFC 8705 §3) that it is bound to.
 */
async function admit(
  provider: Provider,
  ctx: Context,
  { issuer, config }: AccountsNeeds,
): Promise<string> {
  const oidc = Object.assign(new provider.OIDCContext(ctx), {
    route: "accounts",
    urlFor: () => new URL(issuer.path + ACCOUNTS_PATH, ctx.href).href,
  });
  const asked = Object.assign(ctx, { oidc }) as unknown as TokenEndpointGrantContext;
  const value = oidc.getAccessToken({ acceptDPoP: true, acceptQueryParam: false });
  const proof = await validateDpop(provider, asked, value);
  const token =
    (await provider.AccessToken.find(value)) ?? (await provider.ClientCredentials.find(value));
  if (token?.clientId === undefined) throw new InvalidToken("access token not found");
  const certificate = certificateShown(issuer, config.mutualTls)(asked)?.certificate;
  const shown = certificate && hash("sha256", certificate.raw, "base64url");
  if (token["x5t#S256"] !== undefined && token["x5t#S256"] !== shown)
    throw new InvalidToken("failed x5t#S256 verification");
  await checkDpopReplay(provider, asked, proof, token.clientId, InvalidToken);
  if (token.jkt !== proof?.thumbprint) throw new InvalidToken("failed jkt verification");
  return holderOf(provider, token);
}

async function holderOf(
  provider: Provider,
  token: AccessToken | ClientCredentials,
): Promise<string> {
  if (token.kind !== "AccessToken") return token.clientId ?? "";
  const grant = await provider.Grant.find(token.grantId);
  if (grant?.clientId !== token.clientId || grant?.accountId !== token.accountId)
    throw new InvalidToken("the grant has ended");
  return token.accountId;
}

function refuse(ctx: Context, refusal: errors.OIDCProviderError): void {
  const { statusCode, error, error_description: why } = refusal;
  ctx.status = statusCode;
  // RFC 6750 §3.1: whoever shows nothing is told nothing but what to show.
  const said =
    ctx.get("authorization") === "" ? "" : ` error="${error}", error_description="${why}"`;
  for (const scheme of ["DPoP", "Bearer"]) ctx.append("www-authenticate", scheme + said);
  ctx.body = { error, error_description: why };
}
