import type { JWK } from "jose";
import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import { errors } from "../errors.ts";
import type { Seal } from "../keys/seal.ts";
import { IdentityProvider } from "../models/identity-provider.ts";
import { SamlConnection } from "../models/saml-connection.ts";
import { sealCredentials } from "./client-credentials.ts";
import { getConnection, issuerNamed, type ConnectionNeeds } from "./connections.ts";
import { siteOf } from "./connectors.ts";
import { isForDecryption, newConnectionKey, newDecryptionKey, openKeys } from "./oidc/keys.ts";
import { createSpKey, openSpKeys, sealSpKeys } from "./saml/sp-key.ts";

/**
 * The three steps in which our own key for a connection is changed: another one is published beside it, which the
 * provider takes note of; then that one is used, and the other one still published, so that the same step leads back;
 * then the other one is forgotten. At no time is there a key in use that the provider has not had time to learn.
 */
export type KeyStep = "publish" | "switch" | "retire";

/**
 * Takes one step.
 *
 * @throws AppError `unknown_connection`; `invalid_connection` where it is not the step's turn, or there is no key of
 *   ours; `connection_changed` where somebody else was faster.
 */
export async function rotateKey(
  needs: Pick<ConnectionNeeds, "knex" | "seal" | "issuers">,
  slug: string,
  step: KeyStep,
  now: Date,
): Promise<IdentityProvider> {
  const before = await getConnection(needs.knex, slug);
  const save =
    before.saml == null
      ? await rotatedJwks(needs.seal, before, step)
      : await rotatedSpKeys(needs, before, before.saml, step, now);
  return needs.knex.transaction(async (trx) => {
    const { id, version } = before;
    const changed = await IdentityProvider.query(trx)
      .patch({ version: version + 1, updatedAt: now })
      .where({ id, version });
    if (changed === 0)
      throw errors.connectionChanged((await getConnection(trx, slug)).version, version);
    await save(trx);
    await record(trx, {
      type: "connection.key_rotated",
      actor: { type: "system" },
      target: { type: "identity_provider", id },
      details: { slug, step },
    });
    return getConnection(trx, slug);
  });
}

type Save = (trx: TransactionOrKnex) => PromiseLike<unknown>;

async function rotatedSpKeys(
  { seal, issuers }: Pick<ConnectionNeeds, "seal" | "issuers">,
  { id, slug, atIssuer, settings }: IdentityProvider,
  saml: SamlConnection,
  step: KeyStep,
  now: Date,
): Promise<Save> {
  const { metadata } = siteOf(issuerNamed(issuers, atIssuer).url, slug);
  const entityId = (settings["sp_entity_id"] as string | undefined) ?? metadata;
  const keys = await stepped(openSpKeys(seal, saml), step, () => createSpKey(entityId, now));
  const columns = sealSpKeys(seal, id, keys);
  return (trx) =>
    SamlConnection.query(trx)
      .findById(id)
      .patch({ ...columns, updatedAt: now });
}

async function rotatedJwks(seal: Seal, provider: IdentityProvider, step: KeyStep): Promise<Save> {
  const { id, privateKeyEnc, settings } = provider;
  if (privateKeyEnc === null)
    throw errors.invalidConnection(
      "there is no key of ours to rotate, because the connection shows no private_key_jwt",
    );
  if (settings["team_id"] !== undefined)
    throw errors.invalidConnection(
      "the key is the provider's to make; give the new one with `connection update --private-key-file`",
    );
  const all = openKeys(seal, id, privateKeyEnc);
  const signing = all.filter((key) => !isForDecryption(key));
  const decrypting = all.filter(isForDecryption);
  const keys = [
    ...(signing.length === 0
      ? []
      : await stepped(signing, step, () => newConnectionKey(signing[0]?.alg))),
    ...(decrypting.length === 0 ? [] : await steppedDecryption(decrypting, step)),
  ];
  const columns = sealCredentials(seal, id, { secret: undefined, keys });
  return (trx) => IdentityProvider.query(trx).findById(id).patch(columns);
}

/** The last one is published, so that each older one can be forgotten; none of them is used by us. */
async function steppedDecryption(keys: readonly JWK[], step: KeyStep): Promise<readonly JWK[]> {
  if (step === "switch") return keys;
  if (step === "retire") return keys.slice(-1);
  if (keys.length > 1) throw published();
  return [...keys, await newDecryptionKey()];
}

/** Keys in their order: the first one is used, the other one is published beside it. */
async function stepped<Key>(
  keys: readonly Key[],
  step: KeyStep,
  create: () => Promise<Key>,
): Promise<readonly Key[]> {
  const hasOther = keys.length > 1;
  if (step === "publish") {
    if (!hasOther) return [...keys, await create()];
    throw published();
  }
  if (!hasOther)
    throw errors.invalidConnection(
      "no other key is published yet; leave --switch and --retire out",
    );
  return step === "switch" ? keys.toReversed() : keys.slice(0, 1);
}

function published() {
  return errors.invalidConnection(
    "another key is published already; use it with --switch, or end with --retire",
  );
}
