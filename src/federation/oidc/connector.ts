import { z } from "zod";
import type { IdentityProvider } from "../../models/identity-provider.ts";
import {
  UpstreamError,
  type Connector,
  type ConnectorNeeds,
  type ConnectorSite,
} from "../connector.ts";
import { Oauth2Connector } from "./oauth2.ts";
import { OidcConnector } from "./oidc.ts";
import { oauth2Settings, oidcSettings } from "./settings.ts";

/**
 * The connector for an identity provider of kind `oidc` or `oauth2`. It asks nobody anything yet.
 *
 * @throws UpstreamError `misconfigured` where the settings are not right, though they were when they were stored.
 */
export function openOidc(
  provider: IdentityProvider,
  site: ConnectorSite,
  needs: ConnectorNeeds,
): Connector {
  return provider.kind === "oauth2"
    ? new Oauth2Connector(provider, read(oauth2Settings, provider), site, needs)
    : new OidcConnector(provider, read(oidcSettings, provider), site, needs);
}

function read<Schema extends z.ZodType>(
  schema: Schema,
  { settings }: IdentityProvider,
): z.output<Schema> {
  const parsed = schema.safeParse(settings);
  if (parsed.success) return parsed.data;
  throw new UpstreamError("misconfigured", "oidc.settings", z.prettifyError(parsed.error), {
    hint: "Correct the settings of the connection.",
  });
}
