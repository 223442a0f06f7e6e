import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  compactDecrypt,
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  jwtVerify,
  type JSONWebKeySet,
  type JWTPayload,
} from "jose";
import { Session } from "../../src/models/session.ts";
import { aKey, now } from "../support/keys.ts";
import { aHouse, type House, type PresetName } from "../support/presets.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Fields,
} from "../support/rp.ts";
import { aUser } from "../support/server.ts";

/** What an ID token says, and how anybody can tell that we said it. */
describe("the ID token", () => {
  let house: House;
  let app: RelyingParty;
  /** One that an ordinary request brought. */
  let token: string;
  let claims: JWTPayload;

  before(async () => {
    house = await aHouse();
    app = await house.client();
    token = (await house.tokensOf(app, { scope: "openid email profile" }))["id_token"] ?? "";
    claims = decodeJwt(token);
  });
  after(() => house.server.stop());

  const idTokenOf = async (client: RelyingParty, changes: Fields = {}, preset?: PresetName) =>
    (await house.tokensOf(client, changes, preset))["id_token"] ?? "";
  const claimsOf = async (client: RelyingParty, changes: Fields = {}, preset?: PresetName) =>
    decodeJwt(await idTokenOf(client, changes, preset));
  async function verify(jwt: string, preset: PresetName, audience: string) {
    const { issuer } = house.issuers[preset];
    const keys = json(await send(house.server, { path: `${issuer}/jwks` }));
    const keySet = createLocalJWKSet(keys as unknown as JSONWebKeySet);
    return jwtVerify(jwt, keySet, { issuer, audience });
  }
  const fragmentOf = async (client: RelyingParty, changes: Fields) => {
    const { location = "" } = await house.ask(client, changes, "conformance");
    return new URLSearchParams(new URL(location).hash.slice(1));
  };
  const front = (type: string, metadata: Record<string, unknown> = {}) =>
    house.client(
      {
        response_types: [type],
        grant_types: [...(type.includes("code") ? ["authorization_code"] : []), "implicit"],
        ...metadata,
      },
      "conformance",
    );
  const half = (text: string, hash = "sha256") => {
    const digest = createHash(hash).update(text).digest();
    return digest.subarray(0, digest.length / 2).toString("base64url");
  };

  describe("as a client checks it", () => {
    it("names the issuer, as discovery does (OIDC Core §3.1.3.7 2)", () =>
      assert.equal(claims.iss, house.server.issuer));

    it("is for this client, and for nobody else (OIDC Core §3.1.3.7 3)", () =>
      assert.deepEqual([claims.aud].flat(), [app.credentials.clientId]));

    it("has no azp but the client's own (OIDC Core §3.1.3.7 5)", () =>
      assert.ok(claims["azp"] === undefined || claims["azp"] === app.credentials.clientId));

    it("verifies with a key of the issuer's (OIDC Core §3.1.3.7 6)", async () => {
      const { payload } = await verify(token, "production", app.credentials.clientId);
      assert.equal(payload.sub, claims.sub);
    });

    it("is signed as the preset does where the client says nothing (OIDC Core §3.1.3.7 7)", async () => {
      assert.equal(decodeProtectedHeader(token).alg, "ES256");
      const usual = await idTokenOf(await house.client({}, "conformance"), {}, "conformance");
      assert.equal(decodeProtectedHeader(usual).alg, "RS256");
    });

    it("ends, after now (OIDC Core §3.1.3.7 9)", () => assert.ok(Number(claims.exp) > now()));

    it("was made just now (OIDC Core §3.1.3.7 10)", () =>
      assert.ok(Math.abs(Number(claims.iat) - now()) < 60));

    it("has the nonce of its request, byte for byte (OIDC Core §3.1.3.7 11)", async () => {
      const nonce = "n \u00fc&=+%20/\"'";
      assert.equal((await claimsOf(app, { nonce }))["nonce"], nonce);
    });

    it("has no nonce where none was sent (OIDC Core §2)", async () =>
      assert.ok(!("nonce" in (await claimsOf(app, { nonce: undefined })))));

    it("has a subject of 255 characters of ASCII at most (OIDC Core §2)", () =>
      assert.match(String(claims.sub), /^[\x20-\x7e]{1,255}$/));

    it("has the same subject each time (OIDC Core §2, §5.7)", async () =>
      assert.equal((await claimsOf(app)).sub, claims.sub));

    it("has another subject for another person (OIDC Core §2)", async () => {
      const other = await aUser(house.server);
      const browser = new WebBrowser(house.server);
      const answer = await walk(house.server, browser, app.authorization(), other);
      const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
      assert.notEqual(decodeJwt(String(tokens["id_token"])).sub, claims.sub);
    });

    it("has numbers for its times (OIDC Core §2)", () => {
      for (const name of ["exp", "iat"]) assert.ok(Number.isInteger(claims[name]), name);
    });

    it("is in a header that brings no key of its own (OIDC Core §2)", () => {
      const header = decodeProtectedHeader(token);
      for (const name of ["jwk", "jku", "x5u", "x5c"]) assert.ok(!(name in header), name);
    });

    it("names its key, as there are several (OIDC Core §10.1)", () =>
      assert.ok(decodeProtectedHeader(token).kid));
  });

  describe("signed", () => {
    for (const [preset, alg] of [
      ["production", "ES256"],
      ["production", "RS256"],
      ["conformance", "RS256"],
      ["conformance", "ES256"],
      ["conformance", "PS256"],
      ["conformance", "EdDSA"],
    ] as const)
      it(`by ${alg} verifies at the ${preset} issuer, for a client that registered it (OIDC Core §10.1, OIDC Registration §2)`, async () => {
        const client = await house.client({ id_token_signed_response_alg: alg }, preset);
        const jwt = await idTokenOf(client, {}, preset);
        const { protectedHeader } = await verify(jwt, preset, client.credentials.clientId);
        assert.equal(protectedHeader.alg, alg);
      });

    for (const alg of ["ES256", "PS256"])
      it(`by ${alg} verifies at the fapi2 issuer (FAPI 2.0 §5.4)`, async () => {
        const client = await house.fapiClient({ id_token_signed_response_alg: alg });
        const tokens = json(await client.redeem(await client.codeOf()));
        const { clientId } = client.app.credentials;
        const { protectedHeader } = await verify(String(tokens["id_token"]), "fapi2", clientId);
        assert.equal(protectedHeader.alg, alg);
      });

    it("by the key that its kid names (OIDC Core §10.1)", async () => {
      const { kid, alg } = decodeProtectedHeader(token);
      const { keys } = json(await send(house.server, { path: "/jwks" })) as {
        keys: { kid: string; alg: string }[];
      };
      assert.equal(keys.find((key) => key.kid === kid)?.alg, alg);
    });
  });

  describe("encrypted", () => {
    const nested = async (plaintext: Uint8Array, clientId: string) => {
      const jwt = new TextDecoder().decode(plaintext);
      const { payload } = await verify(jwt, "production", clientId);
      assert.equal(payload.sub, house.user.id);
    };

    for (const alg of ["RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"])
      it(`for the client's key by ${alg}, signed within (OIDC Core §2, §10.2)`, async () => {
        const key = await aKey(alg);
        const client = await house.client({
          jwks: { keys: [key.jwk] },
          id_token_encrypted_response_alg: alg,
          id_token_encrypted_response_enc: "A256GCM",
        });
        const jwe = await idTokenOf(client);
        const { plaintext, protectedHeader } = await compactDecrypt(jwe, key.privateKey);
        assert.equal(protectedHeader.alg, alg);
        assert.equal(protectedHeader.enc, "A256GCM");
        assert.equal(protectedHeader.kid, key.jwk.kid);
        await nested(plaintext, client.credentials.clientId);
      });

    for (const [alg, bytes] of [
      ["A128KW", 16],
      ["A256KW", 32],
      ["dir", 32],
    ] as const)
      it(`for the client's secret by ${alg}: the beginning of its hash (OIDC Core §10.2)`, async () => {
        const client = await house.client({
          id_token_encrypted_response_alg: alg,
          id_token_encrypted_response_enc: "A128CBC-HS256",
        });
        const { clientId, clientSecret } = client.credentials;
        const key = createHash("sha256").update(clientSecret).digest().subarray(0, bytes);
        const { plaintext } = await compactDecrypt(await idTokenOf(client), key);
        await nested(plaintext, clientId);
      });

    for (const enc of ["A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"])
      it(`with ${enc}, where the client registered it (OIDC Registration §2)`, async () => {
        const key = await aKey("ECDH-ES");
        const client = await house.client({
          jwks: { keys: [key.jwk] },
          id_token_encrypted_response_alg: "ECDH-ES",
          id_token_encrypted_response_enc: enc,
        });
        const jwe = await idTokenOf(client);
        assert.equal((await compactDecrypt(jwe, key.privateKey)).protectedHeader.enc, enc);
      });

    it("with A128CBC-HS256 where the client registered none (OIDC Registration §2)", async () => {
      const key = await aKey("ECDH-ES");
      const client = await house.client({
        jwks: { keys: [key.jwk] },
        id_token_encrypted_response_alg: "ECDH-ES",
      });
      const { enc } = decodeProtectedHeader(await idTokenOf(client));
      assert.equal(enc, "A128CBC-HS256");
    });

    it("says that a JWT is within (RFC 7519 §5.2)", async () => {
      const key = await aKey("ECDH-ES");
      const client = await house.client({
        jwks: { keys: [key.jwk] },
        id_token_encrypted_response_alg: "ECDH-ES",
      });
      assert.equal(decodeProtectedHeader(await idTokenOf(client)).cty, "JWT");
    });

    it("and not for a key that is for signatures (RFC 7517 §4.2)", async () => {
      const [sig, enc] = [await aKey("ES256"), await aKey("ECDH-ES")];
      const client = await house.client({
        jwks: { keys: [sig.jwk, enc.jwk] },
        id_token_encrypted_response_alg: "ECDH-ES",
      });
      assert.equal(decodeProtectedHeader(await idTokenOf(client)).kid, enc.jwk.kid);
    });
  });

  describe("about the sign-in", () => {
    it("has auth_time where the request has max_age (OIDC Core §2, §3.1.2.1)", async () => {
      const { auth_time: time } = await claimsOf(app, { max_age: "10000" });
      assert.ok(Number.isInteger(time) && Number(time) <= now());
    });

    it("has auth_time where the client requires it (OIDC Core §2, OIDC Registration §2)", async () => {
      const client = await house.client({ require_auth_time: true });
      assert.ok(Number.isInteger((await claimsOf(client))["auth_time"]));
    });

    it("has auth_time where the client has a default_max_age (OIDC Registration §2)", async () => {
      const client = await house.client({ default_max_age: 10_000 });
      assert.ok(Number.isInteger((await claimsOf(client))["auth_time"]));
    });

    it("has auth_time where it is asked for as essential (OIDC Core §5.5.1)", async () => {
      const asked = JSON.stringify({ id_token: { auth_time: { essential: true } } });
      assert.ok(Number.isInteger((await claimsOf(app, { claims: asked }))["auth_time"]));
    });

    it("has the time of the sign-in, not of the request (OIDC Core §2)", async () => {
      const other = await aUser(house.server);
      const browser = new WebBrowser(house.server);
      await walk(house.server, browser, app.authorization(), other);
      const time = now() - 500;
      await Session.query(house.server.database.knex)
        .where({ userId: other.id })
        .patch({ loggedInAt: new Date(time * 1000) });
      const answer = await browser.open(app.authorization({ max_age: "1000" }));
      const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
      assert.equal(decodeJwt(String(tokens["id_token"]))["auth_time"], time);
    });

    it("has a new auth_time after a sign-in that the client asked for (OIDC Core §3.1.2.1)", async () => {
      const other = await aUser(house.server);
      const browser = new WebBrowser(house.server);
      await walk(house.server, browser, app.authorization(), other);
      await Session.query(house.server.database.knex)
        .where({ userId: other.id })
        .patch({ loggedInAt: new Date(Date.now() - 500_000) });
      const path = app.authorization({ max_age: "60" });
      const answer = await walk(house.server, browser, path, other);
      const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
      assert.ok(Number(decodeJwt(String(tokens["id_token"]))["auth_time"]) > now() - 60);
    });

    it("asks nobody again within default_max_age, and everybody after (OIDC Registration §2)", async () => {
      const client = await house.client({ default_max_age: 60 });
      const other = await aUser(house.server);
      const browser = new WebBrowser(house.server);
      await walk(house.server, browser, client.authorization(), other);
      const none = client.authorization({ prompt: "none" });
      assert.ok(response(await browser.open(none))["code"]);
      await Session.query(house.server.database.knex)
        .where({ userId: other.id })
        .patch({ loggedInAt: new Date(Date.now() - 500_000) });
      assert.equal(errorOf(await browser.open(none)), "login_required");
    });

    it("has acr as one text where it is asked for (OIDC Core §2)", async () => {
      const { acr } = await claimsOf(app, { acr_values: "1" });
      assert.equal(acr, "1");
    });

    it("has amr as a list of texts where it is asked for (OIDC Core §2, RFC 8176 §2)", async () => {
      const asked = JSON.stringify({ id_token: { amr: null } });
      assert.deepEqual((await claimsOf(app, { claims: asked }))["amr"], ["pwd"]);
    });

    it("never has an acr that was asked for and not reached (OIDC Core §5.5.1.1)", async () => {
      const { acr } = await claimsOf(app, { acr_values: "urn:example:gold" });
      assert.notEqual(acr, "urn:example:gold");
    });

    it("is not given where an essential acr is not reached (OIDC Core §5.5.1.1)", async () => {
      const acr = { essential: true, value: "urn:example:gold" };
      const asked = JSON.stringify({ id_token: { acr } });
      const browser = await house.browser();
      const answer = await browser.open(app.authorization({ claims: asked, prompt: "none" }));
      assert.ok(errorOf(answer), answer.location);
      assert.equal(response(answer)["code"], undefined);
    });

    it("is not given about anybody but the subject that is asked for (OIDC Core §5.5.1, §3.1.2.2)", async () => {
      const asked = JSON.stringify({ id_token: { sub: { value: "somebody-else" } } });
      const browser = await house.browser();
      const answer = await browser.open(app.authorization({ claims: asked, prompt: "none" }));
      assert.equal(errorOf(answer), "login_required");
    });

    it("is given about the subject that is asked for (OIDC Core §5.5.1)", async () => {
      const asked = JSON.stringify({ id_token: { sub: { value: claims.sub } } });
      assert.equal((await claimsOf(app, { claims: asked })).sub, claims.sub);
    });

    it("is not given about anybody but the one of the hint (OIDC Core §3.1.2.1, §3.1.2.2)", async () => {
      const other = await aUser(house.server);
      const browser = new WebBrowser(house.server);
      await walk(house.server, browser, app.authorization(), other);
      const path = app.authorization({ prompt: "none", id_token_hint: token });
      assert.equal(errorOf(await browser.open(path)), "login_required");
    });

    it("is given about the one of the hint (OIDC Core §3.1.2.1)", async () => {
      const changes = { prompt: "none", id_token_hint: token };
      assert.equal((await claimsOf(app, changes)).sub, claims.sub);
    });
  });

  describe("about the person", () => {
    it("leaves claims of scopes to userinfo where there is an access token (OIDC Core §5.4)", () => {
      for (const name of ["email", "email_verified", "name"]) assert.ok(!(name in claims), name);
    });

    it("has claims of scopes where there is none (OIDC Core §5.4)", async () => {
      const client = await front("id_token");
      const given = await fragmentOf(client, { response_type: "id_token", scope: "openid email" });
      assert.equal(decodeJwt(given.get("id_token") ?? "")["email"], house.user.email);
    });

    it("has the claims that are asked for in it (OIDC Core §5.5)", async () => {
      const asked = JSON.stringify({ id_token: { email: null } });
      assert.equal((await claimsOf(app, { claims: asked }))["email"], house.user.email);
    });

    it("has no claim that is asked for in userinfo (OIDC Core §5.5)", async () => {
      const asked = JSON.stringify({ userinfo: { email: null } });
      assert.ok(!("email" in (await claimsOf(app, { claims: asked }))));
    });

    it("has no claim that the person did not allow (OIDC Core §3.1.2.4)", async () => {
      const asking = await house.client({ first_party: false });
      const asked = JSON.stringify({ id_token: { email: null } });
      const path = asking.authorization({ claims: asked });
      const person = { ...house.user, scopes: [] };
      const answer = await walk(house.server, await house.browser(), path, person);
      const tokens = json(await asking.redeem(response(answer)["code"] ?? ""));
      assert.ok(!("email" in decodeJwt(String(tokens["id_token"]))));
    });

    it("leaves out a claim that nobody knows the value of (OIDC Core §5.5.1)", async () => {
      const asked = JSON.stringify({ id_token: { birthdate: { essential: true } } });
      assert.ok(!("birthdate" in (await claimsOf(app, { claims: asked }))));
    });
  });

  describe("by the browser", () => {
    it("has at_hash of the access token beside it (OIDC Core §3.2.2.9, §3.2.2.10)", async () => {
      const given = await fragmentOf(await front("id_token token"), {
        response_type: "id_token token",
      });
      const { at_hash: hash } = decodeJwt(given.get("id_token") ?? "");
      assert.equal(hash, half(given.get("access_token") ?? ""));
    });

    it("has c_hash of the code beside it (OIDC Core §3.3.2.10, §3.3.2.11)", async () => {
      const given = await fragmentOf(await front("code id_token"), {
        response_type: "code id_token",
      });
      const { c_hash: hash } = decodeJwt(given.get("id_token") ?? "");
      assert.equal(hash, half(given.get("code") ?? ""));
    });

    it("has hashes of the length of its algorithm's (OIDC Core §3.3.2.11)", async () => {
      const client = await front("code id_token", { id_token_signed_response_alg: "EdDSA" });
      const given = await fragmentOf(client, { response_type: "code id_token" });
      const { c_hash: hash } = decodeJwt(given.get("id_token") ?? "");
      assert.equal(hash, half(given.get("code") ?? "", "sha512"));
    });

    it("has the nonce of its request (OIDC Core §3.2.2.11)", async () => {
      const changes = { response_type: "id_token", nonce: "n-0S6_WzA2Mj" };
      const given = await fragmentOf(await front("id_token"), changes);
      assert.equal(decodeJwt(given.get("id_token") ?? "")["nonce"], "n-0S6_WzA2Mj");
    });

    it("says the same as the one by the code: iss and sub (OIDC Core §3.3.3.6)", async () => {
      const client = await front("code id_token");
      const given = await fragmentOf(client, { response_type: "code id_token" });
      const one = decodeJwt(given.get("id_token") ?? "");
      const tokens = json(await client.redeem(given.get("code") ?? ""));
      const two = decodeJwt(String(tokens["id_token"]));
      assert.deepEqual([one.iss, one.sub, one["nonce"]], [two.iss, two.sub, two["nonce"]]);
    });
  });

  describe("with a pairwise subject", () => {
    const pairwise = (host: string) =>
      house.client({ subject_type: "pairwise", redirect_uris: [`https://${host}/cb`] });
    const subjectAt = async (host: string) => (await claimsOf(await pairwise(host))).sub;

    it("has another for each sector (OIDC Core §8.1)", async () =>
      assert.notEqual(await subjectAt("one.example"), await subjectAt("two.example")));

    it("has the same for clients of one sector (OIDC Core §8.1)", async () =>
      assert.equal(await subjectAt("one.example"), await subjectAt("one.example")));

    it("has none that tells the public one (OIDC Core §8.1)", async () => {
      const sub = String(await subjectAt("one.example"));
      assert.ok(!sub.includes(house.user.id) && sub !== house.user.id);
    });

    it("has the public one for clients that are public (OIDC Core §8)", () =>
      assert.equal(claims.sub, house.user.id));

    it("has the one that userinfo has (OIDC Core §5.3.2)", async () => {
      const client = await pairwise("one.example");
      const tokens = await house.tokensOf(client);
      const { sub } = json(await client.userinfo(tokens["access_token"] ?? ""));
      assert.equal(sub, decodeJwt(tokens["id_token"] ?? "").sub);
    });

    it("takes it for a hint, too (OIDC Core §3.1.2.1, §8.1)", async () => {
      const client = await pairwise("one.example");
      const hint = await idTokenOf(client);
      const changes = { prompt: "none", id_token_hint: hint };
      assert.equal((await claimsOf(client, changes)).sub, decodeJwt(hint).sub);
    });
  });
});
