import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { PROFILE_NAMES } from "../../src/clients/profiles.ts";
import { parseClientMetadata } from "../../src/clients/schema.ts";
import { presetOf } from "../../src/issuers.ts";
import { json, RelyingParty, response, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

const PRODUCTION = presetOf("production");
const KEY = {
  ...generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "jwk" }),
  kid: "a",
  alg: "ES256",
};

describe("security profiles", () => {
  const parse = (metadata: Record<string, unknown>) =>
    parseClientMetadata({ client_name: "An app", ...metadata }, PRODUCTION);
  const CALLBACK = { redirect_uris: ["https://app.example.com/cb"] };

  it("make a web client one that keeps a secret and refreshes", () => {
    const made = parse({ security_profile: "web", ...CALLBACK });
    assert.equal(made.token_endpoint_auth_method, "client_secret_basic");
    assert.deepEqual(made.grant_types, ["authorization_code", "refresh_token"]);
  });

  it("make a page a public client with bound, short tokens and its own origin", () => {
    const made = parse({ security_profile: "spa", ...CALLBACK });
    assert.equal(made.token_endpoint_auth_method, "none");
    assert.equal(made.dpop_bound_access_tokens, true);
    assert.equal(made.refresh_token_lifetime, 86_400);
    assert.deepEqual(made.cors_origins, ["https://app.example.com"]);
  });

  it("make a native client a public one with addresses of its own scheme", () => {
    const made = parse({ security_profile: "native", redirect_uris: ["com.example.app:/cb"] });
    assert.equal(made.application_type, "native");
    assert.equal(made.token_endpoint_auth_method, "none");
  });

  it("make a machine one that acts for itself, by key where it has one", () => {
    const made = parse({ security_profile: "machine" });
    assert.deepEqual(made.grant_types, ["client_credentials"]);
    assert.deepEqual(made.response_types, []);
    assert.equal(made.token_endpoint_auth_method, "client_secret_basic");
    const keyed = parse({ security_profile: "machine", jwks: { keys: [KEY] } });
    assert.equal(keyed.token_endpoint_auth_method, "private_key_jwt");
  });

  it("make a device a public client that needs no address to come back to", () => {
    const made = parse({ security_profile: "device" });
    assert.deepEqual(made.grant_types, [
      "urn:ietf:params:oauth:grant-type:device_code",
      "refresh_token",
    ]);
    assert.equal(made.token_endpoint_auth_method, "none");
    assert.deepEqual(made.redirect_uris, []);
  });

  it("make a FAPI client push its requests, prove its key and bind its tokens", () => {
    const made = parse({ security_profile: "fapi2", ...CALLBACK, jwks: { keys: [KEY] } });
    assert.equal(made.token_endpoint_auth_method, "private_key_jwt");
    assert.equal(made.require_pushed_authorization_requests, true);
    assert.equal(made.dpop_bound_access_tokens, true);
    assert.equal(made.access_token_lifetime, 300);
  });

  it("give way to what is said, within what they demand", () => {
    const made = parse({
      security_profile: "spa",
      ...CALLBACK,
      dpop_bound_access_tokens: false,
      refresh_token_lifetime: 3600,
    });
    assert.equal(made.dpop_bound_access_tokens, false);
    assert.equal(made.refresh_token_lifetime, 3600);
  });

  /** What each refuses, with the reason that is said. */
  const REFUSED: readonly [profile: string, metadata: object, says: RegExp][] = [
    ["web", { token_endpoint_auth_method: "none" }, /must not be none, because a server keeps/],
    ["web", { application_type: "native" }, /application_type must be web/],
    [
      "spa",
      { token_endpoint_auth_method: "client_secret_post" },
      /must be none, because everybody can read/,
    ],
    [
      "spa",
      { grant_types: ["authorization_code", "client_credentials"] },
      /grant_types must be of authorization_code, refresh_token;/,
    ],
    ["spa", { refresh_token_lifetime: 2_000_000 }, /refresh_token_lifetime must be at most 604800/],
    ["native", { application_type: "web" }, /application_type must be native/],
    ["native", { token_endpoint_auth_method: "client_secret_basic" }, /a secret that is shipped/],
    ["native", { token_endpoint_auth_method: "client_secret_post" }, /a secret that is shipped/],
    ["machine", { grant_types: ["authorization_code"] }, /must be of client_credentials/],
    ["machine", { token_endpoint_auth_method: "none" }, /nobody else vouches/],
    ["device", { grant_types: ["authorization_code"] }, /must be of urn:ietf:params:oauth/],
    ["device", { token_endpoint_auth_method: "client_secret_basic" }, /a secret that is shipped/],
    ["fapi2", { token_endpoint_auth_method: "client_secret_basic" }, /secrets travel, keys do not/],
    ["fapi2", { require_pushed_authorization_requests: false }, /the browser carries no request/],
    ["fapi2", { dpop_bound_access_tokens: false }, /tokens are bound to a key or a certificate/],
    ["fapi2", { id_token_signed_response_alg: "RS256" }, /PS256 and ES256 are allowed/],
    ["fapi2", { grant_types: ["implicit"] }, /grant_types must be of/],
    ["fapi2", { access_token_lifetime: 3600 }, /access_token_lifetime must be at most 600/],
  ];
  for (const [profile, metadata, says] of REFUSED)
    it(`refuse ${JSON.stringify(metadata)} for ${profile}, and say why`, () => {
      assert.throws(
        () => parse({ security_profile: profile, ...CALLBACK, jwks: { keys: [KEY] }, ...metadata }),
        (error: Error) => {
          assert.match(error.message, says);
          assert.match(error.message, new RegExp(`security_profile ${profile}`));
          return true;
        },
      );
    });

  it("are the ones that exist", () => {
    assert.throws(() => parse({ security_profile: "mainframe", ...CALLBACK }), {
      message: new RegExp(PROFILE_NAMES.join(" or ")),
    });
  });

  describe("at the server", () => {
    let server: TestServer;
    before(async () => {
      server = await aServer();
    });
    after(() => server.stop());

    it("decide how long tokens live", async () => {
      const client = await aClient(server, {
        security_profile: "web",
        first_party: true,
        access_token_lifetime: 120,
        refresh_token_lifetime: 400,
      });
      const app = new RelyingParty(server, client);
      const browser = new WebBrowser(server);
      const answer = await walk(server, browser, app.authorization(), await aUser(server));
      const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
      assert.equal(tokens["expires_in"], 120);
      const { rows } = await server.database.knex.raw<{ rows: { seconds: number }[] }>(
        `SELECT extract(epoch FROM expires_at - created_at)::int AS seconds FROM refresh_tokens`,
      );
      assert.ok(rows.every(({ seconds }) => seconds <= 401) && rows.length === 1);
    });
  });
});
