import { isDeepStrictEqual } from "node:util";
import { record } from "../../audit/record.ts";
import { writer } from "../../database/transaction.ts";
import { sha256 } from "../../lib/secret.ts";
import { IdentityProvider } from "../../models/identity-provider.ts";
import { ReplayGuard } from "../../models/replay-guard.ts";
import { SamlConnection } from "../../models/saml-connection.ts";
import { UpstreamError, type ConnectorNeeds, type Trace } from "../connector.ts";
import type { IdpMetadata } from "./metadata.ts";
import { samlSettings } from "./settings.ts";
import { workshop } from "./workshop.ts";

/** Seconds after which metadata is looked at again, at the latest and at the earliest, whatever it says. */
const DAY = 86_400;
const HOUR = 3_600;
const MINUTE = 60;

type Needs = Pick<ConnectorNeeds, "knex" | "fetch" | "log">;
type SamlProvider = IdentityProvider & { saml: SamlConnection };

/** What became of a look at a provider's metadata. */
export type Refreshed = "unchanged" | "taken" | "pending";

/**
 * Fetches metadata.
 *
 * @throws UpstreamError `unavailable`, where the address does not answer with a document.
 */
export async function fetchMetadata(fetch: typeof globalThis.fetch, url: string): Promise<string> {
  const headers = { accept: "application/samlmetadata+xml, application/xml, text/xml" };
  try {
    const answer = await fetch(url, { headers, redirect: "follow" });
    if (answer.status === 200) return await answer.text();
    throw new Error(`the status is ${answer.status}`);
  } catch (cause) {
    const why = (cause instanceof Error ? cause.message : String(cause)).replace(/\.$/, "");
    throw new UpstreamError(
      "unavailable",
      "saml.metadata_fetch",
      `The metadata at ${url} cannot be fetched: ${why}.`,
      {
        hint: `If it is yours and not public, list ${URL.parse(url)?.origin ?? url} in TRUSTED_ORIGINS, or give the file instead.`,
        cause,
      },
    );
  }
}

/**
 * Looks at a provider's metadata again (T-106). New certificates are taken where a known one stands beside them, which
 * is how a provider rolls its key over. Another set of certificates altogether, or other addresses, wait for an
 * operator; another entity ID is refused. Whatever goes wrong, what we have stays.
 */
export async function refreshMetadata(
  { knex, fetch }: Pick<Needs, "knex" | "fetch">,
  provider: SamlProvider,
  now: Date,
): Promise<Refreshed> {
  const { saml } = provider;
  if (saml.metadataUrl === null) return "unchanged";
  const xml = await fetchMetadata(fetch, saml.metadataUrl);
  // Noted before it is read: what cannot be used is not looked at again before the next time.
  await SamlConnection.query(knex).findById(provider.id).patch({ metadataFetchedAt: now });
  const { metadata_certificate: signedBy } = samlSettings.parse(provider.settings);
  const next = await readMetadata(provider, xml, signedBy);
  const known = await readMetadata(provider, saml.metadataXml);
  const isSafe = isContinued(known, next);
  const changes = isSafe
    ? { metadataXml: xml, metadataValidUntil: next.validUntil ?? null, pendingXml: null }
    : { pendingXml: xml };
  const seen = saml.pendingXml === null ? known : await readMetadata(provider, saml.pendingXml);
  await knex.transaction(async (trx) => {
    // Whoever changed the connection meanwhile knows better.
    const patched = await SamlConnection.query(trx)
      .patch({ updatedAt: now, ...changes })
      .where({ providerId: provider.id, metadataXml: saml.metadataXml });
    if (patched === 1 && !isSame(seen, next))
      await record(trx, {
        type: "connection.metadata_changed",
        actor: { type: "system" },
        target: { type: "identity_provider", id: provider.id },
        details: { slug: provider.slug, outcome: isSafe ? "taken" : "pending" },
      });
  });
  if (!isSafe) return "pending";
  return xml === saml.metadataXml ? "unchanged" : "taken";
}

/**
 * Looks at a provider's metadata out of turn, because a message came whose signature no known key made: it may have a
 * new one. Whatever anybody sends, that is once a minute for each connection (T-106).
 *
 * @returns the connection as it is now, where the provider's new metadata was taken.
 */
export async function refreshEarly(
  { knex, fetch }: Pick<Needs, "knex" | "fetch">,
  provider: SamlProvider,
  now: Date,
  trace: Trace,
): Promise<SamlConnection | undefined> {
  if (provider.saml.metadataUrl === null) return undefined;
  const key = sha256(`saml metadata\0${provider.id}`);
  const until = new Date(now.getTime() + MINUTE * 1000);
  if (!(await ReplayGuard.claim(await writer(knex), key, until, now))) {
    trace("metadata not looked at again, because a minute has not passed");
    return undefined;
  }
  try {
    const outcome = await refreshMetadata({ knex, fetch }, provider, now);
    trace("metadata looked at again", { outcome });
    return outcome === "taken" ? await SamlConnection.query(knex).findById(provider.id) : undefined;
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    trace("metadata not looked at again", { because: error.message });
    return undefined;
  }
}

/** Looks again at everything that is due. One provider that fails keeps no other from its turn. */
export async function refreshDueMetadata(needs: Needs, now: Date): Promise<void> {
  const providers = await IdentityProvider.query(needs.knex)
    .where({ kind: "saml", enabled: true })
    .withGraphJoined("saml")
    .whereNotNull("saml.metadataUrl");
  for (const provider of providers as SamlProvider[]) {
    const { slug } = provider;
    try {
      if (!(await isDue(provider, now))) continue;
      const outcome = await refreshMetadata(needs, provider, now);
      if (outcome !== "unchanged") needs.log.info({ connection: slug, outcome }, "SAML metadata");
    } catch (err) {
      needs.log.warn({ connection: slug, err }, "SAML metadata not refreshed");
    }
  }
}

/** What the provider wrote takes nobody's time but its own. */
function readMetadata(
  { id, issuer }: SamlProvider,
  xml: string,
  signedBy?: string,
): Promise<IdpMetadata> {
  return workshop.do(id, { task: "metadata", xml, entityId: issuer ?? undefined, signedBy });
}

/** After what its cacheDuration says or half of its time is over, but at least daily and at most hourly. */
async function isDue(provider: SamlProvider, now: Date): Promise<boolean> {
  const { metadataFetchedAt: fetchedAt, metadataXml } = provider.saml;
  if (fetchedAt === null) return true;
  const { cacheDuration = DAY, validUntil } = await readMetadata(provider, metadataXml);
  const time = validUntil === undefined ? Infinity : (+validUntil - +fetchedAt) / 1000;
  const seconds = Math.max(HOUR, Math.min(DAY, cacheDuration, time / 2));
  return +fetchedAt + seconds * 1000 <= +now;
}

/** Whether two versions say the same as far as it is a matter of security. */
function isSame(before: IdpMetadata, after: IdpMetadata): boolean {
  return isDeepStrictEqual(
    [before.certificates, before.signOn, before.logout],
    [after.certificates, after.signOn, after.logout],
  );
}

function isContinued(known: IdpMetadata, next: IdpMetadata): boolean {
  return (
    isDeepStrictEqual([next.signOn, next.logout], [known.signOn, known.logout]) &&
    next.certificates.some((certificate) => known.certificates.includes(certificate))
  );
}
