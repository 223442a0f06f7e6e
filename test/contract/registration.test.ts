import assert from "node:assert/strict";
import { decodeJwt, exportJWK, generateKeyPair } from "jose";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import { aServer, aUser, freePort, type TestServer } from "../support/server.ts";
import { InitialAccessToken } from "../../src/models/registration-token.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { newSecret, sha256 } from "../../src/lib/secret.ts";

const METADATA = {
  client_name: "Registers itself",
  redirect_uris: ["https://rp.example/callback"],
  grant_types: ["authorization_code", "refresh_token"],
};

/** Dynamic registration and its management (OIDC Dynamic Client Registration, RFC 7591, RFC 7592). */
describe("clients that register themselves", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  before(async () => {
    const port = await freePort();
    server = await aServer({
      PORT: String(port),
      REGISTRATION: "token",
      MORE_ISSUERS: `open=conformance@http://localhost:${port}/open,bank=fapi2@http://localhost:${port}/bank`,
    });
    open = { issuer: `${server.issuer}/open`, port: server.port };
  });
  after(() => server.stop());

  const call = async (method: string, path: string, body?: unknown, token?: string) =>
    send(server, {
      path,
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: {
        ...(body === undefined
          ? {}
          : {
              "content-type": "application/json",
              "content-length": String(Buffer.byteLength(JSON.stringify(body))),
            }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
    });
  const register = async (metadata: object = {}) => {
    const answer = await call("POST", "/open/reg", { ...METADATA, ...metadata });
    return { answer, made: answer.status === 201 ? json(answer) : {} };
  };
  const aToken = async (maxUses: number | null = null, expiresAt: Date | null = null) => {
    const token = newSecret("lr");
    await InitialAccessToken.query(server.database.knex).insert({
      name: "test",
      tokenHash: sha256(token),
      maxUses,
      expiresAt,
    });
    return token;
  };

  it("can sign people in at once (RFC 7591 §3.2.1)", async () => {
    const { answer, made } = await register();
    assert.equal(answer.status, 201);
    assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    assert.equal(made["client_secret_expires_at"], 0);
    assert.ok(typeof made["client_id_issued_at"] === "number");
    assert.match(String(made["registration_client_uri"]), /\/open\/reg\//);
    const app = new RelyingParty(open, {
      clientId: String(made["client_id"]),
      clientSecret: String(made["client_secret"]),
      redirectUri: "https://rp.example/callback",
    });
    const user = await aUser(server);
    const back = await walk(open, new WebBrowser(open), app.authorization(), user);
    const tokens = json(await app.redeem(response(back)["code"] ?? ""));
    assert.equal(decodeJwt(String(tokens["id_token"])).sub, user.id);
  });

  it("get what the specification says where they say nothing (OIDC Registration §2)", async () => {
    const { made } = await register();
    assert.equal(made["id_token_signed_response_alg"], "RS256");
    assert.equal(made["token_endpoint_auth_method"], "client_secret_basic");
    assert.deepEqual(made["response_types"], ["code"]);
    assert.equal(made["application_type"], "web");
  });

  it("are not told, and cannot decide, what is the operator's (T-38)", async () => {
    const { made } = await register({
      first_party: true,
      cors_origins: ["https://evil.example"],
      internal_id: "x",
      secret_hashes: "x",
      something_unknown: 1,
      software_id: "4NRB1-0XZABZI9E6-5SM3R",
    });
    for (const name of [
      "first_party",
      "cors_origins",
      "internal_id",
      "secret_hashes",
      "something_unknown",
    ])
      assert.equal(made[name], undefined, name);
    assert.equal(made["software_id"], "4NRB1-0XZABZI9E6-5SM3R");
    const row = await OAuthClient.query(server.database.knex).findOne({
      clientId: String(made["client_id"]),
    });
    assert.equal(row?.consentMode, "explicit");
    assert.deepEqual(row?.corsOrigins, []);
    assert.equal(row?.isDynamic, true);
    assert.equal(row?.issuer, "open");
  });

  for (const [what, metadata, error] of [
    [
      "a redirect URI with a fragment",
      { redirect_uris: ["https://rp.example/cb#x"] },
      /invalid_(redirect_uri|client_metadata)/,
    ],
    ["no redirect URI", { redirect_uris: [] }, /invalid_redirect_uri|invalid_client_metadata/],
    [
      "a redirect URI over http",
      { redirect_uris: ["http://rp.example/cb"] },
      /invalid_(redirect_uri|client_metadata)/,
    ],
    [
      "a method that does not exist",
      { token_endpoint_auth_method: "magic" },
      /invalid_client_metadata/,
    ],
    [
      "a private key",
      {
        token_endpoint_auth_method: "private_key_jwt",
        jwks: { keys: [{ kty: "EC", crv: "P-256", x: "x", y: "y", d: "d" }] },
      },
      /invalid_client_metadata/,
    ],
    [
      "jwks and jwks_uri",
      { jwks: { keys: [] }, jwks_uri: "https://rp.example/jwks" },
      /invalid_client_metadata/,
    ],
    [
      "initiate_login_uri over http",
      { initiate_login_uri: "http://rp.example/login" },
      /invalid_client_metadata/,
    ],
    [
      "several hosts, pairwise and no sector",
      { subject_type: "pairwise", redirect_uris: ["https://a.example/cb", "https://b.example/cb"] },
      /invalid_client_metadata/,
    ],
  ] as const)
    it(`are refused with ${what} (RFC 7591 §3.2.2)`, async () => {
      const { answer } = await register(metadata);
      assert.equal(answer.status, 400, answer.text);
      assert.match(errorOf(answer) ?? "", error);
    });

  it("read their registration, without a secret of which we have a hash only (RFC 7592 §2.1)", async () => {
    const { made } = await register({ initiate_login_uri: "https://rp.example/login" });
    const { pathname } = new URL(String(made["registration_client_uri"]));
    const token = String(made["registration_access_token"]);
    const read = await call("GET", pathname, undefined, token);
    assert.equal(read.status, 200);
    const { client_secret: secret, initiate_login_uri: uri, ...rest } = json(read);
    assert.equal(secret, undefined);
    assert.equal(uri, "https://rp.example/login");
    assert.equal(rest["client_id"], made["client_id"]);
    assert.equal(rest["internal_id"], undefined);
    assert.equal((await call("GET", pathname)).status, 401);
    assert.equal((await call("GET", pathname, undefined, "wrong")).status, 401);
    const { made: other } = await register();
    const stolen = String(other["registration_access_token"]);
    assert.equal((await call("GET", pathname, undefined, stolen)).status, 401);
    const { pathname: own } = new URL(String(other["registration_client_uri"]));
    assert.equal((await call("GET", own, undefined, stolen)).status, 401, "and it is void now");
  });

  it("replace their registration with a token that changes (RFC 7592 §2.2)", async () => {
    const { made } = await register({ policy_uri: "https://rp.example/policy" });
    const { pathname } = new URL(String(made["registration_client_uri"]));
    const token = String(made["registration_access_token"]);
    const { client_id: id, client_secret: secret } = made;
    const next = { ...METADATA, client_id: id, client_name: "Another name" };
    const wrong = await call("PUT", pathname, { ...next, client_secret: "wrong" }, token);
    assert.equal(wrong.status, 400);
    const answer = await call("PUT", pathname, { ...next, client_secret: secret }, token);
    assert.equal(answer.status, 200, answer.text);
    const changed = json(answer);
    assert.equal(changed["client_name"], "Another name");
    assert.equal(changed["policy_uri"], undefined, "what is not named goes");
    assert.equal((await call("GET", pathname, undefined, token)).status, 401);
    const renewed = String(changed["registration_access_token"]);
    const read = json(await call("GET", pathname, undefined, renewed));
    assert.equal(read["client_name"], "Another name");
    const app = new RelyingParty(open, {
      clientId: String(id),
      clientSecret: String(secret),
      redirectUri: "https://rp.example/callback",
    });
    assert.equal(errorOf(await app.redeem("nothing")), "invalid_grant", "its secret still works");
  });

  it("delete their registration, and everything that was issued goes with it (RFC 7592 §2.3)", async () => {
    const { made } = await register();
    const { pathname } = new URL(String(made["registration_client_uri"]));
    const token = String(made["registration_access_token"]);
    assert.equal((await call("DELETE", pathname, undefined, token)).status, 204);
    assert.equal((await call("GET", pathname, undefined, token)).status, 401);
    const app = new RelyingParty(open, {
      clientId: String(made["client_id"]),
      clientSecret: String(made["client_secret"]),
      redirectUri: "https://rp.example/callback",
    });
    assert.equal(errorOf(await app.redeem("nothing")), "invalid_client");
  });

  it("need an initial access token where the operator says so, as often as it is good for", async () => {
    const post = async (token?: string) => call("POST", "/reg", METADATA, token);
    assert.equal((await post()).status, 401);
    assert.equal((await post("wrong")).status, 401);
    assert.equal((await post(await aToken(null, new Date(Date.now() - 1000)))).status, 401);
    const once = await aToken(1);
    const refused = await call("POST", "/reg", { ...METADATA, redirect_uris: [] }, once);
    assert.equal(refused.status, 400, "what fails costs nothing");
    const answers = await Promise.all(Array.from({ length: 5 }, () => post(once)));
    assert.equal(answers.filter(({ status }) => status === 201).length, 1);
    assert.equal((await post(once)).status, 401);
  });

  it("of a FAPI issuer are FAPI clients (FAPI 2.0 §5.3)", async () => {
    const { publicKey } = await generateKeyPair("PS256");
    const token = await aToken();
    const keys = { jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "PS256" }] } };
    const plain = await call("POST", "/bank/reg", { ...METADATA, ...keys }, token);
    assert.equal(plain.status, 400, "neither pushed requests nor bound tokens");
    const made = await call(
      "POST",
      "/bank/reg",
      {
        ...METADATA,
        ...keys,
        require_pushed_authorization_requests: true,
        dpop_bound_access_tokens: true,
      },
      token,
    );
    assert.equal(made.status, 201, made.text);
    assert.equal(json(made)["id_token_signed_response_alg"], "PS256");
    assert.equal(json(made)["token_endpoint_auth_method"], "private_key_jwt");
  });

  it("in discovery are where they can be", async () => {
    const of = async (path: string) => json(await send(server, { path }));
    const metadata = await of("/open/.well-known/openid-configuration");
    assert.equal(metadata["registration_endpoint"], `${open.issuer}/reg`);
  });
});
