import { X509Certificate } from "node:crypto";
import { errors, type AppError } from "../errors.ts";
import { UnsafeUrlError } from "../lib/fetch.ts";
import { UpstreamError } from "./connector.ts";
import type { Definition } from "./definition.ts";
import { parseMetadata, type Endpoint, type IdpMetadata } from "./saml/metadata.ts";

/** The metadata of an identity provider as it is kept, and what it says. */
export interface ImportedMetadata {
  readonly xml: string;
  /** When it was read from its address; `null` where it was given. */
  readonly fetchedAt: Date | null;
  readonly says: IdpMetadata;
}

/** Where it is, or what it is, and whose it should be. */
type Source = Pick<
  Extract<Definition, { kind: "saml" }>,
  "metadata_url" | "metadata_xml" | "issuer"
>;

/**
 * Reads the metadata that a definition brings, as text or by its address.
 *
 * @throws AppError `invalid_connection` where there is none, it cannot be read, or its time is over.
 */
export async function importMetadata(
  fetch: typeof globalThis.fetch,
  { metadata_xml: xml, metadata_url: url, issuer }: Source,
  now: Date,
): Promise<ImportedMetadata> {
  if (xml !== undefined) return { xml, fetchedAt: null, says: understand(xml, issuer, now) };
  if (url === undefined)
    throw errors.invalidConnection("metadata_url or metadata_xml must be given for saml");
  const fetched = await download(fetch, url);
  return { xml: fetched, fetchedAt: now, says: understand(fetched, issuer, now) };
}

/** What is different between two versions of a provider's metadata, in words; nothing where nobody need agree to it. */
export function changesBetween(before: IdpMetadata, after: IdpMetadata): string[] {
  const changes = [
    ...listChanges("signing certificate", before.certificates, after.certificates, nameOf),
    ...listChanges("sign-on address", before.signOn.map(spell), after.signOn.map(spell)),
    ...listChanges("logout address", before.logout.map(spell), after.logout.map(spell)),
  ];
  if (before.wantsSignedRequests !== after.wantsSignedRequests)
    changes.push(
      after.wantsSignedRequests ? "wants signed requests now" : "wants no signed requests any more",
    );
  return changes;
}

/** A certificate as people tell them apart. */
export function nameOf(pem: string): string {
  const { fingerprint256, validTo } = new X509Certificate(pem);
  return `${fingerprint256} until ${new Date(validTo).toISOString().slice(0, 10)}`;
}

async function download(fetch: typeof globalThis.fetch, url: string): Promise<string> {
  let answer: Response;
  try {
    answer = await fetch(url, {
      redirect: "follow",
      headers: { accept: "application/samlmetadata+xml, application/xml;q=0.9, text/xml;q=0.8" },
    });
  } catch (error) {
    throw unreachable(url, error);
  }
  if (answer.status !== 200)
    throw errors.invalidConnection(
      `metadata_url must answer with the metadata; ${url} answered with status ${answer.status}`,
    );
  return answer.text();
}

function unreachable(url: string, error: unknown): AppError {
  const { message, cause } = error as Error;
  const detail = cause instanceof Error ? `${message}: ${cause.message}` : message;
  const isPrivate =
    error instanceof UnsafeUrlError && (error.reason === "address" || error.reason === "port");
  const advice = isPrivate
    ? `If it is yours, list ${new URL(url).origin} in TRUSTED_ORIGINS.`
    : "Check the address, or give the metadata as a file.";
  return errors.invalidConnection(
    `metadata_url ${url} cannot be read: ${detail.replace(/\.$/, "")}. ${advice}`,
  );
}

function understand(xml: string, issuer: string | undefined, now: Date): IdpMetadata {
  let says: IdpMetadata;
  try {
    says = parseMetadata(xml, issuer);
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    const { message, hint } = error;
    throw errors.invalidConnection(
      `metadata cannot be used: ${message}${hint === undefined ? "" : `. ${hint}`}`,
    );
  }
  if (says.validUntil !== undefined && says.validUntil <= now)
    throw errors.invalidConnection(
      `metadata was good until ${says.validUntil.toISOString()}, so get a newer one`,
    );
  return says;
}

function spell({ binding, location }: Endpoint): string {
  return `${location} (${binding})`;
}

function listChanges(
  what: string,
  before: readonly string[],
  after: readonly string[],
  name = (item: string) => item,
): string[] {
  return [
    ...after.filter((item) => !before.includes(item)).map((item) => `new ${what} ${name(item)}`),
    ...before
      .filter((item) => !after.includes(item))
      .map((item) => `no more ${what} ${name(item)}`),
  ];
}
