import type { TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import type { Seal } from "../keys/seal.ts";
import { newSecret, sha256 } from "../lib/secret.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { OAuthClientSecret } from "../models/oauth-client-secret.ts";
import type { OAuthClient } from "../models/oauth-client.ts";

type Actor = NewEvent["actor"];

/**
 * Makes a secret of 256 random bits for a client and stores its hash; the answer is the only copy there is (T-35).
 * With a seal it is stored encrypted as well, for clients whose algorithms need it.
 */
export async function addSecret(
  db: TransactionOrKnex,
  client: OAuthClient,
  {
    actor,
    seal,
    secret = newSecret("ls"),
  }: { actor: Actor; seal?: Seal | undefined; secret?: string },
  now: Date,
): Promise<string> {
  const id = uuidv7(now.getTime());
  await OAuthClientSecret.query(db).insert({
    id,
    clientId: client.id,
    secretHash: sha256(secret),
    secretEnc: seal === undefined ? null : seal.encrypt(secret, placeOf(id)),
    hint: secret.slice(-4),
    createdAt: now,
  });
  const details = { secretId: id };
  await record(db, { type: "client.secret_added", actor, clientId: client.id, details });
  return secret;
}

/** Opens a secret that {@link addSecret} encrypted. */
export function openSecret(seal: Seal, { id, secretEnc }: OAuthClientSecret): string | undefined {
  return secretEnc === null ? undefined : seal.decrypt(secretEnc, placeOf(id)).toString();
}

function placeOf(id: string): { table: string; column: string; id: string } {
  return { table: "oauth_client_secrets", column: "secret_enc", id };
}

/** Ends every live secret of a client: at once where `keepSeconds` is 0, otherwise that much later at the latest. */
export async function revokeSecrets(
  db: TransactionOrKnex,
  client: OAuthClient,
  { keepSeconds, actor }: { keepSeconds: number; actor: Actor },
  now: Date,
): Promise<void> {
  const live = OAuthClientSecret.query(db)
    .where({ clientId: client.id })
    .whereNull("revokedAt")
    .where((secret) => secret.whereNull("expiresAt").orWhere("expiresAt", ">", now));
  if (keepSeconds > 0) {
    const expiresAt = new Date(now.getTime() + keepSeconds * 1000);
    await live
      .where((secret) => secret.whereNull("expiresAt").orWhere("expiresAt", ">", expiresAt))
      .patch({ expiresAt });
    return;
  }
  const revoked = await live.patch({ revokedAt: now }).returning("id");
  for (const { id } of revoked) {
    const details = { secretId: id };
    await record(db, { type: "client.secret_revoked", actor, clientId: client.id, details });
  }
}
