import type { Client } from "oidc-provider";
import { isKnownByAddress } from "../consents/consents.ts";
import type { ClientView } from "../views.ts";

/**
 * The client as its pages show it: name, the host the answer goes to, and links that are safe to follow. One that is
 * known by its address is shown with that host, because nothing else about it is certain, and without a picture.
 */
export function clientView(client: Client, redirectUri: unknown): ClientView {
  const name = client.clientName ?? client.clientId;
  const isStranger = isKnownByAddress(client);
  const host = hostOf(isStranger ? client.clientId : redirectUri);
  const policyUri = httpsOnly(client.policyUri);
  const tosUri = httpsOnly(client.tosUri);
  return {
    name,
    firstLetter: [...name][0]?.toLocaleUpperCase() ?? "?",
    ...(client.logoUri === undefined || isStranger ? {} : { logoOf: client.clientId }),
    ...(host === undefined ? {} : { host }),
    ...(policyUri === undefined ? {} : { policyUri }),
    ...(tosUri === undefined ? {} : { tosUri }),
  };
}

/** An address from outside, if it can be shown as a link. */
export function httpsOnly(address: string | undefined): string | undefined {
  return address !== undefined && URL.parse(address)?.protocol === "https:" ? address : undefined;
}

/** Where an address leads, as far as it has a host. */
export function hostOf(redirectUri: unknown): string | undefined {
  if (typeof redirectUri !== "string") return undefined;
  return URL.parse(redirectUri)?.host || undefined;
}
