import { X509Certificate } from "node:crypto";
import type { SamlConnection } from "../../models/saml-connection.ts";
import { UpstreamError, type Trace } from "../connector.ts";
import { SKEW } from "./checks.ts";
import type { IdpMetadata } from "./metadata.ts";
import { fetchMetadata } from "./refresh.ts";
import { spCertificates } from "./sp-key.ts";

const DAY = 86_400_000;

/**
 * Looks at everything that can be looked at without a person. An address that does not answer us is noted only: it is
 * for browsers, and may be one that only they can reach.
 *
 * @throws UpstreamError where sign-ins cannot work.
 */
export async function diagnose(
  {
    connection,
    metadata,
    fetch,
    now,
  }: {
    connection: SamlConnection;
    metadata: IdpMetadata;
    fetch: typeof globalThis.fetch;
    now: Date;
  },
  trace: Trace,
): Promise<void> {
  trace("metadata", {
    entityId: metadata.entityId,
    ageDays: daysSince(connection.metadataFetchedAt, now),
    validUntil: metadata.validUntil?.toISOString(),
    nameIdFormats: metadata.nameIdFormats,
    waitsForApproval: connection.pendingXml !== null,
  });
  if (connection.metadataUrl !== null) {
    const xml = await fetchMetadata(fetch, connection.metadataUrl);
    trace("metadata fetched", { url: connection.metadataUrl, characters: xml.length });
  }
  for (const pem of metadata.certificates) trace("provider's certificate", describe(pem, now));
  for (const [at, pem] of spCertificates(connection).entries())
    trace("our certificate", { isUsed: at === 0, ...describe(pem, now) });
  for (const { binding, location } of [...metadata.signOn, ...metadata.logout])
    await visit({ binding, location, fetch }, trace);
}

async function visit(
  {
    binding,
    location,
    fetch,
  }: { binding: string; location: string; fetch: typeof globalThis.fetch },
  trace: Trace,
): Promise<void> {
  const address = { binding, location };
  let answer: Response;
  try {
    answer = await fetch(location, { redirect: "manual" });
  } catch (error) {
    trace("endpoint not reached from here", { ...address, error: String(error) });
    return;
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  const ahead = Number.isNaN(date) ? undefined : Math.round((date - Date.now()) / 1000);
  trace("endpoint answered", { ...address, status: answer.status, clockAheadSeconds: ahead });
  if (ahead !== undefined && Math.abs(ahead) > SKEW)
    throw new UpstreamError(
      "misconfigured",
      "saml.clock",
      `The provider's clock differs from ours by ${ahead} seconds.`,
      { hint: "Keep both clocks by NTP: assertions are good for minutes only." },
    );
}

/** Whether a certificate has ended says nothing of its key, which is what is trusted; but some providers look. */
function describe(pem: string, now: Date): Record<string, unknown> {
  const { subject, validTo, publicKey, fingerprint256 } = new X509Certificate(pem);
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  return {
    subject,
    sha256: fingerprint256,
    key: [publicKey.asymmetricKeyType, modulusLength ?? namedCurve].join(" "),
    validUntil: new Date(validTo).toISOString(),
    daysLeft: Math.floor((Date.parse(validTo) - now.getTime()) / DAY),
  };
}

function daysSince(date: Date | null, now: Date): number | undefined {
  return date === null ? undefined : Math.floor((now.getTime() - date.getTime()) / DAY);
}
