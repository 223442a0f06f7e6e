import {
  createClient,
  deleteClient,
  getClient,
  listClients,
  rotateSecret,
  updateClient,
} from "../clients/clients.ts";
import { liveSecrets, toMetadata } from "../clients/metadata.ts";
import { errors } from "../errors.ts";
import type { OAuthClient } from "../models/oauth-client.ts";
import { CLIENT_OPTIONS, readMetadata } from "./client-flags.ts";
import { printFields, printJson, printTable, type Io } from "./io.ts";
import { PAGING, printNext, readPaging, readWhole } from "./paging.ts";
import { UsageError, verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** `lintel client …` */
export const CLIENT_VERBS: readonly Verb[] = [
  verb({
    name: "client add",
    summary: "register a client and show its secret, once",
    options: {
      ...CLIENT_OPTIONS,
      issuer: {
        type: "string",
        value: "NAME",
        help: "which of MORE_ISSUERS it belongs to; the first issuer unless said",
      },
      "client-id": {
        type: "string",
        value: "ID",
        help: "an identifier it already has; random unless said",
      },
    },
    async run({ io, values, json, config }) {
      const metadata = await readMetadata(io, values, "client add");
      const { "client-id": clientId, issuer } = values;
      const made = await withOperator({ io, config }, async ({ knex, seal }) => {
        const registrar = { issuers: config().issuers, seal };
        return knex.transaction((trx) =>
          createClient(trx, { metadata, clientId, issuer }, new Date(), registrar),
        );
      });
      printClient(io, made, json);
    },
  }),

  verb({
    name: "client list",
    summary: "list clients, the oldest first",
    options: PAGING,
    async run({ io, values, json, config }) {
      const { after, limit } = readPaging(values, "client list");
      const clients = await withOperator({ io, config }, ({ knex }) =>
        listClients(knex, { after, limit }),
      );
      if (json)
        return printJson(
          io,
          clients.map((client) => presentClient(client)),
        );
      printTable(
        io,
        ["client_id", "name", "type", "authentication", "grants", "created"],
        clients.map((client) => [
          client.clientId,
          client.name,
          client.applicationType,
          client.tokenEndpointAuthMethod,
          client.grantTypes.join(" "),
          client.createdAt.toISOString(),
        ]),
      );
      printNext(io, "client list", clients.at(-1)?.clientId, clients.length, limit);
    },
  }),

  verb({
    name: "client show",
    summary: "show a client and which secrets it has",
    words: ["client_id"],
    async run({ io, words: [clientId = ""], json, config }) {
      const client = await withOperator({ io, config }, async ({ knex }) => {
        const found = await getClient(knex, clientId);
        return found.$fetchGraph("secrets", { transaction: knex });
      });
      printClient(io, { client, secret: undefined }, json);
    },
  }),

  verb({
    name: "client update",
    summary: "change some of what is registered of a client",
    words: ["client_id"],
    options: {
      ...CLIENT_OPTIONS,
      unset: {
        type: "string",
        multiple: true,
        value: "FIELD",
        help: "take a field of the metadata back to its default",
      },
      "if-version": {
        type: "string",
        value: "N",
        help: "only if nobody changed it since it had this version",
      },
    },
    details:
      "What is not named stays. The output of `client show --json` can be edited and given back with --file;\n" +
      "its version then makes sure that nobody else changed the client meanwhile.",
    async run({ io, values, words: [clientId = ""], json, config }) {
      const change = await readChange(io, values, clientId);
      const updated = await withOperator({ io, config }, async ({ knex, seal }) => {
        const registrar = { issuers: config().issuers, seal };
        return knex.transaction((trx) =>
          updateClient(trx, clientId, change, new Date(), registrar),
        );
      });
      printClient(io, updated, json);
    },
  }),

  verb({
    name: "client rotate-secret",
    summary: "give a client another secret and show it, once",
    words: ["client_id"],
    options: {
      keep: {
        type: "string",
        value: "SECONDS",
        help: "how long the earlier secret still works; 86400 unless said",
      },
      "revoke-old": { type: "boolean", help: "the earlier secret stops working at once" },
    },
    async run({ io, values, words: [clientId = ""], json, config }) {
      const { keep, "revoke-old": revoke = false } = values;
      if (revoke && keep !== undefined)
        throw new UsageError("--keep and --revoke-old exclude each other.", "client rotate-secret");
      const seconds =
        keep === undefined ? undefined : readWhole("keep", keep, "client rotate-secret");
      const keepSeconds = revoke ? 0 : seconds;
      const rotated = await withOperator({ io, config }, async ({ knex, seal }) => {
        const registrar = { issuers: config().issuers, seal };
        return knex.transaction(async (trx) => {
          const made = await rotateSecret(trx, clientId, { keepSeconds }, new Date(), registrar);
          await made.client.$fetchGraph("secrets", { transaction: trx });
          return made;
        });
      });
      printClient(io, rotated, json);
    },
  }),

  verb({
    name: "client delete",
    summary: "delete a client and end everything that was issued to it",
    words: ["client_id"],
    async run({ io, words: [clientId = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => deleteClient(trx, clientId, {}, new Date())),
      );
      if (json) printJson(io, { client_id: clientId, deleted: true });
      else io.out(`Deleted ${clientId}.\n`);
    },
  }),
];

/** A change as options or as an edited `client show --json` give it. */
async function readChange(
  io: Io,
  values: Readonly<Record<string, unknown>> & {
    unset?: readonly string[] | undefined;
    "if-version"?: string | undefined;
  },
  clientId: string,
): Promise<{ metadata: Record<string, unknown>; ifVersion: number | undefined }> {
  const {
    client_id: fileId = clientId,
    version,
    client_id_issued_at: _issued,
    secrets: _secrets,
    ...metadata
  } = await readMetadata(io, values, "client update");
  if (fileId !== clientId)
    throw errors.invalidClientMetadata("client_id of the file is that of another client");
  for (const field of values.unset ?? []) metadata[field] = null;
  if (Object.keys(metadata).length === 0)
    throw new UsageError("There is nothing to change.", "client update");
  const given = values["if-version"];
  if (given !== undefined)
    return { metadata, ifVersion: readWhole("if-version", given, "client update") };
  return { metadata, ifVersion: typeof version === "number" ? version : undefined };
}

function printClient(
  io: Io,
  { client, secret }: { client: OAuthClient; secret: string | undefined },
  json: boolean,
): void {
  const shown = presentClient(client, secret);
  if (json) return printJson(io, shown);
  printFields(io, shown);
  if (secret !== undefined)
    io.out("\nThis is the only time that the secret is shown; only its hash is kept.\n");
}

/** A client as programs and people see one: the answer of RFC 7591 §3.2.1 where it has just got a secret. */
function presentClient(client: OAuthClient, secret?: string): Record<string, unknown> {
  const { secrets } = client;
  return {
    client_id: client.clientId,
    // 0: it does not expire (RFC 7591 §3.2.1).
    ...(secret === undefined ? {} : { client_secret: secret, client_secret_expires_at: 0 }),
    client_id_issued_at: Math.floor(client.createdAt.getTime() / 1000),
    version: client.version,
    ...toMetadata(client),
    ...(secrets === undefined
      ? {}
      : {
          secrets: liveSecrets(secrets, new Date()).map(({ hint, createdAt, expiresAt }) => ({
            ends_with: hint,
            created_at: createdAt.toISOString(),
            expires_at: expiresAt?.toISOString() ?? null,
          })),
        }),
  };
}
