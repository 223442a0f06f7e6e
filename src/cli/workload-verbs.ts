import { readFile } from "node:fs/promises";
import { errors } from "../errors.ts";
import type { Workload } from "../models/workload.ts";
import { addWorkload, deleteWorkload, listWorkloads } from "../workloads/workloads.ts";
import { printFields, printJson, printTable } from "./io.ts";
import { UsageError, verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** `lintel workload …`: programs elsewhere whose own tokens stand for a client (RFC 7523 §2.1). */
export const WORKLOAD_VERBS: readonly Verb[] = [
  verb({
    name: "workload add",
    summary: "let the tokens of a CI system or a cluster stand for a client",
    options: {
      client: { type: "string", required: true, value: "CLIENT_ID", help: "the client it is here" },
      "issuer-url": { type: "string", required: true, value: "URL", help: "the iss of its tokens" },
      match: {
        type: "string",
        required: true,
        multiple: true,
        value: "CLAIM=VALUE",
        help: "what its tokens must say, sub at least; a VALUE may end with * after what is fixed",
      },
      "jwks-uri": { type: "string", value: "URL", help: "where its issuer publishes its keys" },
      jwks: { type: "string", value: "FILE", help: "the keys themselves, as a JSON file" },
      alg: {
        type: "string",
        multiple: true,
        value: "ALG",
        help: "what its tokens are signed with; RS256 or ES256 unless said",
      },
    },
    async run({ io, values, json, config }) {
      const { client, match, "jwks-uri": jwksUri, jwks, alg } = values;
      const definition = {
        client_id: client,
        issuer_url: values["issuer-url"],
        jwks_uri: jwksUri,
        jwks: jwks === undefined ? undefined : await readJson(jwks),
        algorithms: alg,
        claims: readClaims(match),
      };
      const made = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => addWorkload(trx, definition, new Date())),
      );
      if (json) printJson(io, present(made));
      else printFields(io, present(made));
    },
  }),

  verb({
    name: "workload list",
    summary: "list the workloads and the clients they are",
    async run({ io, json, config }) {
      const rows = await withOperator({ io, config }, ({ knex }) => listWorkloads(knex));
      if (json) return printJson(io, rows.map(present));
      return printTable(
        io,
        ["id", "client_id", "issuer_url", "claims"],
        rows.map((row) => [
          row.id,
          row.client?.clientId ?? "",
          row.issuerUrl,
          Object.entries(row.claims)
            .map(([name, value]) => `${name}=${value}`)
            .join(" "),
        ]),
      );
    },
  }),

  verb({
    name: "workload delete",
    summary: "let a workload no longer act as its client",
    words: ["id"],
    async run({ io, words: [id = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => deleteWorkload(trx, id)),
      );
      if (json) printJson(io, { id, deleted: true });
      else io.out(`Deleted ${id}.\n`);
    },
  }),
];

function readClaims(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, value] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
      if (name === undefined || value === undefined)
        throw new UsageError("--match must be CLAIM=VALUE.", "workload add");
      return [name, value];
    }),
  );
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw errors.invalidWorkload(`${path} cannot be read as JSON: ${(error as Error).message}`);
  }
}

function present(row: Workload): Record<string, unknown> {
  return {
    id: row.id,
    client_id: row.client?.clientId,
    issuer_url: row.issuerUrl,
    ...(row.jwksUri === null ? { jwks: row.jwks } : { jwks_uri: row.jwksUri }),
    algorithms: row.algorithms,
    claims: row.claims,
  };
}
