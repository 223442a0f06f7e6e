import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { decodeJwt } from "jose";
import { updateClient } from "../../src/clients/clients.ts";
import { newSecret, sha256 } from "../../src/lib/secret.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { InitialAccessToken } from "../../src/models/registration-token.ts";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import type { Answer } from "../support/rp.ts";
import { addTypes } from "../support/api.ts";
import { aServer, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";
import { aKey, assertion, type ClientKey } from "../support/signing.ts";

const METADATA = {
  client_name: "Registers itself",
  redirect_uris: ["https://rp.example/callback"],
  grant_types: ["authorization_code", "refresh_token"],
};

/** What was answered to a registration. */
interface Made extends Readonly<Record<string, unknown>> {
  readonly client_id: string;
  readonly client_secret: string;
  readonly registration_access_token: string;
  readonly registration_client_uri: string;
}

/** OIDC Dynamic Client Registration, RFC 7591 and RFC 7592. */
describe("clients that register themselves", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let user: { id: string; email: string };
  let key: ClientKey;
  before(async () => {
    server = await aServerWith({ open: "conformance", bank: "fapi2" }, { REGISTRATION: "token" });
    open = issuerAt(server, "open");
    user = await aUser(server);
    key = await aKey("PS256");
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

  const post = async (metadata: object = {}) =>
    call("POST", "/open/reg", { ...METADATA, ...metadata });

  async function register(metadata: object = {}): Promise<Made> {
    const answer = await post(metadata);
    assert.equal(answer.status, 201, answer.text);
    return json(answer) as Made;
  }

  const partyOf = (made: Made) =>
    new RelyingParty(open, {
      clientId: made.client_id,
      clientSecret: made.client_secret,
      redirectUri: "https://rp.example/callback",
    });

  const pathOf = (made: Made) => new URL(made.registration_client_uri).pathname;
  const read = async (made: Made, token = made.registration_access_token) =>
    call("GET", pathOf(made), undefined, token);
  const replace = async (made: Made, metadata: object, token = made.registration_access_token) =>
    call("PUT", pathOf(made), { ...METADATA, client_id: made.client_id, ...metadata }, token);
  const remove = async (made: Made, token = made.registration_access_token) =>
    call("DELETE", pathOf(made), undefined, token);

  const signIn = async (made: Made, person = user): Promise<Record<string, string>> => {
    const app = partyOf(made);
    const back = await walk(open, new WebBrowser(open), app.authorization(), person);
    return json(await app.redeem(response(back)["code"] ?? "")) as Record<string, string>;
  };

  describe("are answered", () => {
    let answer: Answer;
    let made: Made;
    before(async () => {
      answer = await post({ policy_uri: "https://rp.example/policy" });
      made = json(answer) as Made;
    });

    it("with 201 (RFC 7591 §3.2.1)", () => {
      assert.equal(answer.status, 201);
    });

    it("in JSON that no cache keeps (RFC 7591 §3.2.1)", () => {
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    });

    it("with a name that nobody else has (RFC 7591 §3.2.1)", async () => {
      assert.notEqual(made.client_id, (await register()).client_id);
    });

    it("with a secret that nobody guesses (RFC 7591 §5, RFC 6749 §10.10)", () => {
      assert.ok(made.client_secret.length >= 43);
    });

    it("with the end of the secret, wherever there is one (RFC 7591 §3.2.1)", () => {
      assert.equal(made["client_secret_expires_at"], 0);
    });

    it("with the time of it, in seconds (RFC 7591 §3.2.1)", () => {
      assert.ok(Math.abs(Number(made["client_id_issued_at"]) - Date.now() / 1000) < 60);
    });

    it("with everything that was registered (RFC 7591 §3.2.1)", () => {
      for (const [name, value] of Object.entries(METADATA)) assert.deepEqual(made[name], value);
      assert.equal(made["policy_uri"], "https://rp.example/policy");
    });

    it("with where and how to manage it (RFC 7592 §3)", () => {
      assert.equal(made.registration_client_uri, `${open.issuer}/reg/${made.client_id}`);
      assert.ok(made.registration_access_token.length >= 43);
    });

    it("and can sign people in at once (RFC 7591 §3.2.1)", async () => {
      const { id_token: idToken = "" } = await signIn(made);
      assert.equal(decodeJwt(idToken).sub, user.id);
    });

    for (const [method, more] of [
      ["none", () => ({})],
      ["private_key_jwt", () => ({ jwks: { keys: [key.jwk] } })],
    ] as const)
      it(`without a secret where ${method} needs none (RFC 7591 §3.2.1)`, async () => {
        const other = await register({ token_endpoint_auth_method: method, ...more() });
        assert.equal("client_secret" in other, false);
        assert.equal("client_secret_expires_at" in other, false);
      });

    it("and authenticate as they registered, in no other way (OIDC Registration §2)", async () => {
      const keyed = await register({
        token_endpoint_auth_method: "private_key_jwt",
        jwks: { keys: [key.jwk] },
      });
      const proven = await assertion(open, keyed.client_id, key);
      const redeem = async (fields: object) =>
        partyOf({ ...keyed, client_secret: "" }).redeem("nothing", { ...fields });
      assert.equal(errorOf(await redeem(proven)), "invalid_grant");
      assert.equal(errorOf(await redeem({})), "invalid_client");
    });
  });

  describe("get what the specification says where they say nothing", () => {
    for (const [name, value] of [
      ["id_token_signed_response_alg", "RS256"],
      ["token_endpoint_auth_method", "client_secret_basic"],
      ["response_types", ["code"]],
      ["grant_types", ["authorization_code"]],
      ["application_type", "web"],
      ["require_auth_time", false],
    ] as const)
      it(`as ${name} (OIDC Registration §2, RFC 7591 §2)`, async () => {
        assert.deepEqual((await register({ grant_types: undefined }))[name], value);
      });
  });

  describe("may send more than is understood", () => {
    let made: Made;
    before(async () => {
      made = await register({
        first_party: true,
        cors_origins: ["https://evil.example"],
        internal_id: "x",
        secret_hashes: "x",
        security_profile: "web",
        access_token_lifetime: 86_400,
        sign_up: "open",
        require_verified_email: false,
        required_claims: [],
        identity_providers: [],
        something_unknown: 1,
        "client_name#de": "Meldet sich selbst an",
        software_id: "4NRB1-0XZABZI9E6-5SM3R",
        client_id: "chosen",
        client_secret: "chosen",
      });
    });

    it("which is ignored (RFC 7591 §2)", () => {
      assert.equal(made["something_unknown"], undefined);
    });

    for (const name of [
      "first_party",
      "cors_origins",
      "internal_id",
      "secret_hashes",
      "security_profile",
      "access_token_lifetime",
      "sign_up",
      "require_verified_email",
      "required_claims",
      "identity_providers",
    ])
      it(`and decide nothing of what is the operator's: ${name} (T-38, RFC 7591 §5)`, async () => {
        assert.equal(made[name], undefined);
        const { knex } = server.database;
        const row = await OAuthClient.query(knex).findOne({ clientId: made.client_id });
        assert.equal(row?.consentMode, "explicit");
        assert.deepEqual(row?.corsOrigins, []);
        assert.equal(row?.isDynamic, true);
        assert.equal(row?.metadata["access_token_lifetime"], undefined);
        assert.equal(row?.metadata["security_profile"], undefined);
      });

    it("but what is, they are told (RFC 7591 §2, §3.2.1)", () => {
      assert.equal(made["software_id"], "4NRB1-0XZABZI9E6-5SM3R");
    });

    it("but do not choose what they are called (RFC 7591 §3.2.1)", () => {
      assert.notEqual(made.client_id, "chosen");
    });

    it("but do not choose their secret (RFC 7591 §3.2.1)", () => {
      assert.notEqual(made.client_secret, "chosen");
    });

    it("but belong to the issuer that they registered at (RFC 7591 §3)", async () => {
      const there = await new WebBrowser(server).open(
        new RelyingParty(server, partyOf(made).credentials).authorization(),
      );
      assert.equal(errorOf(there), "invalid_client");
    });
  });

  describe("are refused", () => {
    const invalid: Record<string, [metadata: object, clause: string, error?: string]> = {
      "a redirect URI with a fragment": [
        { redirect_uris: ["https://rp.example/cb#x"] },
        "RFC 7591 §3.2.2, RFC 6749 §3.1.2",
        "invalid_redirect_uri",
      ],
      "no redirect URI": [{ redirect_uris: [] }, "RFC 7591 §2", "invalid_redirect_uri"],
      "a redirect URI over http": [
        { redirect_uris: ["http://rp.example/cb"] },
        "RFC 7591 §5",
        "invalid_redirect_uri",
      ],
      "a redirect URI that is none": [
        { redirect_uris: ["nonsense"] },
        "RFC 7591 §3.2.2",
        "invalid_redirect_uri",
      ],
      "a redirect URI that is a script": [
        { redirect_uris: ["javascript:alert(1)"] },
        "RFC 7591 §5",
        "invalid_redirect_uri",
      ],
      "a redirect URI that is a pattern": [
        { redirect_uris: ["https://*.example/cb"] },
        "RFC 9700 §4.1.3",
        "invalid_redirect_uri",
      ],
      "a redirect URI for tokens on this machine": [
        {
          redirect_uris: ["http://localhost/cb"],
          response_types: ["id_token"],
          grant_types: ["implicit"],
        },
        "OIDC Registration §2",
        "invalid_redirect_uri",
      ],
      "redirect URIs that are no list": [
        { redirect_uris: "https://rp.example/cb" },
        "RFC 7591 §3.2.2",
        "invalid_redirect_uri",
      ],
      "a method that does not exist": [{ token_endpoint_auth_method: "magic" }, "RFC 7591 §3.2.2"],
      "a grant type that does not exist": [{ grant_types: ["magic"] }, "RFC 7591 §3.2.2"],
      "a response type that does not exist": [{ response_types: ["magic"] }, "RFC 7591 §3.2.2"],
      "a private key": [
        {
          token_endpoint_auth_method: "private_key_jwt",
          jwks: { keys: [{ kty: "EC", crv: "P-256", x: "x", y: "y", d: "d" }] },
        },
        "RFC 7591 §2, §5",
      ],
      "jwks and jwks_uri": [
        { jwks: { keys: [] }, jwks_uri: "https://rp.example/jwks" },
        "RFC 7591 §2",
      ],
      "jwks_uri over http": [{ jwks_uri: "http://rp.example/jwks" }, "OIDC Registration §2"],
      "private_key_jwt and no key": [
        { token_endpoint_auth_method: "private_key_jwt" },
        "OIDC Registration §2",
      ],
      "initiate_login_uri over http": [
        { initiate_login_uri: "http://rp.example/login" },
        "OIDC Core §4",
      ],
      "a logo in a private network": [{ logo_uri: "https://192.168.0.1/logo.png" }, "RFC 7591 §5"],
      "a page that is a script": [{ policy_uri: "javascript:alert(1)" }, "RFC 7591 §5"],
      "a name that reads backwards": [{ client_name: "elgooG\u202e" }, "RFC 7591 §5"],
      "an ID token that is not signed": [{ id_token_signed_response_alg: "none" }, "OIDC Core §2"],
      "encryption without a key": [
        { id_token_encrypted_response_alg: "RSA-OAEP" },
        "OIDC Registration §2",
      ],
      "a content cipher without a key cipher": [
        { id_token_encrypted_response_enc: "A128GCM" },
        "OIDC Registration §2",
      ],
      "a negative default_max_age": [{ default_max_age: -1 }, "OIDC Registration §2"],
      "several hosts, pairwise and no sector": [
        {
          subject_type: "pairwise",
          redirect_uris: ["https://a.example/cb", "https://b.example/cb"],
        },
        "OIDC Core §8.1",
      ],
      "a sector over http": [
        { sector_identifier_uri: "http://rp.example/sector.json" },
        "OIDC Registration §5",
      ],
      "a logout address with a fragment": [
        { backchannel_logout_uri: "https://rp.example/logout#x" },
        "Back-Channel Logout §2.2",
      ],
    };
    for (const [what, [metadata, clause, error = "invalid_client_metadata"]] of Object.entries(
      invalid,
    ))
      it(`with ${what} (${clause})`, async () => {
        const answer = await post(metadata);
        assert.equal(answer.status, 400, answer.text);
        assert.equal(errorOf(answer), error, answer.text);
        assert.equal(json(answer)["client_id"], undefined);
      });

    it("and told which field is wrong (RFC 7591 §3.2.2)", async () => {
      const answer = await post({ policy_uri: "nonsense" });
      assert.match(String(json(answer)["error_description"]), /policy_uri/);
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    });

    it("with a body that is no JSON object (RFC 7591 §3.1)", async () => {
      assert.equal((await call("POST", "/open/reg", ["a"])).status, 400);
    });

    it("with a body of another kind (RFC 7591 §3.1)", async () => {
      const fields = { redirect_uris: "https://rp.example/cb" };
      const answer = await send(server, { path: "/open/reg", fields });
      assert.ok(answer.status >= 400 && answer.status < 500);
    });

    it("with anything but a POST (RFC 7591 §3)", async () => {
      for (const method of ["GET", "PUT", "DELETE"]) {
        const { status } = await call(method, "/open/reg");
        assert.ok(status === 404 || status === 405, method);
      }
    });
  });

  describe("with an initial access token", () => {
    const aToken = async (
      maxUses: number | null = null,
      expiresAt: Date | null = null,
      issuer = "",
    ) => {
      const token = newSecret("lr");
      await InitialAccessToken.query(server.database.knex).insert({
        name: "test",
        issuer,
        tokenHash: sha256(token),
        maxUses,
        expiresAt,
      });
      return token;
    };
    const ask = async (token?: string, metadata: object = {}) =>
      call("POST", "/reg", { ...METADATA, ...metadata }, token);

    it("register where the operator says so (RFC 7591 §3.1)", async () => {
      assert.equal((await ask(await aToken())).status, 201);
    });

    it("do not without, and are told how (RFC 7591 §3, RFC 6750 §3)", async () => {
      const answer = await ask();
      assert.equal(answer.status, 401);
      assert.match(answer.headers["www-authenticate"] ?? "", /^Bearer /);
    });

    for (const [what, token] of [
      ["that nobody gave out", async () => "wrong"],
      ["that ran out", async () => aToken(null, new Date(Date.now() - 1000))],
      ["for another issuer", async () => aToken(null, null, "bank")],
      ["of another kind", async () => (await register()).registration_access_token],
    ] as const)
      it(`do not with one ${what} (RFC 7591 §3)`, async () => {
        const answer = await ask(await token());
        assert.deepEqual([answer.status, errorOf(answer)], [401, "invalid_token"]);
      });

    it("register as often as it is good for, however many try at once (RFC 7591 §5)", async () => {
      const once = await aToken(1);
      const answers = await Promise.all(Array.from({ length: 5 }, async () => ask(once)));
      assert.equal(answers.filter(({ status }) => status === 201).length, 1);
      assert.equal((await ask(once)).status, 401);
    });

    it("pay nothing for what is refused (RFC 7591 §3.2.2)", async () => {
      const once = await aToken(1);
      assert.equal((await ask(once, { redirect_uris: [] })).status, 400);
      assert.equal((await ask(once)).status, 201);
    });

    const FAPI = {
      require_pushed_authorization_requests: true,
      dpop_bound_access_tokens: true,
    };
    const atBank = async (metadata: object) =>
      call(
        "POST",
        "/bank/reg",
        { ...METADATA, jwks: { keys: [key.jwk] }, ...metadata },
        await aToken(null, null, "bank"),
      );

    it("register at a FAPI issuer as FAPI clients, with its algorithms (FAPI 2.0 §5.3.2.1)", async () => {
      const made = json(await atBank(FAPI));
      assert.equal(made["id_token_signed_response_alg"], "PS256");
      assert.equal(made["token_endpoint_auth_method"], "private_key_jwt");
    });

    it("push their requests at a FAPI issuer, whatever they say (RFC 9126 §5, FAPI 2.0 §5.3.2.2)", async () => {
      const made = json(await atBank({ ...FAPI, require_pushed_authorization_requests: false }));
      assert.equal(made["require_pushed_authorization_requests"], true);
    });

    for (const [what, metadata] of [
      ["without bound tokens", { ...FAPI, dpop_bound_access_tokens: false }],
      ["with a secret", { ...FAPI, token_endpoint_auth_method: "client_secret_basic" }],
      ["with RS256", { ...FAPI, id_token_signed_response_alg: "RS256" }],
    ] as const)
      it(`do not register at a FAPI issuer ${what} (FAPI 2.0 §5.3.2.1, §5.4)`, async () => {
        assert.equal(errorOf(await atBank(metadata)), "invalid_client_metadata");
      });
  });

  describe("read their registration", () => {
    it("as it is (RFC 7592 §2.1)", async () => {
      const made = await register({ initiate_login_uri: "https://rp.example/login" });
      const answer = await read(made);
      assert.equal(answer.status, 200);
      const { client_secret: secret, client_secret_expires_at: end, ...rest } = made;
      assert.deepEqual(json(answer), rest, `without ${typeof secret}, ${typeof end}`);
    });

    it("without the secret, of which there is a hash only (RFC 7592 §2.1, T-35)", async () => {
      const made = await register();
      assert.equal((await read(made)).text.includes(made.client_secret), false);
    });

    it("without what is ours alone (RFC 7592 §2.1)", async () => {
      const known = json(await read(await register()));
      for (const name of ["internal_id", "secret_hashes", "is_dynamic", "first_party"])
        assert.equal(name in known, false, name);
    });

    it("in JSON that no cache keeps (RFC 7592 §2.1)", async () => {
      const { headers } = await read(await register());
      assert.match(headers["content-type"] ?? "", /^application\/json/);
      assert.match(headers["cache-control"] ?? "", /no-store/);
    });

    it("with their token only (RFC 7592 §2.1)", async () => {
      const answer = await call("GET", pathOf(await register()));
      assert.equal(answer.status, 401);
      assert.match(answer.headers["www-authenticate"] ?? "", /^Bearer /);
    });

    it("with no token that is wrong (RFC 7592 §2.1)", async () => {
      assert.equal((await read(await register(), "wrong")).status, 401);
    });

    it("with no token of another client, which is void from then on (RFC 7592 §2.1, §5)", async () => {
      const [victim, thief] = [await register(), await register()];
      assert.equal((await read(victim, thief.registration_access_token)).status, 401);
      assert.equal((await read(thief)).status, 401);
      assert.equal((await read(victim)).status, 200);
    });

    it("with no token in the address (RFC 7592 §5)", async () => {
      const made = await register();
      const query = `?access_token=${made.registration_access_token}`;
      assert.ok((await call("GET", pathOf(made) + query)).status >= 400);
    });

    it("not where there is no such client, and that ends the token (RFC 7592 §2.1)", async () => {
      const made = await register();
      const elsewhere = pathOf(made).replace(/[^/]+$/, "nobody");
      const token = made.registration_access_token;
      assert.equal((await call("GET", elsewhere, undefined, token)).status, 401);
      assert.equal((await read(made)).status, 401);
    });
  });

  describe("replace their registration", () => {
    it("with what they send now (RFC 7592 §2.2)", async () => {
      const answer = await replace(await register(), { client_name: "Another name" });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(json(answer)["client_name"], "Another name");
    });

    it("whole: what they do not send goes (RFC 7592 §2.2)", async () => {
      const made = await register({ policy_uri: "https://rp.example/policy" });
      assert.equal(json(await replace(made, {}))["policy_uri"], undefined);
    });

    it("whole: what they send as null goes, too (RFC 7592 §2.2)", async () => {
      const made = await register({ policy_uri: "https://rp.example/policy" });
      const answer = await replace(made, { policy_uri: null });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(json(answer)["policy_uri"], undefined);
    });

    it("at once: an address that went is refused (RFC 7592 §2.2)", async () => {
      const made = await register();
      await replace(made, { redirect_uris: ["https://rp.example/next"] });
      const asked = await new WebBrowser(open).open(partyOf(made).authorization());
      assert.equal(errorOf(asked), "invalid_redirect_uri");
    });

    it("and keep their name and secret (RFC 7592 §2.2)", async () => {
      const made = await register();
      const answer = await replace(made, { client_secret: made.client_secret });
      assert.equal(json(answer)["client_id"], made.client_id);
      assert.equal(errorOf(await partyOf(made).redeem("nothing")), "invalid_grant");
    });

    it("and get a new token, the old one being void (RFC 7592 §2.2, §5)", async () => {
      const made = await register();
      const { registration_access_token: next } = json(await replace(made, {}));
      assert.equal((await read(made)).status, 401);
      assert.equal((await read(made, String(next))).status, 200);
    });

    it("and are told where it is (RFC 7592 §3)", async () => {
      const made = await register();
      const { registration_client_uri: uri } = json(await replace(made, {}));
      assert.equal(uri, made.registration_client_uri);
    });

    for (const [what, metadata] of [
      ["another secret", { client_secret: "wrong" }],
      ["a secret that is no text", { client_secret: 1 }],
      ["another client_id", { client_id: "another" }],
      ["no client_id", { client_id: undefined }],
      ["registration_access_token", { registration_access_token: "x" }],
      ["registration_client_uri", { registration_client_uri: "https://rp.example/" }],
      ["client_secret_expires_at", { client_secret_expires_at: 0 }],
      ["client_id_issued_at", { client_id_issued_at: 0 }],
    ] as const)
      it(`not with ${what} (RFC 7592 §2.2)`, async () => {
        const made = await register();
        const answer = await replace(made, { client_name: "Another name", ...metadata });
        assert.deepEqual([answer.status, errorOf(answer)], [400, "invalid_request"]);
        assert.equal(json(await read(made))["client_name"], METADATA.client_name);
      });

    it("not with what would be refused at first (RFC 7592 §2.2)", async () => {
      const made = await register();
      const answer = await replace(made, { redirect_uris: ["http://rp.example/cb"] });
      assert.deepEqual([answer.status, errorOf(answer)], [400, "invalid_redirect_uri"]);
      assert.deepEqual(json(await read(made))["redirect_uris"], METADATA.redirect_uris);
    });

    it("and are refused twice alike, whatever their method (RFC 7592 §2.2)", async () => {
      for (const method of ["none", "client_secret_basic"]) {
        const made = await register({ token_endpoint_auth_method: method });
        for (let time = 0; time < 2; time += 1) {
          const answer = await replace(made, { redirect_uris: ["http://rp.example/cb"] });
          assert.deepEqual([answer.status, errorOf(answer)], [400, "invalid_redirect_uri"]);
        }
      }
    });

    it("and do not see later the secret that a refused one brought (RFC 7592 §2.1, T-35)", async () => {
      const made = await register();
      const { client_secret } = made;
      const answer = await replace(made, {
        client_secret,
        redirect_uris: ["http://rp.example/cb"],
      });
      assert.equal(errorOf(answer), "invalid_redirect_uri");
      assert.equal((await read(made)).text.includes(client_secret), false);
      assert.equal((await replace(made, { client_secret })).status, 200);
    });

    it("not with what is the operator's (T-38, RFC 7592 §2.2)", async () => {
      const made = await register();
      assert.equal(json(await replace(made, { first_party: true }))["first_party"], undefined);
      const { knex } = server.database;
      const row = await OAuthClient.query(knex).findOne({ clientId: made.client_id });
      assert.equal(row?.consentMode, "explicit");
    });

    it("not without their token (RFC 7592 §2.2)", async () => {
      const made = await register();
      const body = { ...METADATA, client_id: made.client_id, client_name: "Another name" };
      assert.equal((await call("PUT", pathOf(made), body)).status, 401);
      assert.equal(json(await read(made))["client_name"], METADATA.client_name);
    });

    it("not with the token of another (RFC 7592 §2.2)", async () => {
      const [victim, thief] = [await register(), await register()];
      const answer = await replace(victim, {}, thief.registration_access_token);
      assert.equal(answer.status, 401);
    });
  });

  describe("delete their registration", () => {
    let made: Made;
    let tokens: Record<string, string>;
    let answer: Answer;
    before(async () => {
      made = await register();
      tokens = await signIn(made, await aUser(server));
      answer = await remove(made);
    });

    it("and get an empty answer 204 (RFC 7592 §2.3)", () => {
      assert.deepEqual([answer.status, answer.text], [204, ""]);
    });

    it("and with it their token (RFC 7592 §2.3)", async () => {
      assert.equal((await read(made)).status, 401);
    });

    it("and cannot authenticate any more (RFC 7592 §2.3)", async () => {
      assert.equal(errorOf(await partyOf(made).redeem("nothing")), "invalid_client");
    });

    it("and cannot send people any more (RFC 7592 §2.3)", async () => {
      const asked = await new WebBrowser(open).open(partyOf(made).authorization());
      assert.equal(errorOf(asked), "invalid_client");
    });

    it("and their access tokens open nothing any more (RFC 7592 §2.3)", async () => {
      const { access_token: token = "" } = tokens;
      assert.equal((await partyOf(made).userinfo(token)).status, 401);
    });

    it("and their refresh tokens bring nothing any more (RFC 7592 §2.3)", async () => {
      const fields = { grant_type: "refresh_token", refresh_token: tokens["refresh_token"] };
      assert.equal((await partyOf(made).token(fields)).status, 401);
    });

    it("not without their token (RFC 7592 §2.3)", async () => {
      const other = await register();
      assert.equal((await call("DELETE", pathOf(other))).status, 401);
      assert.equal((await read(other)).status, 200);
    });

    it("not with the token of another (RFC 7592 §2.3)", async () => {
      const [victim, thief] = [await register(), await register()];
      assert.equal((await remove(victim, thief.registration_access_token)).status, 401);
      assert.equal((await read(victim)).status, 200);
    });
  });

  it("find in discovery where (OIDC Discovery §3, RFC 8414 §2)", async () => {
    const metadata = json(await send(open, { path: "/open/.well-known/openid-configuration" }));
    assert.equal(metadata["registration_endpoint"], `${open.issuer}/reg`);
  });

  describe("are bounded", () => {
    const ANYBODY = { redirect_uris: ["https://app.partner.example/cb"] };
    const registerAt = (target: TestServer, metadata: object) =>
      send(target, {
        path: "/reg",
        body: JSON.stringify(metadata),
        headers: { "content-type": "application/json" },
      });

    it("by how many come from one network (RFC 7591 §5)", async () => {
      const open = await aServer({ REGISTRATION: "open" });
      try {
        const answers = await Promise.all(
          Array.from({ length: 25 }, () => registerAt(open, ANYBODY)),
        );
        assert.equal(answers.filter(({ status }) => status === 201).length, 20);
        const late = answers.find(({ status }) => status !== 201);
        assert.equal(late?.status, 429);
        assert.equal(errorOf(late), "temporarily_unavailable");
      } finally {
        await open.stop();
      }
    });

    it("by how many come in a day (RFC 7591 §5)", async () => {
      const open = await aServer({ REGISTRATION: "open", REGISTRATION_QUOTA: "2" });
      try {
        const statuses = [];
        for (let n = 0; n < 3; n += 1) statuses.push((await registerAt(open, ANYBODY)).status);
        assert.deepEqual(statuses, [201, 201, 429]);
      } finally {
        await open.stop();
      }
    });

    it("by what they may ask people for in words of their own (RFC 9396 §10, RFC 7591 §5)", async () => {
      const open = await aServer({
        REGISTRATION: "open",
        REGISTRATION_AUTHORIZATION_TYPES: "greeting",
      });
      try {
        await addTypes(open, "greeting", "payment");
        const asking = (...types: string[]) => ({ ...ANYBODY, authorization_details_types: types });
        const refused = await registerAt(open, asking("greeting", "payment"));
        assert.equal(errorOf(refused), "invalid_client_metadata");
        assert.match(refused.text, /must not have payment, unless an operator adds it/);
        const answer = await registerAt(open, asking("greeting"));
        assert.equal(answer.status, 201, answer.text);
        const made = json(answer);
        let token = String(made["registration_access_token"]);
        const change = async (...types: string[]) => {
          const { client_id: id } = made;
          const changed = await send(open, {
            path: new URL(String(made["registration_client_uri"])).pathname,
            method: "PUT",
            body: JSON.stringify({ ...asking(...types), client_id: id }),
            headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
          });
          const { registration_access_token: next = token } = json(changed);
          token = String(next);
          return changed;
        };
        assert.equal(errorOf(await change("greeting", "payment")), "invalid_client_metadata");
        const { knex } = open.database;
        await knex.transaction((trx) =>
          updateClient(
            trx,
            String(made["client_id"]),
            { metadata: { authorization_details_types: ["greeting", "payment"] } },
            new Date(),
          ),
        );
        await setTimeout(300);
        assert.equal((await change("greeting", "payment")).status, 200);
      } finally {
        await open.stop();
      }
    });

    it("by the hosts of their addresses, at registration and afterwards (RFC 7591 §5)", async () => {
      const open = await aServer({ REGISTRATION: "open", REGISTRATION_HOSTS: "*.partner.example" });
      try {
        const elsewhere = { redirect_uris: ["https://evil.example/cb"] };
        const refused = await registerAt(open, elsewhere);
        assert.equal(errorOf(refused), "invalid_redirect_uri");
        const made = json(await registerAt(open, ANYBODY));
        const changed = await send(open, {
          path: new URL(String(made["registration_client_uri"])).pathname,
          method: "PUT",
          body: JSON.stringify({ ...elsewhere, client_id: made["client_id"] }),
          headers: {
            "content-type": "application/json",
            authorization: `Bearer ${String(made["registration_access_token"])}`,
          },
        });
        assert.equal(errorOf(changed), "invalid_redirect_uri");
      } finally {
        await open.stop();
      }
    });
  });
});
