import type { TransactionOrKnex } from "objection";
import type { Seal } from "../keys/seal.ts";
import { Identity } from "../models/identity.ts";
import type { IdentityProvider } from "../models/identity-provider.ts";
import { IdentityToken } from "../models/identity-token.ts";
import type { UpstreamTokens } from "./connector.ts";

/**
 * Keeps the tokens that a sign-in brought, sealed, where the connection keeps access; where it does so no more, those
 * that it kept go. Providers issue a refresh token at the first consent only, so that the one we have stays.
 */
export async function keepTokens(
  db: TransactionOrKnex,
  seal: Seal,
  { keepAccess }: Pick<IdentityProvider, "keepAccess">,
  {
    identityId,
    tokens,
    now,
  }: { identityId: string; tokens: UpstreamTokens | undefined; now: Date },
): Promise<void> {
  if (!keepAccess) await IdentityToken.query(db).deleteById(identityId);
  else if (tokens !== undefined)
    await IdentityToken.query(db)
      .insert({ identityId, ...sealed(seal, identityId, tokens), updatedAt: now })
      .onConflict("identityId")
      .merge();
}

/** Forgets every token of a connection, which keeps access no more. */
export async function forgetTokens(db: TransactionOrKnex, providerId: string): Promise<void> {
  const identities = Identity.query(db).select("id").where({ providerId });
  await IdentityToken.query(db).delete().whereIn("identityId", identities);
}

/** What is kept, as it was. */
export function openTokens(
  seal: Seal,
  { identityId, accessTokenEnc, refreshTokenEnc, scopes, expiresAt }: IdentityToken,
): UpstreamTokens {
  const open = (sealedToken: Buffer, column: Parameters<typeof placeOf>[1]) =>
    seal.decrypt(sealedToken, placeOf(identityId, column)).toString();
  return {
    accessToken: open(accessTokenEnc, "access_token_enc"),
    scopes,
    ...(refreshTokenEnc === null
      ? {}
      : { refreshToken: open(refreshTokenEnc, "refresh_token_enc") }),
    ...(expiresAt === null ? {} : { expiresAt: expiresAt.getTime() / 1000 }),
  };
}

/** Puts new tokens into the place of those that were reserved, or nothing; not where a sign-in brought others. */
export async function replaceTokens(
  db: TransactionOrKnex,
  seal: Seal,
  { identityId, refreshingUntil }: IdentityToken,
  tokens: UpstreamTokens | undefined,
): Promise<void> {
  const reserved = IdentityToken.query(db).where({ identityId, refreshingUntil });
  if (tokens === undefined) await reserved.delete();
  else await reserved.patch({ ...sealed(seal, identityId, tokens), updatedAt: new Date() });
}

function sealed(
  seal: Seal,
  identityId: string,
  { accessToken, refreshToken, scopes, expiresAt }: UpstreamTokens,
): Partial<IdentityToken> {
  return {
    accessTokenEnc: seal.encrypt(accessToken, placeOf(identityId, "access_token_enc")),
    ...(refreshToken === undefined
      ? {}
      : { refreshTokenEnc: seal.encrypt(refreshToken, placeOf(identityId, "refresh_token_enc")) }),
    scopes: [...scopes],
    expiresAt: expiresAt === undefined ? null : new Date(expiresAt * 1000),
    refreshingUntil: null,
  };
}

function placeOf(id: string, column: "access_token_enc" | "refresh_token_enc") {
  return { table: IdentityToken.tableName, column, id };
}
