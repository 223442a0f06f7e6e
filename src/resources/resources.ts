import { UniqueViolationError, type TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { errors } from "../errors.ts";
import type { Issuer } from "../issuers.ts";
import { ApiResourceClient } from "../models/api-resource-client.ts";
import { ApiResource } from "../models/api-resource.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { Permission } from "../models/permission.ts";
import { parseApiDefinition, type ApiDefinition } from "./schema.ts";

const ACTOR: NewEvent["actor"] = { type: "system" };
const WHOLE = "[permissions(byName), clients.client, ownClient]";

type KnownIssuer = Pick<Issuer, "name" | "preset">;

/**
 * Defines an API. All writes of this file go through the given transaction, the audit events with them.
 *
 * @param input.issuer the name of the issuer it belongs to; the first one unless given.
 * @throws AppError `invalid_resource` with everything that is wrong; `unknown_client`.
 */
export async function createResource(
  db: TransactionOrKnex,
  input: { definition: unknown; issuer?: string | undefined },
  now: Date,
  issuers: readonly KnownIssuer[],
): Promise<ApiResource> {
  const issuer = issuerNamed(issuers, input.issuer ?? issuers[0]?.name ?? "");
  const definition = parseApiDefinition(input.definition, issuer.preset);
  const row = await ApiResource.query(db)
    .insertAndFetch({
      ...(await columnsOf(db, issuer.name, definition)),
      indicator: definition.identifier,
      issuer: issuer.name,
      createdAt: now,
      updatedAt: now,
    })
    .catch((error: unknown) => {
      if (!(error instanceof UniqueViolationError)) throw error;
      throw errors.invalidResource(`identifier ${definition.identifier} is in use`);
    });
  await replaceParts(db, row, definition, now);
  await record(db, {
    type: "resource.created",
    actor: ACTOR,
    target: targetOf(row),
    details: { name: row.name },
  });
  return getResource(db, row.indicator);
}

/** Every API, by its indicator, complete. */
export async function listResources(db: TransactionOrKnex): Promise<ApiResource[]> {
  return ApiResource.query(db)
    .withGraphFetched(WHOLE)
    .modifiers({ byName: (query) => query.orderBy("name") })
    .orderBy("indicator");
}

/** @throws AppError `unknown_resource` */
export async function getResource(db: TransactionOrKnex, indicator: string): Promise<ApiResource> {
  const row = await ApiResource.query(db)
    .findOne({ indicator })
    .withGraphFetched(WHOLE)
    .modifiers({ byName: (query) => query.orderBy("name") });
  if (row === undefined) throw errors.unknownResource(indicator);
  return row;
}

/**
 * Changes some of what is said of an API and checks the whole again; its identifier is its identity and stays.
 *
 * @param change makes the new definition from the old one.
 * @throws AppError `unknown_resource`, `invalid_resource`, `unknown_client`
 */
export async function updateResource(
  db: TransactionOrKnex,
  indicator: string,
  change: (old: ApiDefinition) => object,
  now: Date,
  issuers: readonly KnownIssuer[],
): Promise<ApiResource> {
  // One writer at a time: what is merged and checked is what is there when it is written.
  await ApiResource.query(db).findOne({ indicator }).forUpdate();
  const before = await getResource(db, indicator);
  const old = toDefinition(before);
  const { preset } = issuerNamed(issuers, before.issuer);
  const definition = parseApiDefinition({ ...change(old), identifier: indicator }, preset);
  await before
    .$query(db)
    .patch({ ...(await columnsOf(db, before.issuer, definition)), updatedAt: now });
  await replaceParts(db, before, definition, now);
  const fields = Object.keys(definition).filter(
    (field) =>
      JSON.stringify(Reflect.get(old, field)) !== JSON.stringify(Reflect.get(definition, field)),
  );
  await record(db, {
    type: "resource.updated",
    actor: ACTOR,
    target: targetOf(before),
    details: { fields },
  });
  return getResource(db, indicator);
}

/**
 * Deletes an API: from now on nobody gets a token for it. JWTs that were issued for it end by themselves.
 *
 * @throws AppError `unknown_resource`
 */
export async function deleteResource(db: TransactionOrKnex, indicator: string): Promise<void> {
  const row = await getResource(db, indicator);
  await row.$query(db).delete();
  await record(db, { type: "resource.deleted", actor: ACTOR, target: targetOf(row) });
}

/** An API as its operator defined it; needs all its relations fetched. */
export function toDefinition(row: ApiResource): ApiDefinition {
  return {
    identifier: row.indicator,
    name: row.name,
    permissions: Object.fromEntries(
      (row.permissions ?? []).map(({ name, description }) => [name, description]),
    ),
    levels: Object.fromEntries(
      (row.permissions ?? []).flatMap(({ name, level }) => (level === 1 ? [] : [[name, level]])),
    ),
    open_to: row.openTo,
    clients: Object.fromEntries(
      (row.clients ?? []).map(({ client, permissions }) => [client?.clientId ?? "", permissions]),
    ),
    token_format: row.tokenFormat,
    token_lifetime: row.tokenLifetime,
    signing_alg: row.signingAlg,
    own_client: row.ownClient?.clientId ?? null,
  };
}

async function columnsOf(db: TransactionOrKnex, issuer: string, definition: ApiDefinition) {
  const { own_client: clientId } = definition;
  return {
    name: definition.name,
    openTo: definition.open_to,
    tokenFormat: definition.token_format,
    tokenLifetime: definition.token_lifetime,
    signingAlg: definition.signing_alg,
    ownClientId: clientId === null ? null : await rowOfClient(db, issuer, clientId),
  };
}

async function replaceParts(
  db: TransactionOrKnex,
  { id: apiResourceId, issuer }: ApiResource,
  { permissions, levels, clients }: ApiDefinition,
  createdAt: Date,
): Promise<void> {
  await Permission.query(db).delete().where({ apiResourceId });
  for (const [name, description] of Object.entries(permissions))
    await Permission.query(db).insert({
      apiResourceId,
      name,
      description,
      level: levels[name] ?? 1,
      createdAt,
    });
  await ApiResourceClient.query(db).delete().where({ apiResourceId });
  for (const [name, names] of Object.entries(clients)) {
    const clientId = await rowOfClient(db, issuer, name);
    await ApiResourceClient.query(db).insert({ apiResourceId, clientId, permissions: names });
  }
}

async function rowOfClient(
  db: TransactionOrKnex,
  issuer: string,
  clientId: string,
): Promise<string> {
  const client = await OAuthClient.query(db).findOne({ clientId, issuer }).whereNull("deletedAt");
  if (client === undefined) throw errors.unknownClient(clientId);
  return client.id;
}

function issuerNamed(issuers: readonly KnownIssuer[], name: string): KnownIssuer {
  const found = issuers.find((issuer) => issuer.name === name);
  if (found !== undefined) return found;
  throw errors.invalidResource(`issuer ${name} is not one of this server's`);
}

function targetOf({ id }: ApiResource): { type: string; id: string } {
  return { type: "api_resource", id };
}
