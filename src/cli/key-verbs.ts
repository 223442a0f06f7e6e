import type { TransactionOrKnex } from "objection";
import { recordKeyChanges } from "../keys/record-changes.ts";
import { ensureKeys } from "../keys/keystore.ts";
import { JWKS_MAX_AGE, rotate, type RotationPlan } from "../keys/rotation.ts";
import { SigningKey } from "../models/signing-key.ts";
import { printJson, printTable, type Io } from "./io.ts";
import { readWhole } from "./paging.ts";
import { verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** `lintel keys …` */
export const KEY_VERBS: readonly Verb[] = [
  verb({
    name: "keys list",
    summary: "list the signing keys",
    async run({ io, json, config }) {
      const keys = await withOperator({ io, config }, ({ knex }) => findKeys(knex));
      printKeys(io, keys, json);
    },
  }),

  verb({
    name: "keys rotate",
    summary: "give every signing key a successor",
    options: {
      lead: {
        type: "string",
        value: "SECONDS",
        help: "how long the new keys are published before they sign; a day unless said",
      },
      retire: {
        type: "string",
        value: "SECONDS",
        help: "how long the old keys stay published after that; 15 days unless said",
      },
    },
    details:
      `Verifiers keep our keys for ${JWKS_MAX_AGE / 1000} seconds: with a shorter lead some will refuse tokens for a while.\n` +
      "For a leaked key, `--lead 0 --retire 0` replaces it at once and makes every token it signed invalid.",
    async run({ io, values, json, config }) {
      const plan = readPlan(values);
      const keys = await withOperator({ io, config }, async ({ knex, seal }) => {
        const opened = await seal();
        return knex.transaction(async (trx) => {
          const now = new Date();
          await ensureKeys(trx, opened, now);
          await recordKeyChanges(trx, await rotate(trx, opened, now, plan));
          return findKeys(trx);
        });
      });
      printKeys(io, keys, json);
    },
  }),
];

function readPlan({
  lead,
  retire,
}: {
  lead?: string | undefined;
  retire?: string | undefined;
}): RotationPlan {
  return {
    ...(lead === undefined ? {} : { lead: milliseconds("lead", lead) }),
    ...(retire === undefined ? {} : { retire: milliseconds("retire", retire) }),
  };
}

function milliseconds(flag: string, text: string): number {
  return readWhole(flag, text, "keys rotate") * 1000;
}

async function findKeys(db: TransactionOrKnex): Promise<SigningKey[]> {
  return SigningKey.query(db).where({ usage: "oidc_sig" }).orderBy(["alg", "createdAt", "kid"]);
}

function printKeys(io: Io, keys: readonly SigningKey[], json: boolean): void {
  if (json) return printJson(io, keys.map(presentKey));
  printTable(
    io,
    ["kid", "alg", "state", "signs from", "published until"],
    keys.map((key) => [
      key.kid,
      key.alg,
      key.state,
      key.activateAt.toISOString(),
      key.retireAt?.toISOString() ?? "",
    ]),
  );
}

/** A key as programs see it, without its private half. */
function presentKey(key: SigningKey): Record<string, unknown> {
  return {
    kid: key.kid,
    alg: key.alg,
    state: key.state,
    created_at: key.createdAt.toISOString(),
    signs_from: key.activateAt.toISOString(),
    published_until: key.retireAt?.toISOString() ?? null,
  };
}
