import { record } from "../audit/record.ts";
import { loadDefinitions, parseDefinition, type Text } from "../consents/authorization-types.ts";
import { errors } from "../errors.ts";
import { AuthorizationType } from "../models/authorization-type.ts";
import { readObject } from "./client-flags.ts";
import { printFields, printJson, printTable } from "./io.ts";
import { UsageError, verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

const ACTOR = { type: "system" } as const;

/** `lintel authorization-type …`: what clients can ask people to allow beyond scopes (RFC 9396). */
export const AUTHORIZATION_TYPE_VERBS: readonly Verb[] = [
  verb({
    name: "authorization-type add",
    summary: "register a type of authorization details, or replace the one of that name",
    options: {
      file: {
        type: "string",
        value: "FILE",
        help: "its definition as JSON, `-` for standard input",
      },
    },
    async run({ io, values: { file }, json, config }) {
      if (file === undefined) throw new UsageError("--file is missing", "authorization-type add");
      const definition = parseDefinition(
        await readObject(io, file, errors.invalidAuthorizationType),
      );
      const { type } = definition;
      const now = new Date();
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction(async (trx) => {
          await AuthorizationType.query(trx)
            .insert({ type, definition, createdAt: now, updatedAt: now })
            .onConflict("type")
            .merge(["definition", "updatedAt"]);
          await record(trx, { type: "authorization.type_saved", actor: ACTOR, details: { type } });
        }),
      );
      if (json) printJson(io, definition);
      else printFields(io, { type, fields: Object.keys(definition.properties).join(", ") });
    },
  }),

  verb({
    name: "authorization-type list",
    summary: "list the types of authorization details",
    async run({ io, json, config }) {
      const found = await withOperator({ io, config }, ({ knex }) => loadDefinitions(knex));
      const definitions = [...found.values()];
      if (json) return printJson(io, definitions);
      return printTable(
        io,
        ["type", "title", "fields"],
        definitions.map(({ type, title, properties }) => [
          type,
          anyOf(title),
          Object.keys(properties).join(", "),
        ]),
      );
    },
  }),

  verb({
    name: "authorization-type delete",
    summary: "delete a type of authorization details that no client is registered for",
    words: ["type"],
    async run({ io, words: [type = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction(async (trx) => {
          if (!(await AuthorizationType.remove(trx, type))) {
            const isThere = (await AuthorizationType.query(trx).findById(type)) !== undefined;
            throw isThere
              ? errors.authorizationTypeInUse(type)
              : errors.unknownAuthorizationType(type);
          }
          await record(trx, {
            type: "authorization.type_deleted",
            actor: ACTOR,
            details: { type },
          });
        }),
      );
      if (json) printJson(io, { type, deleted: true });
      else io.out(`Deleted ${type}.\n`);
    },
  }),
];

function anyOf(title: Text): string {
  return typeof title === "string" ? title : (title["en"] ?? Object.values(title)[0] ?? "");
}
