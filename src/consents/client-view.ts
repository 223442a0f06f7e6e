import type { Client } from "oidc-provider";
import type { ClientView } from "../views.ts";

/** The client as its pages show it: name, the host the answer goes to, and links that are safe to follow. */
export function clientView(client: Client, redirectUri: unknown): ClientView {
  const name = client.clientName ?? client.clientId;
  const host = hostOf(redirectUri);
  const policyUri = httpsOnly(client.policyUri);
  const tosUri = httpsOnly(client.tosUri);
  return {
    name,
    firstLetter: [...name][0]?.toLocaleUpperCase() ?? "?",
    ...(client.logoUri === undefined ? {} : { logoOf: client.clientId }),
    ...(host === undefined ? {} : { host }),
    ...(policyUri === undefined ? {} : { policyUri }),
    ...(tosUri === undefined ? {} : { tosUri }),
  };
}

/** An address from outside, if it can be shown as a link. */
export function httpsOnly(address: string | undefined): string | undefined {
  return address !== undefined && URL.parse(address)?.protocol === "https:" ? address : undefined;
}

function hostOf(redirectUri: unknown): string | undefined {
  if (typeof redirectUri !== "string") return undefined;
  return URL.parse(redirectUri)?.host || undefined;
}
