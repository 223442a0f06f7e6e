import { randomBytes } from "node:crypto";
import type { JWK } from "jose";
import { UpstreamError, type ConnectorSite, type Trace } from "../connector.ts";
import { SKEW } from "./jwt.ts";
import type { ProviderMetadata } from "./metadata.ts";
import type { Oauth2Settings, OidcSettings } from "./settings.ts";
import { errorOf, requestTokens, type TokenEndpoint } from "./tokens.ts";

interface OidcTrial {
  readonly metadata: ProviderMetadata;
  readonly keys: readonly JWK[];
  readonly endpoint: TokenEndpoint;
  readonly settings: OidcSettings;
  readonly site: ConnectorSite;
  readonly algorithms: readonly string[];
}

/**
 * Tries what can be tried of an OpenID provider without a person, step by step.
 *
 * @throws UpstreamError at the first step that would stop a sign-in.
 */
export async function tryOidc(trial: OidcTrial, trace: Trace): Promise<void> {
  const { metadata, settings } = trial;
  tryClock(metadata, trace);
  tryKeys(trial, trace);
  tryMethods(trial, trace);
  trace("fresh sign-in", { provable: settings.max_age });
  trace("sign-out there", {
    address: metadata.end_session_endpoint ?? "none",
    returns_to: trial.site.signedOut,
    tells_us: metadata.backchannel_logout_supported === true,
  });
  await tryClient(trial.endpoint, trial.site, trace);
}

/** The same of a vendor of OAuth 2.0, which describes itself nowhere. */
export async function tryOauth2(
  endpoint: TokenEndpoint,
  settings: Oauth2Settings,
  site: ConnectorSite,
  trace: Trace,
): Promise<void> {
  trace("addresses", {
    authorization_endpoint: settings.authorization_endpoint,
    token_endpoint: settings.token_endpoint,
    userinfo_endpoint: settings.userinfo_endpoint,
  });
  await tryClient(endpoint, site, trace);
}

/** A token is refused that seems to be of the future, or of the past. */
function tryClock({ ahead }: ProviderMetadata, trace: Trace): void {
  if (ahead === undefined) {
    trace("clock not compared, because there was no Date header");
    return;
  }
  const seconds = Math.round(ahead / 1000);
  trace("clock compared", { provider_is_ahead_by_seconds: seconds });
  if (Math.abs(seconds) > SKEW)
    throw new UpstreamError(
      "expired",
      "oidc.clock",
      `The provider's clock is ${Math.abs(seconds)} seconds ${seconds > 0 ? "ahead of" : "behind"} ours, and at most ${SKEW} are allowed.`,
      { hint: "Let both servers keep time by NTP." },
    );
}

/** Whether any published key could verify an ID token. */
function tryKeys({ keys, algorithms, metadata }: OidcTrial, trace: Trace): void {
  const usable = keys.filter(
    ({ kty, use, alg }) =>
      ["RSA", "EC", "OKP"].includes(String(kty)) &&
      use !== "enc" &&
      (alg === undefined || algorithms.includes(alg)),
  );
  trace("keys read", {
    keys: keys.length,
    usable: usable.map(({ kty, kid, alg }) => [alg ?? kty, kid].join(" ")),
    id_token_signing_alg_values_supported: metadata.id_token_signing_alg_values_supported,
  });
  if (usable.length === 0)
    throw new UpstreamError(
      "misconfigured",
      "oidc.jwks",
      `None of the ${keys.length} keys at ${metadata.jwks_uri} can verify an ID token; one for ${algorithms.join(", ")} was expected.`,
      { hint: "Let the provider sign ID tokens with a key pair, RS256 for example." },
    );
}

/** Whether the provider knows the ways in which we speak to it. */
function tryMethods({ metadata, settings, endpoint }: OidcTrial, trace: Trace): void {
  const wanted: [string, string | undefined, readonly string[] | undefined][] = [
    [
      "token_endpoint_auth_method",
      endpoint.credentials.methodFor(metadata),
      metadata.token_endpoint_auth_methods_supported,
    ],
    ["response_mode", settings.response_mode, metadata.response_modes_supported],
    ...settings.scopes.map((scope): [string, string, readonly string[] | undefined] => [
      "scopes",
      scope,
      metadata.scopes_supported,
    ]),
  ];
  for (const [field, value, supported] of wanted)
    if (value !== undefined && supported?.includes(value) === false)
      trace("not among what the provider says it supports", { [field]: value, supported });
  trace("code challenge", {
    sent: settings.pkce && metadata.code_challenge_methods_supported?.includes("S256") !== false,
    supported: metadata.code_challenge_methods_supported ?? "not said",
  });
}

/** Asks for tokens with a code that nobody issued: a server that knows us says that the code is wrong (RFC 6749 §5.2). */
async function tryClient(
  endpoint: TokenEndpoint,
  { callback }: ConnectorSite,
  trace: Trace,
): Promise<void> {
  const parameters = {
    grant_type: "authorization_code",
    code: `lintel-test-${randomBytes(8).toString("hex")}`,
    redirect_uri: callback,
    code_verifier: randomBytes(32).toString("base64url"),
  };
  const refused = errorOf(await requestTokens(endpoint, parameters, trace));
  const error = refused?.error ?? "no error";
  const knowsUs = ["invalid_grant", "bad_verification_code"].includes(error);
  trace(knowsUs ? "client accepted" : "client not certain", { error, register: callback });
  if (/^(invalid|unauthorized)_client$|incorrect_client_credentials|^status 40[13]$/.test(error))
    throw new UpstreamError(
      "misconfigured",
      "oauth.client",
      `The token endpoint does not accept the client: ${error}, where invalid_grant was expected.`,
      { hint: "Check client ID and secret (or key), and token_endpoint_auth_method." },
    );
}
