import {
  createResource,
  deleteResource,
  getResource,
  listResources,
  toDefinition,
  updateResource,
} from "../resources/resources.ts";
import type { ApiDefinition } from "../resources/schema.ts";
import type { ApiResource } from "../models/api-resource.ts";
import { printFields, printJson, printTable, type Io } from "./io.ts";
import { readWhole } from "./paging.ts";
import { UsageError, verb, type Options, type Values, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** What `resource add` and `resource update` can say. */
const DEFINITION = {
  permission: {
    type: "string",
    multiple: true,
    value: "NAME=TEXT",
    help: "a scope of the API, and what it means to people",
  },
  level: {
    type: "string",
    multiple: true,
    value: "NAME=LEVEL",
    help: "a permission and the level of sign-in that it takes: 2 is two factors, 3 a passkey",
  },
  "open-to": {
    type: "string",
    value: "WHOM",
    help: "whose people may use it: listed clients, unless said, or any of the issuer",
  },
  client: {
    type: "string",
    multiple: true,
    value: "CLIENT",
    help: "a client_id that may ask for it; after a space the permissions it may have, all unless said",
  },
  "token-format": { type: "string", value: "FORMAT", help: "jwt, unless said, or opaque" },
  "token-lifetime": {
    type: "string",
    value: "SECONDS",
    help: "from 60 to 3600; 600 unless said",
  },
  "signing-alg": {
    type: "string",
    value: "ALG",
    help: "what its JWTs are signed with; the issuer's first algorithm unless said",
  },
  "own-client": {
    type: "string",
    value: "CLIENT_ID",
    help: "the client that the API itself is, to ask about opaque tokens and to exchange those it is sent",
  },
} as const satisfies Options;

/** `lintel resource …`: APIs that access tokens are for (RFC 8707). */
export const RESOURCE_VERBS: readonly Verb[] = [
  verb({
    name: "resource add",
    summary: "define an API that access tokens are for",
    options: {
      identifier: {
        type: "string",
        required: true,
        value: "URI",
        help: "what requests name it by, and the audience of its tokens",
      },
      name: { type: "string", required: true, value: "NAME", help: "what people know it as" },
      ...DEFINITION,
      issuer: {
        type: "string",
        value: "NAME",
        help: "which of MORE_ISSUERS it belongs to; the first issuer unless said",
      },
    },
    async run({ io, values, json, config }) {
      const { identifier, name, issuer } = values;
      const definition = { identifier, name, ...readDefinition(values, "resource add") };
      const made = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) =>
          createResource(trx, { definition, issuer }, new Date(), config().issuers),
        ),
      );
      printResource(io, made, json);
    },
  }),

  verb({
    name: "resource list",
    summary: "list the APIs",
    async run({ io, json, config }) {
      const rows = await withOperator({ io, config }, ({ knex }) => listResources(knex));
      if (json) return printJson(io, rows.map(present));
      return printTable(
        io,
        ["identifier", "name", "permissions", "open_to", "tokens"],
        rows.map((row) => [
          row.indicator,
          row.name,
          (row.permissions ?? []).map(({ name }) => name).join(" "),
          row.openTo,
          `${row.tokenFormat}, ${row.tokenLifetime} s`,
        ]),
      );
    },
  }),

  verb({
    name: "resource show",
    summary: "show an API, its permissions and its clients",
    words: ["identifier"],
    async run({ io, words: [identifier = ""], json, config }) {
      const row = await withOperator({ io, config }, ({ knex }) => getResource(knex, identifier));
      printResource(io, row, json);
    },
  }),

  verb({
    name: "resource update",
    summary: "change some of what is said of an API",
    words: ["identifier"],
    options: {
      name: { type: "string", value: "NAME", help: "what people know it as" },
      ...DEFINITION,
      "remove-permission": {
        type: "string",
        multiple: true,
        value: "NAME",
        help: "take a permission away from everybody",
      },
      "remove-client": {
        type: "string",
        multiple: true,
        value: "CLIENT_ID",
        help: "a client that may no longer ask for it",
      },
    },
    details:
      "What is not named stays. A --permission or --client that is there already is replaced.",
    async run({ io, values, words: [identifier = ""], json, config }) {
      const { name } = values;
      const given = {
        ...(name === undefined ? {} : { name }),
        ...readDefinition(values, "resource update"),
      };
      const { "remove-permission": permissions = [], "remove-client": clients = [] } = values;
      if (Object.keys(given).length + permissions.length + clients.length === 0)
        throw new UsageError("There is nothing to change.", "resource update");
      const change = (old: ApiDefinition) => ({
        ...old,
        ...given,
        permissions: without({ ...old.permissions, ...given.permissions }, permissions),
        levels: without({ ...old.levels, ...given.levels }, permissions),
        clients: without({ ...old.clients, ...given.clients }, clients),
      });
      const updated = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) =>
          updateResource(trx, identifier, change, new Date(), config().issuers),
        ),
      );
      printResource(io, updated, json);
    },
  }),

  verb({
    name: "resource delete",
    summary: "delete an API; tokens for it are no longer issued",
    words: ["identifier"],
    async run({ io, words: [identifier = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => deleteResource(trx, identifier)),
      );
      if (json) printJson(io, { identifier, deleted: true });
      else io.out(`Deleted ${identifier}.\n`);
    },
  }),
];

/** The fields that the options give. @throws UsageError */
function readDefinition(values: Values<typeof DEFINITION>, verbName: string) {
  const lifetime = values["token-lifetime"];
  const given = {
    permissions: values.permission && readPermissions(values.permission, verbName),
    levels: values.level && readLevels(values.level, verbName),
    open_to: values["open-to"],
    clients: values.client && Object.fromEntries(values.client.map(readClient)),
    token_format: values["token-format"],
    token_lifetime:
      lifetime === undefined ? undefined : readWhole("token-lifetime", lifetime, verbName),
    signing_alg: values["signing-alg"],
    own_client: values["own-client"],
  };
  return Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as Partial<typeof given>;
}

/** `read=Read your notes`; the name ends at the first `=`. */
function readPermissions(texts: readonly string[], verbName: string): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, description] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
      if (name === undefined || description === undefined)
        throw new UsageError(
          "--permission must be NAME=TEXT, as in read='Read your notes'.",
          verbName,
        );
      return [name, description];
    }),
  );
}

/** `write=2`; `write=1` takes it away again. */
function readLevels(texts: readonly string[], verbName: string): Record<string, number> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, level] = /^(.+)=([123])$/.exec(text) ?? [];
      if (name === undefined)
        throw new UsageError("--level must be NAME=LEVEL, as in write=2.", verbName);
      return [name, Number(level)];
    }),
  );
}

/** `app read write`: a client and the permissions it may have; all of them where none is named. */
function readClient(text: string): [string, string[] | null] {
  const [clientId = "", ...permissions] = text.split(" ").filter((word) => word !== "");
  return [clientId, permissions.length === 0 ? null : permissions];
}

function without<Value>(
  all: Readonly<Record<string, Value>>,
  names: readonly string[],
): Record<string, Value> {
  return Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)));
}

function printResource(io: Io, row: ApiResource, json: boolean): void {
  const shown = present(row);
  if (json) printJson(io, shown);
  else printFields(io, shown);
}

/** An API as programs and people see one. */
function present(row: ApiResource): Record<string, unknown> {
  return { ...toDefinition(row), ...(row.issuer === "" ? {} : { issuer: row.issuer }) };
}
