import type { TransactionOrKnex } from "objection";
import { OAuthGrant } from "../models/oauth-grant.ts";
import { RefreshToken } from "../models/refresh-token.ts";

/** Voids everything that was ever issued to a client; tokens are void because their grant is. */
export async function endGrantsOfClient(
  db: TransactionOrKnex,
  clientId: string,
  now: Date,
): Promise<void> {
  const grants = OAuthGrant.query(db).select("id").where({ clientId });
  await RefreshToken.query(db)
    .patch({ revokedAt: now })
    .whereIn("grantId", grants.clone())
    .whereNull("revokedAt");
  await OAuthGrant.query(db)
    .patch({ revokedAt: now, tokensValidAfter: now })
    .where({ clientId })
    .whereNull("revokedAt");
}
