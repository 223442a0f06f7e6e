import type { IdentityProvider } from "../models/identity-provider.ts";
import type { Connector, ConnectorNeeds, ConnectorSite } from "./connector.ts";

/** Our addresses for one connection of an issuer. */
export function siteOf(issuerUrl: string, slug: string): ConnectorSite {
  const here = `${issuerUrl}/federation/${slug}`;
  return {
    callback: `${here}/callback`,
    acs: `${here}/acs`,
    slo: `${here}/slo`,
    metadata: `${here}/metadata`,
    jwks: `${here}/jwks`,
    signedOut: `${here}/signed-out`,
  };
}

/** The connectors of an issuer's connections. Each lives as long as its row is the same, with what it has learnt. */
export class Connectors {
  readonly #needs: ConnectorNeeds;
  readonly #issuerUrl: string;
  readonly #open = new Map<string, { edition: string; connector: Connector }>();

  constructor(needs: ConnectorNeeds, issuerUrl: string) {
    this.#needs = needs;
    this.#issuerUrl = issuerUrl;
  }

  async of(provider: IdentityProvider): Promise<Connector> {
    const open = await openerOf(provider.kind);
    const edition = [provider.version, provider.saml?.updatedAt.getTime()].join(" ");
    const known = this.#open.get(provider.id);
    if (known?.edition === edition) return known.connector;
    const site = siteOf(this.#issuerUrl, provider.slug);
    const connector = open(provider, site, this.#needs);
    this.#open.set(provider.id, { edition, connector });
    return connector;
  }
}

/** The code for a kind of provider is loaded for the first of them: most servers have not both, and many have none. */
async function openerOf(kind: IdentityProvider["kind"]) {
  return kind === "saml"
    ? (await import("./saml/connector.ts")).openSaml
    : (await import("./oidc/connector.ts")).openOidc;
}
