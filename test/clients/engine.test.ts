import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { after, before, describe, it } from "mocha";
import type { Provider } from "oidc-provider";
import { createClient } from "../../src/clients/clients.ts";
import { toEngine } from "../../src/clients/metadata.ts";
import { GRANT_TYPES, SCOPES } from "../../src/clients/schema.ts";
import { ensureKeys, loadKeys } from "../../src/keys/keystore.ts";
import { WorkloadKeys } from "../../src/workloads/assertion.ts";
import { ResourceCache } from "../../src/resources/cache.ts";
import { DECOUPLED_GRANTS } from "../../src/issuers.ts";
import { createMailer } from "../../src/mail/mailer.ts";
import { createProvider } from "../../src/oidc/provider.ts";
import { aStorage, type TestStorage } from "../support/storage.ts";

const APP = { client_name: "An app", redirect_uris: ["https://app.example.com/cb"] };
const jwks = {
  keys: [generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "jwk" })],
};

const none = async () => {};

/** Clients of every kind that the schema accepts. */
const ACCEPTED: Readonly<Record<string, object>> = {
  "a confidential web application with everything": {
    ...APP,
    grant_types: GRANT_TYPES.filter((grant) => grant !== "implicit"),
    backchannel_token_delivery_mode: "ping",
    backchannel_client_notification_endpoint: "https://app.example.com/ping",
    post_logout_redirect_uris: ["https://app.example.com/"],
    scope: SCOPES.join(" "),
    id_token_signed_response_alg: "RS256",
    default_max_age: 3600,
    require_auth_time: true,
    initiate_login_uri: "https://app.example.com/login",
    client_uri: "https://app.example.com",
    logo_uri: "https://app.example.com/logo.png",
    policy_uri: "https://app.example.com/privacy",
    tos_uri: "https://app.example.com/tos",
    contacts: ["ann@example.com"],
    dpop_bound_access_tokens: true,
    require_pushed_authorization_requests: true,
    first_party: true,
    cors_origins: ["https://app.example.com"],
  },
  "a native application with a scheme of its own": {
    client_name: "Phone app",
    application_type: "native",
    token_endpoint_auth_method: "none",
    redirect_uris: [
      "com.example.app:/cb",
      "http://127.0.0.1/cb",
      "http://[::1]/cb",
      "https://app.example.com/cb",
    ],
  },
  "a machine": {
    client_name: "A machine",
    grant_types: ["client_credentials"],
    token_endpoint_auth_method: "private_key_jwt",
    token_endpoint_auth_signing_alg: "ES256",
    jwks,
  },
  "a device": {
    client_name: "A television",
    application_type: "native",
    grant_types: [DECOUPLED_GRANTS.device, "refresh_token"],
    token_endpoint_auth_method: "none",
  },
  "a till that signs its requests, and knows people by its own names for them": {
    client_name: "A till",
    grant_types: [DECOUPLED_GRANTS.ciba],
    subject_type: "pairwise",
    token_endpoint_auth_method: "private_key_jwt",
    backchannel_token_delivery_mode: "poll",
    backchannel_authentication_request_signing_alg: "ES256",
    jwks_uri: "https://app.example.com/jwks",
  },
  "a client with a key set elsewhere": {
    ...APP,
    token_endpoint_auth_method: "private_key_jwt",
    jwks_uri: "https://app.example.com/jwks",
  },
  "a client that posts its secret": { ...APP, token_endpoint_auth_method: "client_secret_post" },
};

describe("a client that we accept", () => {
  let storage: TestStorage;
  let provider: Provider;
  before(async () => {
    storage = await aStorage();
    await ensureKeys(storage.knex, storage.seal, new Date());
    const { signing } = await loadKeys(storage.knex, storage.seal);
    provider = createProvider(
      {
        ...storage,
        resources: new ResourceCache(storage.knex),
        workloadKeys: new WorkloadKeys(() => Promise.reject(new Error("no network"))),
        config: { locales: ["en"], mutualTls: undefined, conformanceSuiteUrl: undefined },
        mailer: createMailer({ seal: storage.seal, locales: ["en"] }),
        fetch: () => Promise.reject(new Error("no network")),
        pages: {
          renderError: none,
          logoutSource: none,
          signingOut: async () => {},
          postLogoutSuccessSource: none,
          userCodeInputSource: none,
          userCodeConfirmSource: none,
          successSource: none,
        },
        beside: { names: async () => [], signOut: async () => [] },
        observer: { observe: () => {}, recordOutcome: async () => {} },
        connectors: { of: async () => ({}) },
        signOutElsewhere: async () => {},
      },
      { keys: [...signing] as never },
    );
  });
  after(() => storage.close());

  for (const [what, metadata] of Object.entries(ACCEPTED)) {
    it(`is one that the engine accepts: ${what}`, async () => {
      const { client } = await storage.knex.transaction((trx) =>
        createClient(trx, { metadata }, new Date()),
      );
      const found = await provider.Client.find(client.clientId);
      assert.equal(found?.["internal_id"], client.id);
      assert.deepEqual(
        found?.grantTypes?.toSorted(),
        toEngine(client, storage.seal).grant_types.toSorted(),
      );
      assert.deepEqual(found?.responseTypes, client.responseTypes);
      for (const [field, value] of Object.entries(metadata))
        assert.deepEqual(found?.metadata()[field], value, field);
    });
  }
});
