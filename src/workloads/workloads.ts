import type { TransactionOrKnex } from "objection";
import { z } from "zod";
import { record } from "../audit/record.ts";
import { httpsUri, serviceUri } from "../clients/addresses.ts";
import { keySet } from "../clients/key-set.ts";
import { errors } from "../errors.ts";
import { SIGNING_ALGORITHMS } from "../issuers.ts";
import { isUuid } from "../lib/uuid.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { Workload } from "../models/workload.ts";

/** The grant in which workloads show their tokens (RFC 7523 §2.1). */
export const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";

const ACTOR = { type: "system" } as const;

const workloadDefinition = z
  .strictObject({
    client_id: z.string(),
    issuer_url: httpsUri,
    jwks_uri: serviceUri.optional(),
    jwks: keySet.optional(),
    algorithms: z.array(z.enum(SIGNING_ALGORITHMS)).min(1).max(4).default(["RS256", "ES256"]),
    claims: z.record(z.string().min(1).max(100), z.string().min(1).max(500)),
  })
  .superRefine(({ jwks, jwks_uri: uri, claims }, context) => {
    const refuse = (message: string, ...path: string[]) =>
      context.addIssue({ code: "custom", message, path });
    if ((jwks === undefined) === (uri === undefined))
      refuse("must be given, or else jwks_uri, and not both", "jwks");
    if (claims["sub"] === undefined)
      refuse("must have sub, because an issuer's other workloads would pass as well", "claims");
    for (const [name, value] of Object.entries(claims))
      if (value.slice(0, -1).includes("*") || value === "*")
        refuse("may have a * at its end only, after what tells it from others", "claims", name);
  });

/**
 * Lets a workload elsewhere act as a client. Writes go through the given transaction, with their audit events.
 *
 * @throws AppError `invalid_workload` with everything that is wrong; `unknown_client`.
 */
export async function addWorkload(
  db: TransactionOrKnex,
  definition: unknown,
  now: Date,
): Promise<Workload> {
  const parsed = workloadDefinition.safeParse(definition);
  if (!parsed.success)
    throw errors.invalidWorkload(
      parsed.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`).join("; "),
    );
  const { client_id: clientId, jwks = null, jwks_uri: jwksUri = null, ...rest } = parsed.data;
  const client = await OAuthClient.query(db).findOne({ clientId }).whereNull("deletedAt");
  if (client === undefined) throw errors.unknownClient(clientId);
  if (!client.grantTypes.includes(JWT_BEARER))
    throw errors.invalidWorkload(`grant_types of the client must have ${JWT_BEARER}`);
  const row = await Workload.query(db).insertAndFetch({
    clientId: client.id,
    issuerUrl: rest.issuer_url,
    jwks,
    jwksUri,
    algorithms: rest.algorithms,
    claims: rest.claims,
    createdAt: now,
  });
  const target = { type: "workload", id: row.id };
  await record(db, { type: "workload.added", actor: ACTOR, clientId: client.id, target });
  return row.$fetchGraph("client", { transaction: db });
}

/** Every workload with its client, the oldest first. */
export async function listWorkloads(db: TransactionOrKnex): Promise<Workload[]> {
  return Workload.query(db).withGraphFetched("client").orderBy(["createdAt", "id"]);
}

/** The workloads of an issuer that are a client; `clientId` is the key of its row. */
export async function workloadsOf(
  db: TransactionOrKnex,
  clientId: string,
  issuerUrl: string,
): Promise<Workload[]> {
  return Workload.query(db).where({ clientId, issuerUrl }).orderBy("id");
}

/** @throws AppError `unknown_workload` */
export async function deleteWorkload(db: TransactionOrKnex, id: string): Promise<void> {
  const row = isUuid(id) ? await Workload.query(db).findById(id) : undefined;
  if (row === undefined) throw errors.unknownWorkload(id);
  await row.$query(db).delete();
  const target = { type: "workload", id };
  await record(db, { type: "workload.deleted", actor: ACTOR, clientId: row.clientId, target });
}
