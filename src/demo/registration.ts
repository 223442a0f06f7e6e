import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Knex } from "knex";
import { createClient } from "../clients/clients.ts";
import { newSecret, sha256 } from "../lib/secret.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { OAuthClientSecret } from "../models/oauth-client-secret.ts";

const CLIENT_ID = "lintel-demo";

/** What the demo was given when it was registered. */
export interface DemoCredentials {
  clientId: string;
  clientSecret: string;
}

/**
 * Registers the demo relying party like any other client. Its secret lives in the data directory, where an app's
 * secret would live in its environment, so that restarts find it again.
 */
export async function registerDemoClient(
  knex: Knex,
  { origin, dataDir }: { origin: string; dataDir: string },
): Promise<DemoCredentials> {
  const clientSecret = demoSecret(dataDir);
  const now = new Date();
  await knex.transaction(async (trx) => {
    // Two servers may start at once; the second waits here and finds the client.
    await OAuthClient.statement(trx, "SELECT pg_advisory_xact_lock(:lintel, :demo)", {
      lintel: 0x6c_69_6e_74,
      demo: 6,
    });
    const uris = {
      redirectUris: [`${origin}/callback`],
      postLogoutRedirectUris: [`${origin}/`],
    };
    let client = await OAuthClient.query(trx).findOne({ clientId: CLIENT_ID });
    if (client === undefined) {
      ({ client } = await createClient(
        trx,
        {
          clientId: CLIENT_ID,
          metadata: {
            client_name: "Demo relying party",
            redirect_uris: uris.redirectUris,
            post_logout_redirect_uris: uris.postLogoutRedirectUris,
            grant_types: ["authorization_code", "refresh_token"],
          },
        },
        now,
      ));
    } else {
      await client.$query(trx).patch({ ...uris, deletedAt: null, status: "active" });
    }
    await OAuthClientSecret.query(trx)
      .insert({
        clientId: client.id,
        secretHash: sha256(clientSecret),
        hint: clientSecret.slice(-4),
      })
      .onConflict(["clientId", "secretHash"])
      .ignore();
  });
  return { clientId: CLIENT_ID, clientSecret };
}

function demoSecret(dataDir: string): string {
  const file = join(dataDir, "demo-client-secret");
  if (existsSync(file)) return readFileSync(file, "utf8").trim();
  mkdirSync(dataDir, { recursive: true });
  const secret = newSecret("ls");
  writeFileSync(file, `${secret}\n`, { mode: 0o600 });
  return secret;
}
