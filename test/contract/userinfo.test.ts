import assert from "node:assert/strict";
import {
  compactDecrypt,
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  jwtVerify,
  type JSONWebKeySet,
} from "jose";
import { OAuthGrant } from "../../src/models/oauth-grant.ts";
import { User } from "../../src/models/user.ts";
import { aKey, proof } from "../support/keys.ts";
import { aHouse, type House } from "../support/presets.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aUser } from "../support/server.ts";

/** Who asks for claims with which token, and what they are told. */
describe("userinfo", () => {
  let house: House;
  let app: RelyingParty;
  let token: string;
  let answer: Answer;

  before(async () => {
    house = await aHouse();
    app = await house.client();
    token = await accessToken(app, { scope: "openid email profile" });
    answer = await app.userinfo(token);
  });
  after(() => house.server.stop());

  const accessToken = async (client: RelyingParty, changes: Fields = {}) =>
    (await house.tokensOf(client, changes))["access_token"] ?? "";
  const ask = (headers: Record<string, string>, path = "/me") =>
    send(house.server, { path, headers });
  const claims = async (client: RelyingParty, changes: Fields = {}) =>
    json(await client.userinfo(await accessToken(client, changes)));

  function refuses(given: Answer, status: number, error: string): void {
    assert.equal(given.status, status, given.text);
    const header = String(given.headers["www-authenticate"]);
    assert.match(header, /^(Bearer|DPoP) /);
    assert.match(header, new RegExp(`error="${error}"`));
    assert.doesNotMatch(given.text, /"sub"/);
  }

  describe("answers", () => {
    it("a GET with the token in the header, with JSON (OIDC Core §5.3.1, §5.3.2, RFC 6750 §2.1)", () => {
      assert.equal(answer.status, 200);
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
    });

    it("what no cache keeps (RFC 6750 §5.3)", () =>
      assert.match(answer.headers["cache-control"] ?? "", /no-store/));

    it("always with sub (OIDC Core §5.3.2)", async () => {
      assert.equal(json(answer)["sub"], house.user.id);
      assert.deepEqual(Object.keys(await claims(app)), ["sub"]);
    });

    it("with the sub of the ID token (OIDC Core §5.3.2)", async () => {
      const tokens = await house.tokensOf(app);
      const { sub } = json(await app.userinfo(tokens["access_token"] ?? ""));
      assert.equal(sub, decodeJwt(tokens["id_token"] ?? "").sub);
    });

    it("to POST with the token in the header (OIDC Core §5.3.1)", async () => {
      const headers = { authorization: `Bearer ${token}` };
      const posted = await send(house.server, { path: "/me", method: "POST", headers });
      assert.equal(json(posted)["sub"], house.user.id);
    });

    it("to POST with the token in the body (OIDC Core §5.3.1, RFC 6750 §2.2)", async () => {
      const posted = await send(house.server, { path: "/me", fields: { access_token: token } });
      assert.equal(json(posted)["sub"], house.user.id);
    });

    it("to the scheme in any letters (RFC 9110 §11.1)", async () =>
      assert.equal((await ask({ authorization: `bearer ${token}` })).status, 200));

    it("to scripts of the origins that the client registered (OIDC Core §5.3)", async () => {
      const origin = "https://spa.example";
      const spa = await house.client({ cors_origins: [origin] });
      const authorization = `Bearer ${await accessToken(spa)}`;
      const given = await ask({ authorization, origin });
      assert.equal(given.headers["access-control-allow-origin"], origin);
    });
  });

  describe("refuses", () => {
    it("nobody's request, and says how to ask: no error code (RFC 6750 §3, §3.1)", async () => {
      const given = await ask({});
      assert.match(String(given.status), /^40[01]$/);
      const header = String(given.headers["www-authenticate"]);
      assert.match(header, /^Bearer /);
      assert.doesNotMatch(header, /error=/);
    });

    it("with status 401 where no token was sent (RFC 6750 §3)", async () =>
      assert.equal((await ask({})).status, 401));

    it("a token that is nobody's: invalid_token (RFC 6750 §3.1)", async () =>
      refuses(await app.userinfo("nobodys"), 401, "invalid_token"));

    it("a token with a letter changed: invalid_token (RFC 6750 §3.1)", async () => {
      const changed = (token.startsWith("A") ? "B" : "A") + token.slice(1);
      refuses(await app.userinfo(changed), 401, "invalid_token");
    });

    it("a token in the address (RFC 9700 §4.3.2, RFC 6750 §2.3)", async () => {
      const given = await ask({}, `/me?access_token=${token}`);
      assert.match(String(given.status), /^40[01]$/);
      assert.doesNotMatch(given.text, /"sub"/);
    });

    it("a token sent in two ways: invalid_request (RFC 6750 §2, §3.1)", async () => {
      const given = await send(house.server, {
        path: "/me",
        fields: { access_token: token },
        headers: { authorization: `Bearer ${token}` },
      });
      refuses(given, 400, "invalid_request");
    });

    it("a token sent twice: invalid_request (RFC 6750 §3.1)", async () => {
      const fields = { access_token: [token, token] };
      const given = await send(house.server, { path: "/me", fields });
      assert.equal(given.status, 400);
      assert.equal(errorOf(given), "invalid_request");
    });

    it("a token in a body that is no form (RFC 6750 §2.2)", async () => {
      const given = await send(house.server, {
        path: "/me",
        body: JSON.stringify({ access_token: token }),
        headers: { "content-type": "application/json" },
      });
      assert.ok(given.status >= 400 && given.status < 500);
      assert.doesNotMatch(given.text, /"sub"/);
    });

    for (const header of ["Bearer", "Token x", "Bearer a b"])
      it(`the header ${header}, which carries no token (RFC 6750 §2.1)`, async () => {
        const given = await ask({ authorization: header });
        assert.match(String(given.status), /^40[01]$/);
        assert.doesNotMatch(given.text, /"sub"/);
      });

    it("a token without openid: insufficient_scope (RFC 6750 §3.1, OIDC Core §5.3.1)", async () => {
      const plain = await accessToken(app, { scope: "email", nonce: undefined });
      refuses(await app.userinfo(plain), 403, "insufficient_scope");
    });

    it("a client's own token, which is about nobody (OIDC Core §5.3.1)", async () => {
      const metadata = { grant_types: ["client_credentials"], redirect_uris: [] };
      const machine = await house.client({ ...metadata, first_party: false });
      const { access_token: own } = json(await machine.token({ grant_type: "client_credentials" }));
      refuses(await app.userinfo(String(own)), 401, "invalid_token");
    });

    it("an ID token (OIDC Core §5.3.1)", async () => {
      const { id_token: jwt = "" } = await house.tokensOf(app);
      refuses(await app.userinfo(jwt), 401, "invalid_token");
    });

    it("a refresh token (RFC 6749 §1.5)", async () => {
      const { refresh_token: refresh = "" } = await house.tokensOf(app);
      refuses(await app.userinfo(refresh), 401, "invalid_token");
    });

    it("a token that was revoked: invalid_token (RFC 7009 §2, RFC 6750 §3.1)", async () => {
      const gone = await accessToken(app);
      await app.post("/token/revocation", { token: gone });
      refuses(await app.userinfo(gone), 401, "invalid_token");
    });

    it("a token that has expired: invalid_token (RFC 6750 §3.1)", async () => {
      const old = await accessToken(app);
      const clock = Date.now;
      Date.now = () => clock() + 3_600_000;
      try {
        refuses(await app.userinfo(old), 401, "invalid_token");
      } finally {
        Date.now = clock;
      }
    });

    it("a token whose grant was revoked: invalid_token (RFC 6750 §3.1)", async () => {
      const client = await house.client();
      const gone = await accessToken(client);
      await OAuthGrant.query(house.server.database.knex).patch({ revokedAt: new Date() });
      refuses(await client.userinfo(gone), 401, "invalid_token");
      token = await accessToken(app, { scope: "openid email profile" });
    });

    it("a token of somebody who was disabled: invalid_token (RFC 6750 §3.1)", async () => {
      const other = await aUser(house.server);
      const path = app.authorization();
      const back = await walk(house.server, new WebBrowser(house.server), path, other);
      const { access_token: given } = json(await app.redeem(response(back)["code"] ?? ""));
      await User.query(house.server.database.knex)
        .findById(other.id)
        .patch({ status: "deactivated" });
      refuses(await app.userinfo(String(given)), 401, "invalid_token");
    });

    it("a token of another issuer: invalid_token (RFC 9700 §2.3)", async () => {
      const open = new RelyingParty(house.issuers.conformance, app.credentials);
      refuses(await open.userinfo(token), 401, "invalid_token");
    });

    it("says errors in the characters that a header may have (RFC 6750 §3)", async () => {
      const header = String((await app.userinfo("n\u00f6")).headers["www-authenticate"]);
      assert.match(header, /^[\x20-\x7e]+$/);
    });
  });

  describe("with a token that is bound to a key", () => {
    it("answers the one who has the key (RFC 9449 §7.1)", async () => {
      const { client, bound } = await aBoundToken();
      assert.equal((await withProof(client, bound)).status, 200);
    });

    it("refuses it as a bearer token (RFC 9449 §7.2)", async () => {
      const { client, bound } = await aBoundToken();
      refuses(await client.app.userinfo(bound), 401, "invalid_token");
    });

    it("refuses it without a proof (RFC 9449 §7.1)", async () => {
      const { client, bound } = await aBoundToken();
      const path = `${client.issuer}/me`;
      const given = await send(house.server, { path, headers: { authorization: `DPoP ${bound}` } });
      assert.match(String(given.status), /^40[01]$/);
      assert.doesNotMatch(given.text, /"sub"/);
    });

    it("refuses the proof of another key (RFC 9449 §7.1)", async () => {
      const { client, bound } = await aBoundToken();
      refuses(await withProof(client, bound, {}, await aKey("ES256")), 401, "invalid_token");
    });

    it("refuses a proof that is for another token: ath (RFC 9449 §4.3, §7.1)", async () => {
      const { client, bound } = await aBoundToken();
      refuses(await withProof(client, bound, { ath: "x" }), 401, "invalid_dpop_proof");
    });

    it("refuses a proof for another method: htm (RFC 9449 §4.3)", async () => {
      const { client, bound } = await aBoundToken();
      refuses(await withProof(client, bound, { htm: "POST" }), 401, "invalid_dpop_proof");
    });

    it("refuses a proof for another address: htu (RFC 9449 §4.3)", async () => {
      const { client, bound } = await aBoundToken();
      const htu = "https://elsewhere.example/me";
      refuses(await withProof(client, bound, { htu }), 401, "invalid_dpop_proof");
    });

    type Fapi = Awaited<ReturnType<House["fapiClient"]>>;
    async function aBoundToken(): Promise<{ client: Fapi; bound: string }> {
      const client = await house.fapiClient();
      const tokens = json(await client.redeem(await client.codeOf()));
      return { client, bound: String(tokens["access_token"]) };
    }
    async function withProof(client: Fapi, bound: string, changes = {}, key = client.key) {
      const url = `${client.issuer}/me`;
      const dpop = await proof(key, { method: "GET", url, accessToken: bound }, changes);
      return send(house.server, { path: url, headers: { authorization: `DPoP ${bound}`, dpop } });
    }
  });

  describe("tells", () => {
    it("the claims of the scopes that were granted (OIDC Core §5.4)", () => {
      const told = json(answer);
      assert.equal(told["email"], house.user.email);
      assert.equal(told["email_verified"], true);
      assert.equal(told["name"], "Ada Lovelace");
    });

    it("no claim of another scope (OIDC Core §5.4)", async () => {
      const told = await claims(app, { scope: "openid profile" });
      assert.ok(!("email" in told));
      assert.equal(told["name"], "Ada Lovelace");
    });

    it("no claim that has no value, and none that is null (OIDC Core §5.3.2)", () => {
      for (const [name, value] of Object.entries(json(answer)))
        assert.ok(value !== null && value !== "", name);
    });

    it("claims of the types that they have (OIDC Core §5.1)", () => {
      const told = json(answer);
      assert.equal(typeof told["email_verified"], "boolean");
      assert.equal(typeof told["updated_at"], "number");
    });

    it("the claims that were asked for one by one (OIDC Core §5.5)", async () => {
      const asked = JSON.stringify({ userinfo: { email: { essential: true } } });
      const told = await claims(app, { claims: asked });
      assert.equal(told["email"], house.user.email);
      assert.ok(!("name" in told));
    });

    it("no claim that was asked for in the ID token only (OIDC Core §5.5)", async () => {
      const asked = JSON.stringify({ id_token: { email: null } });
      assert.ok(!("email" in (await claims(app, { claims: asked }))));
    });

    it("nothing that the person did not allow (OIDC Core §5.3.2, §16.1)", async () => {
      const asking = await house.client({ first_party: false });
      const path = asking.authorization({ scope: "openid email profile" });
      const person = { ...house.user, scopes: ["profile"] };
      const back = await walk(house.server, await house.browser(), path, person);
      const tokens = json(await asking.redeem(response(back)["code"] ?? ""));
      const told = json(await asking.userinfo(String(tokens["access_token"])));
      assert.ok(!("email" in told));
      assert.equal(told["name"], "Ada Lovelace");
    });

    it("claims of the language that it has, whatever is wished for (OIDC Core §5.2)", async () => {
      const told = await claims(app, { scope: "openid profile", claims_locales: "fr" });
      assert.equal(told["name"], "Ada Lovelace");
    });
  });

  describe("as a JWT", () => {
    const told = async (metadata: Record<string, unknown>) => {
      const client = await house.client(metadata);
      const given = await client.userinfo(await accessToken(client, { scope: "openid email" }));
      return { client, given };
    };
    const verify = async (jwt: string) => {
      const keys = json(await send(house.server, { path: "/jwks" })) as unknown as JSONWebKeySet;
      return jwtVerify(jwt, createLocalJWKSet(keys));
    };

    for (const alg of ["ES256", "RS256"])
      it(`is signed by ${alg}, where the client registered it (OIDC Core §5.3.2)`, async () => {
        const { given } = await told({ userinfo_signed_response_alg: alg });
        assert.match(given.headers["content-type"] ?? "", /^application\/jwt/);
        const { payload, protectedHeader } = await verify(given.text);
        assert.equal(protectedHeader.alg, alg);
        assert.equal(payload["email"], house.user.email);
      });

    it("names its issuer, and the client that it is for (OIDC Core §5.3.2)", async () => {
      const { client, given } = await told({ userinfo_signed_response_alg: "ES256" });
      const { payload } = await verify(given.text);
      assert.equal(payload.iss, house.server.issuer);
      assert.equal(payload.aud, client.credentials.clientId);
    });

    it("has sub (OIDC Core §5.3.2)", async () => {
      const { given } = await told({ userinfo_signed_response_alg: "ES256" });
      assert.equal(decodeJwt(given.text).sub, house.user.id);
    });

    it("is encrypted for the client, signed first (OIDC Core §5.3.2, §10.2)", async () => {
      const key = await aKey("ECDH-ES+A128KW");
      const { given } = await told({
        jwks: { keys: [key.jwk] },
        userinfo_signed_response_alg: "ES256",
        userinfo_encrypted_response_alg: "ECDH-ES+A128KW",
        userinfo_encrypted_response_enc: "A128GCM",
      });
      assert.match(given.headers["content-type"] ?? "", /^application\/jwt/);
      assert.equal(decodeProtectedHeader(given.text).cty, "JWT");
      const { plaintext } = await compactDecrypt(given.text, key.privateKey);
      const { payload } = await verify(new TextDecoder().decode(plaintext));
      assert.equal(payload.sub, house.user.id);
    });

    it("is signed wherever it is encrypted, so that a client registers both (OIDC Core §10.2, OIDC Registration §2)", async () => {
      const key = await aKey("ECDH-ES");
      const metadata = { jwks: { keys: [key.jwk] }, userinfo_encrypted_response_alg: "ECDH-ES" };
      await assert.rejects(house.client(metadata), /userinfo_signed_response_alg must be given/);
    });
  });
});
