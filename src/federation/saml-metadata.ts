import { X509Certificate } from "node:crypto";
import { errors } from "../errors.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { UpstreamError } from "./connector.ts";
import type { Definition } from "./definition.ts";
import { parseMetadata, type Endpoint, type IdpMetadata } from "./saml/metadata.ts";
import { fetchMetadata } from "./saml/refresh.ts";
import { workshop } from "./saml/workshop.ts";

/** The metadata of an identity provider as it is kept, and what it says. */
export interface ImportedMetadata {
  readonly xml: string;
  /** When it was read from its address; `null` where it was given. */
  readonly fetchedAt: Date | null;
  readonly says: IdpMetadata;
}

/**
 * Reads the metadata that a definition brings, as text or by its address.
 *
 * @throws AppError `invalid_connection` where there is none, it cannot be read, is not signed as it must be, or its
 *   time is over.
 */
export async function importMetadata(
  fetch: typeof globalThis.fetch,
  {
    metadata_xml: given,
    metadata_url: url,
    slug,
    issuer,
    settings,
  }: Extract<Definition, { kind: "saml" }>,
  now: Date,
): Promise<ImportedMetadata> {
  if (given === undefined && url === undefined)
    throw errors.invalidConnection("metadata_url or metadata_xml must be given for saml");
  const [xml, says] = await forOperators(async () => {
    const text = given ?? (await fetchMetadata(fetch, url ?? ""));
    const signedBy = settings.metadata_certificate;
    const job = { task: "metadata", xml: text, entityId: issuer, signedBy } as const;
    return [text, await workshop.do(slug, job)] as const;
  });
  if (says.validUntil !== undefined && says.validUntil <= now)
    throw errors.invalidConnection(
      `metadata was good until ${says.validUntil.toISOString()}, so get a newer one`,
    );
  return { xml, fetchedAt: given === undefined ? now : null, says };
}

/** What is different in the metadata that waits for an operator, in words. */
export function pendingChanges({ saml, issuer }: IdentityProvider): string[] {
  if (saml?.pendingXml == null) return [];
  const entityId = issuer ?? undefined;
  return changesBetween(
    parseMetadata(saml.metadataXml, entityId),
    parseMetadata(saml.pendingXml, entityId),
  );
}

/** What two versions of a provider's metadata do not have in common, as far as it matters. */
function changesBetween(before: IdpMetadata, after: IdpMetadata): string[] {
  return [
    ...listChanges(
      "signing certificate",
      before.certificates.map(nameOf),
      after.certificates.map(nameOf),
    ),
    ...listChanges("sign-on address", before.signOn.map(spell), after.signOn.map(spell)),
    ...listChanges("logout address", before.logout.map(spell), after.logout.map(spell)),
  ];
}

/** A certificate as people tell them apart: its SHA-256 fingerprint and its last day. */
export function nameOf(pem: string): string {
  const { fingerprint256, validTo } = new X509Certificate(pem);
  return `${fingerprint256} until ${new Date(validTo).toISOString().slice(0, 10)}`;
}

/** What a provider did wrong, as an operator is told who is connecting it. */
export async function forOperators<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    const { message, hint } = error;
    throw errors.invalidConnection(
      `metadata cannot be used: ${message.replace(/\.$/, "")}.${hint === undefined ? "" : ` ${hint}`}`,
      error,
    );
  }
}

function spell({ binding, location }: Endpoint): string {
  return `${location} (${binding})`;
}

function listChanges(what: string, before: readonly string[], after: readonly string[]): string[] {
  return [
    ...after.filter((item) => !before.includes(item)).map((item) => `new ${what}: ${item}`),
    ...before.filter((item) => !after.includes(item)).map((item) => `no more ${what}: ${item}`),
  ];
}
