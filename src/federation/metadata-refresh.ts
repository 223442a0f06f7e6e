import type { Knex } from "knex";
import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import { errors } from "../errors.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { SamlConnection } from "../models/saml-connection.ts";
import { getConnection } from "./connections.ts";
import { forOperators, pendingChanges } from "./saml-metadata.ts";
import { parseMetadata } from "./saml/metadata.ts";
import { refreshMetadata, type Refreshed } from "./saml/refresh.ts";

/**
 * Reads the metadata of a SAML connection again, now.
 *
 * @returns what became of it, and what waits for an operator.
 * @throws AppError `unknown_connection`; `invalid_connection` where it has no address, or what is there cannot be used.
 */
export async function refreshNow(
  needs: { knex: Knex; fetch: typeof globalThis.fetch },
  slug: string,
  now: Date,
): Promise<{ outcome: Refreshed; changes: readonly string[] }> {
  const provider = await samlConnection(needs.knex, slug);
  if (provider.saml.metadataUrl === null)
    throw errors.invalidConnection(
      `${slug} has no metadata_url; give it new metadata with \`lintel connection update ${slug} --metadata-file FILE\``,
    );
  const outcome = await forOperators(() => refreshMetadata(needs, provider, now));
  return { outcome, changes: pendingChanges(await getConnection(needs.knex, slug)) };
}

/**
 * Agrees to the metadata that waits for an operator.
 *
 * @returns what changed.
 * @throws AppError `unknown_connection`; `invalid_connection` where nothing waits.
 */
export async function acceptPending(
  knex: Knex,
  slug: string,
  now: Date,
): Promise<readonly string[]> {
  return knex.transaction(async (trx) => {
    const provider = await samlConnection(trx, slug);
    const changes = pendingChanges(provider);
    if (!(await approveMetadata(trx, provider, now)))
      throw errors.invalidConnection(`nothing waits for ${slug}, or it has just changed`);
    await record(trx, {
      type: "connection.metadata_accepted",
      actor: { type: "system" },
      target: { type: "identity_provider", id: provider.id },
      details: { slug, changes },
    });
    return changes;
  });
}

/**
 * Takes the metadata that waits for an operator.
 *
 * @returns whether there was any.
 */
export async function approveMetadata(
  db: TransactionOrKnex,
  provider: IdentityProvider & { saml: SamlConnection },
  now: Date,
): Promise<boolean> {
  const { pendingXml } = provider.saml;
  if (pendingXml === null) return false;
  const { validUntil } = parseMetadata(pendingXml, provider.issuer ?? undefined);
  const taken = await SamlConnection.query(db)
    .patch({
      metadataXml: pendingXml,
      metadataValidUntil: validUntil ?? null,
      pendingXml: null,
      updatedAt: now,
    })
    .where({ providerId: provider.id, pendingXml });
  return taken === 1;
}

async function samlConnection(
  db: Parameters<typeof getConnection>[0],
  slug: string,
): Promise<IdentityProvider & { saml: SamlConnection }> {
  const provider = await getConnection(db, slug);
  const { saml } = provider;
  if (saml == null) throw errors.invalidConnection(`${slug} is not a SAML connection`);
  return Object.assign(provider, { saml });
}
