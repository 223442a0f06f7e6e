import { createServer } from "node:http";
import { exportJWK, generateKeyPair, type JWK } from "jose";
import { Provider, type Configuration } from "oidc-provider";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { createPasswords } from "../../src/authn/password.ts";
import {
  APIS,
  CLIENTS,
  ISSUER,
  PASSWORD,
  PERMISSION,
  REDIRECT_URI,
  SECRET,
  SIGNED_OUT_URI,
  type Person,
} from "../world.ts";
import { signInPages } from "./bare-pages.ts";
import { MemoryAdapter } from "./memory-adapter.ts";

/*
 * The limit: the same engine with the same clients, keys and features, everything in memory, no middleware, no log,
 * and for sign-in the least that pages can do. A process of its own, told of the people, that says its port.
 */

const PERMANENT = 24 * 3600;
const ALGORITHMS = ["ES256", "RS256", "EdDSA"] as const;

process.on("message", async (people: readonly Person[]) => {
  const server = createServer(await bareEngine(people));
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    process.send?.(typeof address === "object" ? address?.port : undefined);
  });
});
process.on("disconnect", () => process.exit());

async function bareEngine(people: readonly Person[]): Promise<ReturnType<Provider["callback"]>> {
  const keys = await Promise.all(ALGORITHMS.map(makeKey));
  const passwords = createPasswords(createHashQueue({ maxWaitMs: 60_000 }));
  const accounts = new Map(people.map(({ email }) => [email, accountOf(email)]));
  const provider = new Provider(ISSUER, {
    ...configuration(keys),
    findAccount: async (_ctx, sub) => accounts.get(sub),
  });
  provider.proxy = true;
  const hash = await passwords.hash(PASSWORD);
  provider.use(signInPages(provider, people, (typed) => passwords.verify(hash, typed)));
  return provider.callback();
}

async function makeKey(alg: (typeof ALGORITHMS)[number]): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, modulusLength: 2048 });
  return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: alg };
}

function accountOf(email: string) {
  const claims = { sub: email, email, email_verified: true, name: "Ada Lovelace", updated_at: 1 };
  return { accountId: email, claims: async () => claims };
}

function configuration(keys: JWK[]): Configuration {
  const machine = {
    client_secret: SECRET,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
  } as const;
  return {
    adapter: MemoryAdapter,
    jwks: { keys },
    clients: [
      {
        client_id: CLIENTS.web,
        client_secret: SECRET,
        redirect_uris: [REDIRECT_URI],
        post_logout_redirect_uris: [SIGNED_OUT_URI],
        grant_types: ["authorization_code", "refresh_token"],
        id_token_signed_response_alg: "ES256",
      },
      { client_id: CLIENTS.machine, ...copy(machine) },
      { client_id: CLIENTS.edwards, ...copy(machine) },
    ],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    enabledJWA: { idTokenSigningAlgValues: [...ALGORITHMS] },
    scopes: ["openid", "offline_access"],
    claims: {
      openid: ["sub"],
      profile: ["name", "updated_at"],
      email: ["email", "email_verified"],
    },
    pkce: { required: () => true },
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed("refresh_token"),
    rotateRefreshToken: true,
    ttl: {
      AccessToken: 3600,
      AuthorizationCode: 600,
      ClientCredentials: 3600,
      Grant: PERMANENT,
      IdToken: 3600,
      Interaction: 1800,
      RefreshToken: PERMANENT,
      Session: PERMANENT,
    },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    cookies: { keys: ["bench"] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: async (_ctx, client, token) => token.clientId === client.clientId,
      },
      revocation: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, _client, oneOf) => oneOf ?? [],
        useGrantedResource: () => false,
        getResourceServerInfo: (_ctx, indicator) => ({
          audience: indicator,
          scope: PERMISSION,
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          jwt: { sign: { alg: ALGORITHMS.find((alg) => APIS[alg] === indicator) ?? "ES256" } },
        }),
      },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          ctx.body = form;
        },
      },
    },
  };
}

/** The engine wants lists that it may change. */
function copy<T extends object>(readOnly: T): { -readonly [key in keyof T]: T[key] } {
  return structuredClone(readOnly);
}
