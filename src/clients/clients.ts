import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { errors } from "../errors.ts";
import { presetOf, type Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { AuthorizationType } from "../models/authorization-type.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { endGrantsOfClient } from "./grants.ts";
import { needsPlainSecret, toMetadata, toRow, usesSecret } from "./metadata.ts";
import {
  METADATA_FIELDS,
  OPERATOR_ONLY,
  parseClientMetadata,
  type ClientMetadata,
} from "./schema.ts";
import { addSecret, revokeSecrets } from "./secrets.ts";

/** Who changes a client, for the audit. */
export type Actor = NewEvent["actor"];

/** A client, and its secret if one was made just now: this is the only time that it can be shown. */
export interface ClientWithSecret {
  readonly client: OAuthClient;
  readonly secret: string | undefined;
}

/** Where clients are registered. Without one it is the only issuer, with the preset `production`. */
export interface Registrar {
  readonly issuers: readonly Pick<Issuer, "name" | "preset">[];
  /** For clients whose algorithms need their secret. */
  readonly seal?: () => Promise<Seal>;
}

const DEFAULT_REGISTRAR: Registrar = { issuers: [{ name: "", preset: presetOf("production") }] };
const SYSTEM: Actor = { type: "system" };
const CLIENT_ID = /^[!-~]{1,512}$/;
const MAX_PAGE = 200;

/**
 * Registers a client. All writes of this file go through the given transaction, the audit events with them.
 *
 * @param input.clientId an identifier the client already has elsewhere; random unless given.
 * @param input.secret a secret the client already has; random unless given. Only where the client has one.
 * @param input.isDynamic whether it registers itself.
 * @param input.isFromDocument whether its identifier is the address that its metadata was read from.
 * @param input.issuer the name of the issuer it belongs to; the first one unless given.
 * @throws AppError `invalid_client_metadata` with everything that is wrong.
 */
export async function createClient(
  db: TransactionOrKnex,
  input: {
    metadata: unknown;
    clientId?: string | undefined;
    secret?: string | undefined;
    issuer?: string | undefined;
    isDynamic?: boolean;
    isFromDocument?: boolean;
    actor?: Actor;
  },
  now: Date,
  registrar: Registrar = DEFAULT_REGISTRAR,
): Promise<ClientWithSecret> {
  const issuer = issuerNamed(registrar, input.issuer ?? registrar.issuers[0]?.name ?? "");
  const metadata = parseClientMetadata(input.metadata, issuer.preset);
  await assertKnownTypes(db, metadata);
  await assertKnownConnections(db, metadata, issuer.name);
  const clientId = input.clientId ?? uuidv7(now.getTime());
  if (!CLIENT_ID.test(clientId))
    throw errors.invalidClientMetadata(
      "client_id must be 1 to 512 printable ASCII characters without spaces",
    );
  const { actor = SYSTEM } = input;
  const client = await OAuthClient.query(db)
    .insertAndFetch({
      ...toRow(metadata),
      clientId,
      issuer: issuer.name,
      isDynamic: input.isDynamic === true,
      fromDocument: input.isFromDocument === true,
      createdAt: now,
      updatedAt: now,
    })
    .catch((error: unknown) => {
      if (!(error instanceof UniqueViolationError)) throw error;
      throw errors.invalidClientMetadata(
        `client_id ${clientId} is in use or was, so choose another`,
      );
    });
  await record(db, {
    type: "client.created",
    actor,
    clientId: client.id,
    details: { name: client.name },
  });
  if (!usesSecret(metadata)) return { client, secret: undefined };
  const seal = await sealFor(registrar, metadata);
  const { secret: given } = input;
  const options = { actor, seal, ...(given === undefined ? {} : { secret: given }) };
  return { client, secret: await addSecret(db, client, options, now) };
}

function issuerNamed({ issuers }: Registrar, name: string): Registrar["issuers"][number] {
  const found = issuers.find((issuer) => issuer.name === name);
  if (found !== undefined) return found;
  const names = issuers.map((issuer) => issuer.name || "the first, without a name").join(", ");
  throw errors.invalidClientMetadata(`issuer ${name} is not one of this server's: ${names}`);
}

async function sealFor({ seal }: Registrar, metadata: ClientMetadata): Promise<Seal | undefined> {
  if (!needsPlainSecret(metadata)) return undefined;
  if (seal === undefined) throw new TypeError("a client that needs its secret needs a seal");
  return seal();
}

/** Clients from the oldest on, `limit` at most, beginning after the one whose public identifier is `after`. */
export async function listClients(
  db: TransactionOrKnex,
  { after, limit = 50 }: { after?: string | undefined; limit?: number | undefined } = {},
): Promise<OAuthClient[]> {
  const page = OAuthClient.query(db)
    .whereNull("deletedAt")
    .orderBy(["createdAt", "id"])
    .limit(Math.min(limit, MAX_PAGE));
  if (after === undefined) return await page;
  return await page.whereRaw(
    "(created_at, id) > (SELECT created_at, id FROM oauth_clients WHERE client_id = ?)",
    [after],
  );
}

/** @throws AppError `unknown_client` where there is none, or no longer. */
export async function getClient(db: TransactionOrKnex, clientId: string): Promise<OAuthClient> {
  const client = await OAuthClient.query(db).findOne({ clientId }).whereNull("deletedAt");
  if (client === undefined) throw errors.unknownClient(clientId);
  return client;
}

/**
 * Changes some of a client's metadata and checks the whole again; `null` takes a field back to its default. A client
 * that starts to authenticate by secret gets one, and one that stops loses those it has.
 *
 * @param change.ifVersion the version the change was made for; without it the last writer wins.
 * @throws AppError `invalid_client_metadata`, `unknown_client`, or `client_changed` (409) where `ifVersion` is not
 *   the current version.
 */
export async function updateClient(
  db: TransactionOrKnex,
  clientId: string,
  change: {
    metadata: Readonly<Record<string, unknown>>;
    ifVersion?: number | undefined;
    actor?: Actor;
  },
  now: Date,
  registrar: Registrar = DEFAULT_REGISTRAR,
): Promise<ClientWithSecret> {
  const before = await lockClient(db, clientId);
  if (change.ifVersion !== undefined && change.ifVersion !== before.version)
    throw errors.clientChanged(before.version, change.ifVersion);
  const { actor = SYSTEM } = change;
  const old = toMetadata(before);
  const { preset } = issuerNamed(registrar, before.issuer);
  const metadata = parseClientMetadata(merge(old, change.metadata), preset);
  await assertKnownTypes(db, metadata);
  await assertKnownConnections(db, metadata, before.issuer);
  const client = await OAuthClient.query(db).patchAndFetchById(before.id, {
    ...toRow(metadata),
    version: before.version + 1,
    updatedAt: now,
  });
  const fields = changedFields(old, metadata);
  await record(db, { type: "client.updated", actor, clientId: client.id, details: { fields } });
  const had = usesSecret(old);
  const has = usesSecret(metadata);
  // A secret of which only the hash is known is of no use to an algorithm that works with it.
  const isHidden = needsPlainSecret(metadata) && !needsPlainSecret(old);
  if (had && (!has || isHidden)) await revokeSecrets(db, client, { keepSeconds: 0, actor }, now);
  const secret =
    has && (!had || isHidden)
      ? await addSecret(db, client, { actor, seal: await sealFor(registrar, metadata) }, now)
      : undefined;
  return { client, secret };
}

/**
 * Replaces what a client has registered of itself (RFC 7592 §2.2): what is not named goes back to its default, and
 * what only an operator decides stays.
 *
 * @throws AppError `unknown_client`, `invalid_client_metadata`
 */
export async function replaceClient(
  db: TransactionOrKnex,
  clientId: string,
  { metadata, actor }: { metadata: Readonly<Record<string, unknown>>; actor: Actor },
  now: Date,
  registrar: Registrar,
): Promise<ClientWithSecret> {
  const omitted = [...METADATA_FIELDS].filter((field) => !OPERATOR_ONLY.has(field));
  const defaults = Object.fromEntries(omitted.map((field) => [field, null]));
  const change = { metadata: { ...defaults, ...metadata }, actor };
  return updateClient(db, clientId, change, now, registrar);
}

/**
 * Gives a client another secret. The earlier ones authenticate for `keepSeconds` more, a day unless said, so that the
 * new one can be rolled out without an outage; 0 revokes them at once.
 *
 * @throws AppError `unknown_client`; `invalid_client_metadata` where the client does not authenticate by secret.
 */
export async function rotateSecret(
  db: TransactionOrKnex,
  clientId: string,
  { keepSeconds = 86_400, actor = SYSTEM }: { keepSeconds?: number | undefined; actor?: Actor },
  now: Date,
  registrar: Registrar = DEFAULT_REGISTRAR,
): Promise<{ readonly client: OAuthClient; readonly secret: string }> {
  const client = await lockClient(db, clientId);
  const metadata = toMetadata(client);
  if (!usesSecret(metadata))
    throw errors.invalidClientMetadata(
      `token_endpoint_auth_method is ${client.tokenEndpointAuthMethod}, so this client has no secret`,
    );
  await revokeSecrets(db, client, { keepSeconds, actor }, now);
  const seal = await sealFor(registrar, metadata);
  return { client, secret: await addSecret(db, client, { actor, seal }, now) };
}

/**
 * Deletes a client: it can no longer authenticate, and everything that was issued to it is void. The row stays, so
 * that its identifier is never given to anybody else and the audit can be read.
 *
 * @throws AppError `unknown_client`
 */
export async function deleteClient(
  db: TransactionOrKnex,
  clientId: string,
  { actor = SYSTEM }: { actor?: Actor },
  now: Date,
): Promise<void> {
  const client = await lockClient(db, clientId);
  await client.$query(db).patch({
    status: "disabled",
    deletedAt: now,
    updatedAt: now,
    version: client.version + 1,
  });
  await revokeSecrets(db, client, { keepSeconds: 0, actor }, now);
  await endGrantsOfClient(db, client.id, now);
  await record(db, { type: "client.deleted", actor, clientId: client.id });
}

/** RFC 9396 §10: a client is registered for types that there are; while it is, none of them is deleted. */
async function assertKnownTypes(
  db: TransactionOrKnex,
  { authorization_details_types: types }: ClientMetadata,
): Promise<void> {
  if (types.length === 0) return;
  const known = await AuthorizationType.query(db).whereIn("type", types).forShare();
  const missing = types.filter((type) => !known.some((row) => row.type === type));
  if (missing.length > 0)
    throw errors.invalidClientMetadata(
      `authorization_details_types has ${missing.join(", ")}, which is not registered; see \`lintel authorization-type list\``,
    );
}

/** Nobody's page is to offer less than its operator meant because of a misspelt name. */
async function assertKnownConnections(
  db: TransactionOrKnex,
  { identity_providers: slugs = [] }: ClientMetadata,
  atIssuer: string,
): Promise<void> {
  if (slugs.length === 0) return;
  const known = await IdentityProvider.query(db)
    .whereIn("slug", slugs)
    .where({ atIssuer })
    .forShare();
  const missing = slugs.filter((slug) => !known.some((row) => row.slug === slug));
  if (missing.length > 0)
    throw errors.invalidClientMetadata(
      `identity_providers has ${missing.join(", ")}, which is no connection of this issuer; see \`lintel connection list\``,
    );
}

/** One writer at a time: what is merged and checked is what is there when it is written. */
async function lockClient(db: TransactionOrKnex, clientId: string): Promise<OAuthClient> {
  const client = await OAuthClient.query(db)
    .findOne({ clientId })
    .whereNull("deletedAt")
    .forUpdate();
  if (client === undefined) throw errors.unknownClient(clientId);
  return client;
}

function merge(
  old: ClientMetadata,
  change: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  // It follows from the grant types, which may change.
  const { response_types: derived, ...rest } = old;
  const kept = derived.some((answer) => answer !== "code") ? old : rest;
  const merged = Object.entries({ ...kept, ...change });
  return Object.fromEntries(merged.filter(([field, value]) => !isUnset(field, value)));
}

/** An unknown field stays, so that it is refused and not ignored. */
function isUnset(field: string, value: unknown): boolean {
  return value === undefined || (value === null && METADATA_FIELDS.has(field));
}

function changedFields(before: ClientMetadata, after: ClientMetadata): string[] {
  const fields = new Set([...Object.keys(before), ...Object.keys(after)]) as Set<
    keyof ClientMetadata
  >;
  return [...fields].filter(
    (field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]),
  );
}
