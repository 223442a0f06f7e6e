import type { Client } from "oidc-provider";
import type { TransactionOrKnex } from "objection";
import { readIdentifier } from "../authn/identifier.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { Identity } from "../models/identity.ts";
import type { User } from "../models/user.ts";
import type { Progress } from "./flow.ts";

/** The connection that somebody signs in through: they must, it was chosen for them, or they may. */
export interface HomeRealm {
  readonly slug: string;
  readonly how: "forced" | "chosen" | "offered";
}

/**
 * Finds where somebody signs in before anybody looks whether they have an account, so that the answer says of a domain
 * that it has a connection, and of a person nothing. A domain whose people must use it comes first, whoever they turn
 * out to be; then what a link or the client says (`idp_hint`, `domain_hint`); then the domain of what was typed.
 */
export function homeRealm(
  connections: readonly IdentityProvider[],
  params: Readonly<Record<string, unknown>>,
  progress: Progress,
  { client, user }: { client: Client; user: User | undefined },
): HomeRealm | undefined {
  const typed = progress.identifier ?? progress.registration?.email;
  const own = (user?.emails ?? []).filter(({ verifiedAt }) => verifiedAt !== null);
  for (const address of [...own.map(({ email }) => email), typed]) {
    const found = ofDomain(connections, domainOf(address));
    if (found?.enforced === true) return { slug: found.provider.slug, how: "forced" };
  }
  if (progress.userId !== undefined || progress.isLocal === true) return undefined;
  const chosen = progress.connection ?? hinted(connections, params, progress);
  if (chosen !== undefined && isPermitted(client, chosen) && isAmong(connections, chosen))
    return { slug: chosen, how: "chosen" };
  const offered = ofDomain(connections, domainOf(typed));
  return offered === undefined ? undefined : { slug: offered.provider.slug, how: "offered" };
}

/** The connections that a client's sign-in page has buttons for: those that it names, or all that show one. */
export function offeredConnections(
  connections: readonly IdentityProvider[],
  client: Client,
): readonly IdentityProvider[] {
  const named = Array.isArray(client["identity_providers"]);
  return connections.filter(
    ({ slug, showButton }) => isPermitted(client, slug) && (named || showButton),
  );
}

/** Whether people may come to a client through a connection: one that names some takes no other. */
export function isPermitted(client: Client, slug: string): boolean {
  const named: unknown = client["identity_providers"];
  return !Array.isArray(named) || named.includes(slug);
}

function isAmong(connections: readonly IdentityProvider[], wanted: string): boolean {
  return connections.some(({ slug }) => slug === wanted);
}

/** The connection of somebody who can show nothing else when they are asked once more who they are. */
export async function onlyConnectionOf(
  db: TransactionOrKnex,
  userId: string,
  connections: readonly IdentityProvider[],
): Promise<HomeRealm | undefined> {
  const rows = await Identity.statement<{ provider_id: string }>(
    db,
    `SELECT provider_id FROM identities WHERE user_id = :userId
       AND NOT EXISTS (SELECT FROM user_passwords WHERE user_id = :userId)
       AND NOT EXISTS (SELECT FROM webauthn_credentials WHERE user_id = :userId)
     ORDER BY last_login_at DESC NULLS LAST`,
    { userId },
  );
  const found = rows
    .map(({ provider_id: id }) => connections.find((provider) => provider.id === id))
    .find((provider) => provider !== undefined);
  return found === undefined ? undefined : { slug: found.slug, how: "forced" };
}

/** What the client says of where the person signs in; what it says of who they are counts where that leaves no choice. */
function hinted(
  connections: readonly IdentityProvider[],
  { idp_hint: slug, domain_hint: domain, login_hint: login }: Readonly<Record<string, unknown>>,
  { identifier, stopped }: Progress,
): string | undefined {
  if (identifier !== undefined || stopped !== undefined) return undefined;
  if (typeof slug === "string") return slug;
  if (typeof domain === "string") return ofDomain(connections, domain.toLowerCase())?.provider.slug;
  const found = typeof login === "string" ? ofDomain(connections, domainOf(login)) : undefined;
  return found?.enforced === true ? found.provider.slug : undefined;
}

function ofDomain(
  connections: readonly IdentityProvider[],
  domain: string | undefined,
): { provider: IdentityProvider; enforced: boolean } | undefined {
  if (domain === undefined) return undefined;
  for (const provider of connections) {
    const proven = provider.domains?.find((one) => one.domain === domain);
    if (proven?.verifiedAt != null) return { provider, enforced: proven.enforceSso };
  }
  return undefined;
}

function domainOf(address: string | undefined): string | undefined {
  const read = address === undefined ? undefined : readIdentifier(address);
  return read?.kind === "email" ? read.value.slice(read.value.lastIndexOf("@") + 1) : undefined;
}
