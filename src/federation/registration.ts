import { X509Certificate } from "node:crypto";
import type { IdentityProvider } from "../models/identity-provider.ts";
import type { SamlConnection } from "../models/saml-connection.ts";
import type { ConnectorSite } from "./connector.ts";
import { samlSettings } from "./saml/settings.ts";
import { spCertificates } from "./saml/sp-key.ts";

/** What is to be entered at the identity provider, by the names that things have there. */
export function registrationOf(
  provider: IdentityProvider,
  site: ConnectorSite,
): Record<string, string> {
  const login = site.callback.replace(/callback$/, "login");
  if (provider.saml != null) return samlRegistration(provider, provider.saml, site, login);
  const { privateKeyEnc, kind, settings } = provider;
  const publishesKey = privateKeyEnc !== null && settings["team_id"] === undefined;
  return {
    redirect_uri: site.callback,
    ...(kind === "oidc"
      ? {
          initiate_login_uri: login,
          post_logout_redirect_uri: site.signedOut,
          backchannel_logout_uri: site.callback.replace(/callback$/, "backchannel-logout"),
        }
      : {}),
    ...(publishesKey ? { jwks_uri: site.jwks } : {}),
  };
}

function samlRegistration(
  { settings }: IdentityProvider,
  saml: SamlConnection,
  site: ConnectorSite,
  login: string,
): Record<string, string> {
  const { sp_entity_id: entityId = site.metadata } = samlSettings.parse(settings);
  const [used, other] = spCertificates(saml).map((pem) => new X509Certificate(pem).fingerprint256);
  return {
    sp_metadata: site.metadata,
    entity_id: entityId,
    acs_url: site.acs,
    slo_url: site.slo,
    login_url: login,
    certificate_sha256: used ?? "",
    ...(other === undefined ? {} : { other_certificate_sha256: other }),
  };
}
