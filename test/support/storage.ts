import { randomBytes } from "node:crypto";
import { issuerOf, type Issuer } from "../../src/issuers.ts";
import { openSeal } from "../../src/keys/seal.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { runStatement } from "../../src/database/statement.ts";
import { OAuthGrant } from "../../src/models/oauth-grant.ts";
import { User } from "../../src/models/user.ts";
import type { Storage } from "../../src/oidc/adapter/index.ts";
import { ClientCache } from "../../src/oidc/client-cache.ts";
import { RefreshTokenFormat } from "../../src/oidc/refresh-token-format.ts";
import { testDatabase } from "./database.ts";

export interface TestStorage extends Storage {
  issuer: Issuer;
  close(): Promise<void>;
}

/** What the engine's adapters share, over a database of its own. */
export async function aStorage(): Promise<TestStorage> {
  const database = await testDatabase();
  const seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
  return {
    knex: database.knex,
    seal,
    clientCache: new ClientCache(database.knex, seal),
    issuer: issuerOf("", "https://id.example.com", "production"),
    refreshTokenFormat: new RefreshTokenFormat(seal.derive("refresh-token")),
    close: () => database.drop(),
  };
}

/** A grant of a new user at a new client; `clientId` is the client's public identifier. */
export async function aGrant(
  storage: Pick<Storage, "knex">,
): Promise<{ id: string; userId: string; clientId: string }> {
  const user = await User.query(storage.knex).insertAndFetch({ createdVia: "admin" });
  const clientId = uuidv7();
  await OAuthClient.query(storage.knex).insert({
    clientId,
    name: "Acme Photos",
    redirectUris: ["https://rp.example/cb"],
  });
  const grant = { id: uuidv7(), userId: user.id, clientId };
  const saving = OAuthGrant.saving({
    ...grant,
    sessionUid: null,
    payload: { clientId, openid: { scope: "openid" } },
    expiresAt: new Date(Date.now() + 86_400_000),
  });
  await runStatement(storage.knex, saving);
  return grant;
}
