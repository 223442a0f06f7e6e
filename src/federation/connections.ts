import type { Knex } from "knex";
import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { endSessions } from "../devices/sessions.ts";
import { errors } from "../errors.ts";
import type { Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import { Group } from "../models/group.ts";
import { Identity } from "../models/identity.ts";
import { Organization } from "../models/organization.ts";
import { OrganizationMember } from "../models/organization-member.ts";
import { Role } from "../models/role.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { SamlConnection } from "../models/saml-connection.ts";
import { Session } from "../models/session.ts";
import {
  completeCredentials,
  heldBy,
  readCredentials,
  sealCredentials,
} from "./client-credentials.ts";
import { siteOf } from "./connectors.ts";
import { mergePatch, readDefinition, withPreset, type Definition } from "./definition.ts";
import { metadataColumns, toColumns, toDefinition, toSamlColumns } from "./rows.ts";
import { importMetadata, type ImportedMetadata } from "./saml-metadata.ts";
import { forgetTokens } from "./tokens.ts";
import { createSpKey, sealSpKeys } from "./saml/sp-key.ts";

/** What connections are made and changed with. */
export interface ConnectionNeeds {
  readonly knex: Knex;
  readonly seal: Seal;
  /** The way to a provider's metadata. */
  readonly fetch: typeof fetch;
  readonly issuers: readonly Pick<Issuer, "name" | "url">[];
}

/** What an operator says of a connection, as JSON; docs/connections.md lists the fields. */
type Input = Readonly<Record<string, unknown>>;

const SYSTEM: NewEvent["actor"] = { type: "system" };
const WHOLE = "[saml, organization, domains(byName)]";
/** What a connection is, and what providers and people know it by. */
const FIXED = ["slug", "kind", "preset", "at_issuer"] as const;

/**
 * Defines a connection. Metadata at an address is read before the transaction, in which the audit event is as well.
 *
 * @param input the definition, with `client_secret`, `private_key` (PEM), and for a preset `parameters`.
 * @throws AppError `invalid_connection` with everything that is wrong; `unknown_client`.
 */
export async function createConnection(
  needs: ConnectionNeeds,
  input: Input,
  now: Date,
): Promise<IdentityProvider> {
  const { client_secret: _secret, private_key: _key, ...said } = input;
  const read = readDefinition(withPreset(said));
  const { definition } = read;
  const issuer = issuerNamed(needs.issuers, definition.at_issuer);
  const credentials = await completeCredentials(definition, await readCredentials(input));
  const metadata = await metadataOf(needs, definition, now);
  const id = uuidv7(now.getTime());
  const saml = await newSamlRow(needs.seal, { id, definition, metadata, issuer }, now);

  return needs.knex.transaction(async (trx) => {
    const organizationId = await readReferences(trx, definition);
    await IdentityProvider.query(trx)
      .insert({
        id,
        ...toColumns(read, metadata),
        organizationId,
        ...sealCredentials(needs.seal, id, credentials),
        createdAt: now,
        updatedAt: now,
      })
      .catch((error: unknown) => {
        if (!(error instanceof UniqueViolationError)) throw error;
        throw errors.invalidConnection(`slug ${definition.slug} is in use, so choose another`);
      });
    if (saml !== undefined) await SamlConnection.query(trx).insert(saml);
    const { slug, kind, preset } = definition;
    await record(trx, {
      type: "connection.created",
      actor: SYSTEM,
      target: { type: "identity_provider", id },
      details: { slug, kind, preset },
    });
    return getConnection(trx, slug);
  });
}

/** Every connection, by its slug, complete. */
export async function listConnections(db: TransactionOrKnex): Promise<IdentityProvider[]> {
  return IdentityProvider.query(db)
    .withGraphFetched(WHOLE)
    .modifiers({ byName: (query) => query.orderBy("domain") })
    .orderBy("slug");
}

/** @throws AppError `unknown_connection` */
export async function getConnection(
  db: TransactionOrKnex,
  slug: string,
): Promise<IdentityProvider> {
  const row = await IdentityProvider.query(db)
    .findOne({ slug })
    .withGraphFetched(WHOLE)
    .modifiers({ byName: (query) => query.orderBy("domain") });
  if (row === undefined) throw errors.unknownConnection(slug);
  return row;
}

/**
 * Changes some of what is said of a connection and checks the whole again. Switched off, it signs nobody in and ends
 * what it has signed in.
 *
 * @param change.given what is different (RFC 7396): objects are merged, `null` takes back to the default. Secrets that
 *   are not named stay.
 * @param change.ifVersion only if nobody changed it since it had this version.
 * @param change.force though people are linked who would be strangers to another issuer.
 * @throws AppError `unknown_connection`, `invalid_connection`, `connection_changed`, `connection_in_use`
 */
export async function updateConnection(
  needs: ConnectionNeeds,
  slug: string,
  change: { given: Input; ifVersion?: number | undefined; force?: boolean },
  now: Date,
): Promise<IdentityProvider> {
  const before = await getConnection(needs.knex, slug);
  const { ifVersion = before.version } = change;
  if (before.version !== ifVersion) throw errors.connectionChanged(before.version, ifVersion);
  const { client_secret: _secret, private_key: _key, ...given } = change.given;
  const old = toDefinition(before);
  const read = readDefinition(mergePatch(old, given));
  const { definition } = read;
  for (const field of FIXED)
    if ((definition[field] ?? null) !== (old[field] ?? null))
      throw errors.invalidConnection(`${field} stays as it is, so remove it, or add another`);
  const credentials = await completeCredentials(
    definition,
    await readCredentials(change.given),
    heldBy(needs.seal, before),
  );
  const metadata = await changedMetadata(needs, before, definition, now);
  const columns = toColumns(read, metadata);

  return needs.knex.transaction(async (trx) => {
    const organizationId = await readReferences(trx, definition);
    if (columns.issuer !== before.issuer && change.force !== true)
      await assertNobodyLinked(trx, before);
    const changed = await IdentityProvider.query(trx)
      .patch({
        ...columns,
        organizationId,
        ...sealCredentials(needs.seal, before.id, credentials),
        version: ifVersion + 1,
        updatedAt: now,
      })
      .where({ id: before.id, version: ifVersion });
    if (changed === 0) {
      const { version } = await getConnection(trx, slug);
      throw errors.connectionChanged(version, ifVersion);
    }
    if (definition.kind === "saml")
      await SamlConnection.query(trx)
        .findById(before.id)
        .patch({ ...toSamlColumns(definition), ...metadataColumns(metadata), updatedAt: now });
    if (organizationId !== before.organizationId) await OrganizationMember.leave(trx, before.id);
    const after = await getConnection(trx, slug);
    await Role.keepOnly(trx, { providerId: after.id, slugs: rolesStillMapped(before, after) });
    if (!after.keepAccess) await forgetTokens(trx, after.id);
    if (!after.enabled) await endSessionsThrough(trx, after.id, now);
    await record(trx, {
      type: "connection.updated",
      actor: SYSTEM,
      target: { type: "identity_provider", id: before.id },
      details: { slug, fields: changedFields(before, after) },
    });
    return after;
  });
}

/** The roles that a connection gives for what it gave them for before. */
function rolesStillMapped(before: IdentityProvider, after: IdentityProvider): string[] {
  const { roleMapping: old } = before;
  return Object.entries(after.roleMapping).flatMap(([role, value]) =>
    old[role] === value ? [role] : [],
  );
}

/** Who signs in through a connection, and who could not sign in any more without it. */
export interface Linked {
  readonly people: number;
  readonly stranded: number;
}

/**
 * Deletes a connection, with its domains, its traces, and the sign-ins that are on their way; what was begun through it
 * ends.
 *
 * @param options.force though people are linked, who are unlinked.
 * @returns who was unlinked.
 * @throws AppError `unknown_connection`; `connection_in_use` where clients offer it, or people are linked.
 */
export async function deleteConnection(
  db: TransactionOrKnex,
  slug: string,
  { force }: { force: boolean },
  now: Date,
): Promise<Linked> {
  // Nobody is linked meanwhile: who is about to be waits for this row.
  const row = await IdentityProvider.query(db).findOne({ slug }).forUpdate();
  if (row === undefined) throw errors.unknownConnection(slug);
  await assertNoClientOffers(db, slug);
  const linked = await linkedTo(db, row.id);
  if (linked.people > 0 && !force)
    throw errors.connectionInUse(
      `${inWords(linked)} Run it with --force to unlink them, or \`lintel connection update ${slug} --no-enabled\` to keep them.`,
    );
  await endSessionsThrough(db, row.id, now);
  await OrganizationMember.standByOthers(db, { providerId: row.id });
  await Identity.query(db).delete().where({ providerId: row.id });
  await row.$query(db).delete();
  await record(db, {
    type: "connection.deleted",
    actor: SYSTEM,
    target: { type: "identity_provider", id: row.id },
    details: { slug, unlinked: linked.people },
  });
  return linked;
}

/** Counts who signs in through a connection. */
export async function linkedTo(db: TransactionOrKnex, providerId: string): Promise<Linked> {
  const [counts] = await Identity.statement<Linked>(
    db,
    `SELECT count(*)::int AS people,
            (count(*) FILTER (WHERE NOT (
               EXISTS (SELECT FROM user_passwords p WHERE p.user_id = linked.user_id)
               OR EXISTS (SELECT FROM webauthn_credentials c WHERE c.user_id = linked.user_id)
               OR EXISTS (SELECT FROM identities i JOIN identity_providers o ON o.id = i.provider_id AND o.enabled
                           WHERE i.user_id = linked.user_id AND i.provider_id <> :providerId))))::int AS stranded
       FROM (SELECT DISTINCT user_id FROM identities WHERE provider_id = :providerId) linked`,
    { providerId },
  );
  return counts ?? { people: 0, stranded: 0 };
}

/** What an operator should know before people are unlinked. */
function inWords({ people, stranded }: Linked): string {
  return `People who are linked: ${people}. Of these without a password, a passkey or another connection to sign in with: ${stranded}.`;
}

async function assertNoClientOffers(db: TransactionOrKnex, slug: string): Promise<void> {
  const clients = await OAuthClient.query(db)
    .whereNull("deletedAt")
    .whereJsonSupersetOf("metadata:identity_providers", [slug])
    .orderBy("clientId");
  if (clients.length > 0)
    throw errors.connectionInUse(
      `Clients offer ${slug}: ${clients.map(({ clientId }) => clientId).join(", ")}. Take it out of their identity_providers first.`,
    );
}

async function endSessionsThrough(
  db: TransactionOrKnex,
  providerId: string,
  now: Date,
): Promise<void> {
  const begun = await Session.query(db)
    .whereIn("identityId", Identity.query(db).select("id").where({ providerId }))
    .whereNotNull("userId")
    .whereNull("endedAt");
  for (const [userId, sessions] of Map.groupBy(begun, (session) => session.userId ?? ""))
    await endSessions(
      db,
      sessions.map(({ uid }) => uid),
      { actor: SYSTEM, userId, reason: "admin_revoked" },
      now,
    );
}

/** @throws AppError `invalid_connection` where there is none of this name. */
export function issuerNamed(issuers: ConnectionNeeds["issuers"], name: string) {
  const found = issuers.find((issuer) => issuer.name === name);
  if (found !== undefined) return found;
  throw errors.invalidConnection(`at_issuer ${name} is not one of this server's issuers`);
}

async function metadataOf(
  { fetch }: ConnectionNeeds,
  definition: Definition,
  now: Date,
): Promise<ImportedMetadata | undefined> {
  return definition.kind === "saml" ? importMetadata(fetch, definition, now) : undefined;
}

/** Read again where another address, another text or another entity was given; otherwise it stays as it is. */
async function changedMetadata(
  { fetch }: ConnectionNeeds,
  { saml, issuer }: IdentityProvider,
  definition: Definition,
  now: Date,
): Promise<ImportedMetadata | undefined> {
  if (definition.kind !== "saml" || saml == null) return undefined;
  const { metadata_xml: xml, metadata_url: url } = definition;
  if (xml !== undefined || (url !== undefined && url !== saml.metadataUrl))
    return importMetadata(fetch, definition, now);
  if (definition.issuer === issuer) return undefined;
  const { metadataXml, metadataFetchedAt: fetchedAt } = saml;
  const kept = await importMetadata(fetch, { ...definition, metadata_xml: metadataXml }, now);
  return { ...kept, fetchedAt };
}

/** With a key of its own, so that what one provider learns is of no use at another. */
async function newSamlRow(
  seal: Seal,
  {
    id,
    definition,
    metadata,
    issuer,
  }: {
    id: string;
    definition: Definition;
    metadata: ImportedMetadata | undefined;
    issuer: Pick<Issuer, "url">;
  },
  now: Date,
) {
  if (definition.kind !== "saml" || metadata === undefined) return undefined;
  const entityId = definition.settings.sp_entity_id ?? siteOf(issuer.url, definition.slug).metadata;
  return {
    providerId: id,
    ...toSamlColumns(definition),
    ...metadataColumns(metadata),
    ...sealSpKeys(seal, id, [await createSpKey(entityId, now)]),
    updatedAt: now,
  };
}

/** What a definition names must be there. @returns the organization that it is of. */
async function readReferences(
  db: TransactionOrKnex,
  definition: Definition,
): Promise<string | null> {
  await assertKnownClients(db, definition);
  await assertKnownGroups(db, definition);
  await assertKnownRoles(db, definition);
  const { organization: slug } = definition;
  if (slug === undefined) return null;
  const organization = await Organization.query(db).findOne({ slug });
  if (organization !== undefined) return organization.id;
  throw errors.invalidConnection(`organization ${slug} is none; see \`lintel organization list\``);
}

async function assertKnownClients(db: TransactionOrKnex, definition: Definition): Promise<void> {
  if (definition.kind === "saml") return;
  const { exchange_client_ids: clientIds, at_issuer: issuer } = definition;
  const known = await OAuthClient.query(db)
    .whereIn("clientId", clientIds)
    .where({ issuer })
    .whereNull("deletedAt");
  const missing = clientIds.filter((id) => !known.some(({ clientId }) => clientId === id));
  if (missing.length > 0)
    throw errors.invalidConnection(
      `exchange_client_ids has ${missing.join(", ")}, which is no client of this issuer; see \`lintel client list\``,
    );
}

/** Groups are made first, so that a misspelt name does not go unnoticed. */
async function assertKnownGroups(db: TransactionOrKnex, definition: Definition): Promise<void> {
  const names = Object.keys(definition.group_mapping);
  const known = await Group.query(db).whereIn("name", names);
  const missing = names.filter((name) => !known.some((group) => group.name === name));
  if (missing.length > 0)
    throw errors.invalidConnection(
      `group_mapping has ${missing.join(", ")}, which is no group; see \`lintel group list\``,
    );
}

async function assertKnownRoles(db: TransactionOrKnex, definition: Definition): Promise<void> {
  const slugs = Object.keys(definition.role_mapping);
  const known = await Role.query(db).whereIn("slug", slugs);
  const missing = slugs.filter((slug) => !known.some((role) => role.slug === slug));
  if (missing.length > 0)
    throw errors.invalidConnection(
      `role_mapping has ${missing.join(", ")}, which is no role; see \`lintel role list\``,
    );
}

async function assertNobodyLinked(
  db: TransactionOrKnex,
  provider: IdentityProvider,
): Promise<void> {
  const linked = await linkedTo(db, provider.id);
  if (linked.people > 0)
    throw errors.connectionInUse(
      `Another issuer does not know the people of ${provider.issuer ?? "this one"}. ${inWords(linked)} Add another connection, or run it with --force.`,
    );
}

/** Names only: what is secret is not told. */
function changedFields(before: IdentityProvider, after: IdentityProvider): string[] {
  const [old, now] = [everything(before), everything(after)];
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].filter(
    (field) => JSON.stringify(old[field]) !== JSON.stringify(now[field]),
  );
}

function everything(row: IdentityProvider): Record<string, unknown> {
  return {
    ...toDefinition(row),
    client_secret: row.clientSecretEnc,
    private_key: row.privateKeyEnc,
    metadata_xml: row.saml?.metadataXml,
  };
}
