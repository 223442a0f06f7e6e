import { record } from "../audit/record.ts";
import { errors } from "../errors.ts";
import { newSecret, sha256 } from "../lib/secret.ts";
import { isUuid } from "../lib/uuid.ts";
import { InitialAccessToken } from "../models/registration-token.ts";
import { printFields, printJson, printTable } from "./io.ts";
import { readWhole } from "./paging.ts";
import { UsageError, verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

const ACTOR = { type: "system" } as const;

/** `lintel registration-token …`: who may register clients where REGISTRATION is `token` (RFC 7591 §3). */
export const REGISTRATION_VERBS: readonly Verb[] = [
  verb({
    name: "registration-token add",
    summary: "make an initial access token for registering clients and show it, once",
    options: {
      name: { type: "string", value: "NAME", help: "whom it is for" },
      issuer: {
        type: "string",
        value: "NAME",
        help: "at which of MORE_ISSUERS it registers them; the first issuer unless said",
      },
      uses: {
        type: "string",
        value: "N",
        help: "how many clients it registers; any number unless said",
      },
      "expires-in": { type: "string", value: "SECONDS", help: "when it ends; never unless said" },
    },
    async run({ io, values, json, config }) {
      const now = new Date();
      const token = newSecret("lr");
      const { name = "unnamed", issuer = "", uses, "expires-in": seconds } = values;
      if (!config().issuers.some((each) => each.name === issuer))
        throw new UsageError(`--issuer ${issuer} is none of MORE_ISSUERS.`, "registration-token");
      const read = (option: string, text: string) =>
        readWhole(option, text, "registration-token add");
      const made = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction(async (trx) => {
          const row = await InitialAccessToken.query(trx).insertAndFetch({
            name,
            issuer,
            tokenHash: sha256(token),
            maxUses: uses === undefined ? null : Math.max(1, read("uses", uses)),
            expiresAt:
              seconds === undefined
                ? null
                : new Date(now.getTime() + read("expires-in", seconds) * 1000),
            createdAt: now,
          });
          const target = { type: "initial_access_token", id: row.id };
          await record(trx, { type: "client.registration_token_created", actor: ACTOR, target });
          return row;
        }),
      );
      const shown = { id: made.id, name: made.name, initial_access_token: token };
      if (json) printJson(io, shown);
      else printFields(io, shown);
    },
  }),

  verb({
    name: "registration-token list",
    summary: "list the initial access tokens",
    async run({ io, json, config }) {
      const rows = await withOperator({ io, config }, async ({ knex }) =>
        InitialAccessToken.query(knex).orderBy("createdAt"),
      );
      const shown = rows.map((row) => ({
        id: row.id,
        name: row.name,
        issuer: row.issuer,
        uses: `${row.uses}${row.maxUses === null ? "" : ` of ${row.maxUses}`}`,
        expires: row.expiresAt?.toISOString() ?? "never",
        revoked: row.revokedAt?.toISOString() ?? "no",
      }));
      if (json) return printJson(io, shown);
      return printTable(
        io,
        ["id", "name", "issuer", "uses", "expires", "revoked"],
        shown.map((row) => Object.values(row)),
      );
    },
  }),

  verb({
    name: "registration-token revoke",
    summary: "end an initial access token; the clients it registered stay",
    words: ["id"],
    async run({ io, words: [id = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction(async (trx) => {
          const revoked = isUuid(id)
            ? await InitialAccessToken.query(trx).findById(id).patch({ revokedAt: new Date() })
            : 0;
          if (revoked === 0) throw errors.unknownRegistrationToken(id);
          const target = { type: "initial_access_token", id };
          await record(trx, { type: "client.registration_token_revoked", actor: ACTOR, target });
        }),
      );
      if (json) printJson(io, { id, revoked: true });
      else io.out(`Revoked ${id}.\n`);
    },
  }),
];
