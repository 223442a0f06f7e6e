import { calculatePKCECodeChallenge, randomNonce, randomPKCECodeVerifier } from "openid-client";
import type { ConnectorSite, Departure, Leaving, Trace } from "../connector.ts";
import type { Oauth2Settings, OidcSettings } from "./settings.ts";

interface Destination {
  readonly clientId: string;
  readonly site: ConnectorSite;
  readonly settings: Oauth2Settings | OidcSettings;
  readonly authorization_endpoint: string;
  readonly code_challenge_methods_supported?: readonly string[] | undefined;
}

/** The authorization request (RFC 6749 §4.1.1) with what binds its answer to it: state and code challenge (RFC 7636). */
export async function departFor(
  destination: Destination,
  { state, loginHint, locales = [] }: Departure,
  trace: Trace,
): Promise<Leaving> {
  const { settings, clientId, site } = destination;
  const takesChallenge =
    destination.code_challenge_methods_supported?.includes("S256") !== false && settings.pkce;
  const verifier = takesChallenge ? randomPKCECodeVerifier() : undefined;
  const parameters = {
    ...settings.authorization_params,
    client_id: clientId,
    redirect_uri: site.callback,
    response_type: "code",
    scope: settings.scopes.join(" ") || undefined,
    state,
    response_mode: settings.response_mode,
    login_hint: loginHint,
    ui_locales: locales.join(" ") || undefined,
    ...(verifier === undefined
      ? {}
      : {
          code_challenge: await calculatePKCECodeChallenge(verifier),
          code_challenge_method: "S256",
        }),
  };
  const url = withParameters(destination.authorization_endpoint, parameters);
  trace("request made", {
    endpoint: destination.authorization_endpoint,
    redirect_uri: site.callback,
    scope: parameters.scope,
    pkce: takesChallenge,
  });
  const secrets = { state, ...(verifier === undefined ? {} : { code_verifier: verifier }) };
  return { to: { url }, secrets };
}

/** The same departure with what OpenID adds to it (OIDC Core §3.1.2.1): nonce, levels, and proof of a fresh sign-in. */
export function withOpenId(
  { to, secrets }: Leaving,
  settings: OidcSettings,
  isFresh: boolean,
): Leaving {
  const nonce = settings.nonce ? randomNonce() : undefined;
  const mustProve = isFresh && settings.max_age;
  const url = withParameters(to.url, {
    nonce,
    acr_values: settings.acr_values.join(" ") || undefined,
    ...(mustProve ? { prompt: "login", max_age: "0" } : {}),
  });
  return {
    to: { url },
    secrets: {
      ...secrets,
      ...(nonce === undefined ? {} : { nonce }),
      ...(mustProve ? { fresh_since: String(Math.floor(Date.now() / 1000)) } : {}),
    },
  };
}

/** An address with parameters in its query beside those that it has (RFC 6749 §3.1). */
export function withParameters(
  address: string,
  parameters: Readonly<Record<string, string | undefined>>,
): string {
  const url = new URL(address);
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) url.searchParams.set(name, value);
  return url.href;
}
