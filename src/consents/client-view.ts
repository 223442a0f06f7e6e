import type { Client } from "oidc-provider";
import { isKnownByAddress } from "../consents/consents.ts";
import { LANGUAGES } from "../i18n/languages.ts";
import type { ClientView, ClientWords } from "../views.ts";

/**
 * The client as its pages show it: name, the host the answer goes to, and links that are safe to follow. One that is
 * known by its address is shown with that host, because nothing else about it is certain, and without a picture.
 */
export function clientView(client: Client, redirectUri: unknown): ClientView {
  const isStranger = isKnownByAddress(client);
  const host = hostOf(isStranger ? client.clientId : redirectUri);
  const name = client.clientName ?? client.clientId;
  return {
    name,
    firstLetter: initial(name),
    ...words({ policyUri: client.policyUri, tosUri: client.tosUri }),
    ...(client.logoUri === undefined || isStranger ? {} : { logoOf: client.clientId }),
    ...(host === undefined ? {} : { host }),
    inLanguage: Object.fromEntries(
      LANGUAGES.map((language) => [
        language,
        words({
          name: client[`client_name#${language}`],
          policyUri: client[`policy_uri#${language}`],
          tosUri: client[`tos_uri#${language}`],
        }),
      ]),
    ),
  };
}

/** What there is of name and links. */
function words(said: { name?: unknown; policyUri: unknown; tosUri: unknown }): ClientWords {
  const policyUri = httpsOnly(said.policyUri);
  const tosUri = httpsOnly(said.tosUri);
  return {
    ...(typeof said.name === "string" ? { name: said.name, firstLetter: initial(said.name) } : {}),
    ...(policyUri === undefined ? {} : { policyUri }),
    ...(tosUri === undefined ? {} : { tosUri }),
  };
}

function initial(name: string): string {
  return [...name][0]?.toLocaleUpperCase() ?? "?";
}

/** An address from outside, if it can be shown as a link. */
export function httpsOnly(address: unknown): string | undefined {
  return typeof address === "string" && URL.parse(address)?.protocol === "https:"
    ? address
    : undefined;
}

/** Where an address leads, as far as it has a host. */
export function hostOf(redirectUri: unknown): string | undefined {
  if (typeof redirectUri !== "string") return undefined;
  return URL.parse(redirectUri)?.host || undefined;
}
