import { UpstreamError, type Leaving, type Trace } from "../connector.ts";
import { jsonOf } from "./ask.ts";
import { brief } from "./authorization.ts";
import { withParameters } from "./departure.ts";
import type { ProviderMetadata } from "./metadata.ts";
import type { OidcSettings } from "./settings.ts";
import { sendAsClient, type TokenEndpoint } from "./tokens.ts";

/** Whether authorization requests are sent ahead: as the settings say, or the provider (RFC 9126 §5). */
export function mustPush(settings: OidcSettings, metadata: ProviderMetadata): boolean {
  return (
    settings.require_pushed_authorization_requests ||
    metadata.require_pushed_authorization_requests === true
  );
}

/**
 * Sends an authorization request ahead, so that the browser carries no more than a reference to it (RFC 9126 §2, §4).
 *
 * @throws UpstreamError `misconfigured` where the provider does not take it.
 */
export async function pushed(
  endpoint: TokenEndpoint,
  metadata: ProviderMetadata,
  { to, secrets }: Leaving,
  trace: Trace,
): Promise<Leaving> {
  const { pushed_authorization_request_endpoint: address, authorization_endpoint } = metadata;
  if (address === undefined)
    throw new UpstreamError(
      "misconfigured",
      "oauth.par",
      "The provider has no pushed_authorization_request_endpoint, and one was expected (RFC 9126 §5).",
      { hint: "Set require_pushed_authorization_requests to false, or let the provider offer it." },
    );
  const parameters = Object.fromEntries(new URL(to.url).searchParams);
  const what = "pushed authorization request endpoint";
  const reply = await sendAsClient(endpoint, { what, url: address }, parameters, trace);
  const { request_uri: reference, error, error_description: description } = jsonOf(reply);
  if (typeof reference !== "string")
    throw new UpstreamError(
      "misconfigured",
      "oauth.par",
      `The ${what} answered with status ${reply.status} and ${brief([error, description].join(" ")) || "no error code"}, where a request_uri was expected.`,
      { hint: "Check client ID, secret (or key), callback address and scopes." },
    );
  const { clientId } = endpoint.credentials;
  const url = withParameters(authorization_endpoint, {
    client_id: clientId,
    request_uri: reference,
  });
  return { to: { url }, secrets };
}
