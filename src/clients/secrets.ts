import type { TransactionOrKnex } from "objection";
import { record, type NewEvent } from "../audit/record.ts";
import { newSecret, sha256 } from "../lib/secret.ts";
import { OAuthClientSecret } from "../models/oauth-client-secret.ts";
import type { OAuthClient } from "../models/oauth-client.ts";

type Actor = NewEvent["actor"];

/** Makes a secret of 256 random bits for a client and stores its hash; the answer is the only copy there is (T-35). */
export async function addSecret(
  db: TransactionOrKnex,
  client: OAuthClient,
  actor: Actor,
  now: Date,
): Promise<string> {
  const secret = newSecret("ls");
  const { id } = await OAuthClientSecret.query(db).insert({
    clientId: client.id,
    secretHash: sha256(secret),
    hint: secret.slice(-4),
    createdAt: now,
  });
  const details = { secretId: id };
  await record(db, { type: "client.secret_added", actor, clientId: client.id, details });
  return secret;
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
