import assert from "node:assert/strict";
import { createHash, createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { CompactEncrypt, exportJWK, exportSPKI, importJWK, SignJWT, type CryptoKey } from "jose";
import { createClient, rotateSecret, updateClient } from "../../src/clients/clients.ts";
import { aKey, asserted, assertion, now, type Claims, type Key } from "../support/keys.ts";
import { aHouse, type House } from "../support/presets.ts";
import { basic, errorOf, json, RelyingParty, send, type Answer } from "../support/rp.ts";

/** How clients prove who they are, and how nobody else does. */
describe("client authentication", () => {
  let house: House;
  before(async () => {
    house = await aHouse();
  });
  after(() => house.server.stop());

  const MACHINE = { grant_types: ["client_credentials"], redirect_uris: [], first_party: false };
  const GRANT = { grant_type: "client_credentials" };

  const machine = (metadata: Record<string, unknown> = {}, preset?: "conformance") =>
    house.client({ ...MACHINE, ...metadata }, preset);

  function passes(answer: Answer): void {
    assert.equal(answer.status, 200, answer.text);
    assert.ok(json(answer)["access_token"]);
  }

  function fails(answer: Answer, error: string | RegExp = "invalid_client"): void {
    assert.match(errorOf(answer) ?? "", new RegExp(error), answer.text);
    assert.match(String(answer.status), /^40[01]$/);
    assert.equal(json(answer)["access_token"], undefined);
  }

  describe("by a secret", () => {
    let app: RelyingParty;
    let post: RelyingParty;
    before(async () => {
      app = await machine();
      post = await machine({ token_endpoint_auth_method: "client_secret_post" });
    });
    const inBody = ({ credentials: { clientId, clientSecret } }: RelyingParty) => ({
      client_id: clientId,
      client_secret: clientSecret,
    });

    it("passes with the right one in the header (RFC 6749 §2.3.1)", async () =>
      passes(await app.token(GRANT)));

    it("passes with the right one in the body, for whoever registered that (RFC 6749 §2.3.1)", async () =>
      passes(await post.token({ ...GRANT, ...inBody(post) }, {})));

    it("fails with a wrong one in the header (RFC 6749 §5.2)", async () => {
      const headers = { authorization: basic(app.credentials.clientId, "wrong") };
      fails(await app.token(GRANT, headers));
    });

    it("fails with a wrong one in the body (RFC 6749 §5.2)", async () =>
      fails(await post.token({ ...GRANT, ...inBody(post), client_secret: "wrong" }, {})));

    it("fails with the beginning of the right one (RFC 6749 §2.3.1)", async () => {
      const { clientId, clientSecret } = app.credentials;
      const headers = { authorization: basic(clientId, clientSecret.slice(0, -1)) };
      fails(await app.token(GRANT, headers));
    });

    it("fails with an empty one (RFC 6749 §2.3.1)", async () => {
      const headers = { authorization: basic(app.credentials.clientId, "") };
      fails(await app.token(GRANT, headers), "invalid_(client|request)");
    });

    it("fails with the right one of another client (RFC 6749 §2.3.1)", async () => {
      const other = await machine();
      const headers = {
        authorization: basic(app.credentials.clientId, other.credentials.clientSecret),
      };
      fails(await app.token(GRANT, headers));
    });

    it("fails without one (RFC 6749 §3.2.1)", async () =>
      fails(await app.token({ ...GRANT, client_id: app.credentials.clientId }, {})));

    it("fails for a client that is nobody, and in the same words (RFC 6749 §5.2)", async () => {
      const nobody = await app.token(GRANT, { authorization: basic("nobody", "x") });
      const wrong = await app.token(GRANT, {
        authorization: basic(app.credentials.clientId, "x"),
      });
      fails(nobody);
      assert.equal(nobody.text, wrong.text);
    });

    it("says how it is done, with status 401, where it failed in the header (RFC 6749 §5.2)", async () => {
      const answer = await app.token(GRANT, { authorization: basic("nobody", "x") });
      assert.equal(answer.status, 401);
      assert.match(String(answer.headers["www-authenticate"]), /^Basic /);
    });

    it("takes the name of the scheme in any letters (RFC 9110 §11.1)", async () => {
      const { clientId, clientSecret } = app.credentials;
      const authorization = basic(clientId, clientSecret).replace("Basic", "bASIC");
      passes(await app.token(GRANT, { authorization }));
    });

    for (const [name, header] of Object.entries({
      "another scheme": "Bearer abc",
      "no value": "Basic",
      "no colon": `Basic ${Buffer.from("abc").toString("base64")}`,
      "no base64": "Basic ???",
      "broken percent-encoding": `Basic ${Buffer.from("a%zz:b").toString("base64")}`,
    }))
      it(`fails for a header with ${name} (RFC 6749 §2.3.1, RFC 7617 §2)`, async () =>
        fails(await app.token(GRANT, { authorization: header }), "invalid_(client|request)"));

    it("fails with credentials that are not form-encoded but should be (RFC 6749 §2.3.1, Appendix B)", async () => {
      const { knex } = house.server.database;
      const [clientId, secret] = [`a:b+c%&=${randomUUID()}`, "p q+r%:s&t="];
      await knex.transaction((trx) =>
        createClient(
          trx,
          { metadata: { ...MACHINE, client_name: "Odd" }, clientId, secret },
          new Date(),
        ),
      );
      const asIs = Buffer.from(`${clientId}:${secret}`).toString("base64");
      fails(await app.token(GRANT, { authorization: `Basic ${asIs}` }), "invalid_(client|request)");
      passes(await app.token(GRANT, { authorization: basic(clientId, secret) }));
    });

    it("decodes a client_id and a secret of every printable character (RFC 6749 §2.3.1, §A.1, §A.2)", async () => {
      const { knex } = house.server.database;
      const secret = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join("");
      const clientId = `${secret.slice(1)}${randomUUID()}`;
      await knex.transaction((trx) =>
        createClient(
          trx,
          { metadata: { ...MACHINE, client_name: "Odd" }, clientId, secret },
          new Date(),
        ),
      );
      const form = (text: string) => new URLSearchParams({ x: text }).toString().slice("x=".length);
      const credentials = Buffer.from(`${form(clientId)}:${form(secret)}`).toString("base64");
      passes(await app.token(GRANT, { authorization: `Basic ${credentials}` }));
    });

    it("is not taken from the address (RFC 6749 §2.3.1)", async () => {
      const query = new URLSearchParams(inBody(post));
      const answer = await send(house.server, { path: `/token?${query}`, fields: GRANT });
      assert.equal(answer.status, 400);
      assert.doesNotMatch(answer.text, /access_token/);
    });

    it("is one way at a time: header and body (RFC 6749 §2.3)", async () => {
      const { clientId, clientSecret } = app.credentials;
      const headers = { authorization: basic(clientId, clientSecret) };
      fails(await app.token({ ...GRANT, ...inBody(app) }, headers), "invalid_request");
    });

    it("is one way at a time: header and assertion (RFC 6749 §2.3)", async () => {
      const { clientId, clientSecret } = app.credentials;
      const headers = { authorization: basic(clientId, clientSecret) };
      fails(await app.token({ ...GRANT, ...asserted("e30.e30.e30") }, headers), "invalid_request");
    });

    it("is one way at a time: secret and assertion in the body (RFC 6749 §2.3)", async () =>
      fails(
        await post.token({ ...GRANT, ...inBody(post), ...asserted("e30.e30.e30") }, {}),
        "invalid_request",
      ));

    it("names one client: header and body agree (RFC 6749 §2.3)", async () => {
      const other = { client_id: post.credentials.clientId };
      fails(await app.token({ ...GRANT, ...other }), "invalid_(client|request)");
    });

    for (const name of ["client_id", "client_secret"] as const)
      it(`fails for ${name} given twice (RFC 6749 §3.2)`, async () => {
        const right = inBody(post);
        const fields = { ...GRANT, ...right, [name]: [right[name], right[name]] };
        fails(await post.token(fields, {}), "invalid_request");
      });

    it("does not make a client of a public one (RFC 6749 §2.3)", async () => {
      const spa = await house.client({ token_endpoint_auth_method: "none" });
      const headers = { authorization: basic(spa.credentials.clientId, "anything") };
      fails(await spa.redeem(await house.codeOf(spa), {}, headers));
    });

    it("is asked for at the pushed request endpoint, too (RFC 9126 §2.1)", async () => {
      const web = await house.client();
      const headers = { authorization: basic(web.credentials.clientId, "wrong") };
      fails(await web.post("/request", web.parameters(), headers));
      fails(await web.post("/request", web.parameters(), {}));
    });

    it("is asked for where tokens are revoked (RFC 7009 §2.1)", async () => {
      const headers = { authorization: basic(app.credentials.clientId, "wrong") };
      fails(await app.post("/token/revocation", { token: "x" }, headers));
    });

    it("is asked for where tokens are introspected (RFC 7662 §2.1)", async () => {
      const headers = { authorization: basic(app.credentials.clientId, "wrong") };
      fails(await app.post("/token/introspection", { token: "x" }, headers));
    });

    describe("that changes", () => {
      const withSecret = (client: RelyingParty, secret: string) =>
        client.token(GRANT, { authorization: basic(client.credentials.clientId, secret) });
      const rotate = async (client: RelyingParty, keepSeconds: number) => {
        const { knex } = house.server.database;
        const { clientId } = client.credentials;
        const { secret } = await knex.transaction((trx) =>
          rotateSecret(trx, clientId, { keepSeconds }, new Date()),
        );
        for (let tries = 0; tries < 100; tries += 1) {
          if ((await withSecret(client, secret)).status === 200) break;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return secret;
      };

      it("passes with the new one (RFC 7591 §3.2.1)", async () => {
        const client = await machine();
        passes(await withSecret(client, await rotate(client, 60)));
      });

      it("passes with the old one while both are good (RFC 7591 §3.2.1)", async () => {
        const client = await machine();
        await rotate(client, 60);
        passes(await withSecret(client, client.credentials.clientSecret));
      });

      it("fails with the old one where it was revoked (RFC 6749 §10.1)", async () => {
        const client = await machine();
        await rotate(client, 0);
        fails(await withSecret(client, client.credentials.clientSecret));
      });

      it("fails with one that has expired (RFC 7591 §3.2.1)", async () => {
        const client = await machine();
        await rotate(client, 1);
        await new Promise((resolve) => setTimeout(resolve, 1_100));
        fails(await withSecret(client, client.credentials.clientSecret));
      });
    });
  });

  describe("by a key: private_key_jwt", () => {
    let key: Key;
    let app: RelyingParty;
    let other: RelyingParty;
    let otherKey: Key;

    before(async () => {
      key = await aKey("ES256", "one");
      otherKey = await aKey("ES256", "one");
      app = await keyed({ jwks: { keys: [key.jwk] } });
      other = await keyed({ jwks: { keys: [otherKey.jwk] } });
    });

    const keyed = (metadata: Record<string, unknown>, preset?: "conformance") =>
      machine({ token_endpoint_auth_method: "private_key_jwt", ...metadata }, preset);
    const of = (client = app) => ({
      clientId: client.credentials.clientId,
      audience: house.server.issuer,
    });
    const ask = async (jwt: string, more: Record<string, string> = {}, client = app) =>
      client.token({ ...GRANT, ...asserted(jwt), ...more }, {});
    const withClaims = async (claims: Claims) => ask(await assertion(key, of(), claims));
    const raw = (header: object, sign: (input: string) => string) => {
      const { clientId, audience } = of();
      const payload = {
        iss: clientId,
        sub: clientId,
        aud: audience,
        exp: now() + 60,
        jti: randomUUID(),
      };
      const input = [header, payload]
        .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
        .join(".");
      return `${input}.${sign(input)}`;
    };

    it("passes with a right one (RFC 7523 §3)", async () => passes(await withClaims({})));

    it("passes with its client_id beside it (RFC 7521 §4.2)", async () => {
      const { clientId } = of();
      passes(await ask(await assertion(key, of()), { client_id: clientId }));
    });

    it("fails with another client_id beside it (RFC 7521 §4.2)", async () => {
      const { clientId } = other.credentials;
      const answer = await ask(await assertion(key, of()), { client_id: clientId });
      fails(answer, "invalid_(client|request)");
    });

    const wrong: Record<string, [() => Claims, string]> = {
      "no iss": [() => ({ iss: undefined }), "RFC 7523 §3 1"],
      "another iss": [() => ({ iss: other.credentials.clientId }), "RFC 7523 §3 1"],
      "no sub": [() => ({ sub: undefined }), "RFC 7523 §3 2"],
      "the sub of another client": [() => ({ sub: other.credentials.clientId }), "RFC 7523 §3 2"],
      "the sub of nobody": [() => ({ sub: "nobody" }), "RFC 7523 §3 2"],
      "no aud": [() => ({ aud: undefined }), "RFC 7523 §3 3"],
      "another aud": [() => ({ aud: "https://elsewhere.example" }), "RFC 7523 §3 3"],
      "another issuer of this host as aud": [
        () => ({ aud: house.issuers.conformance.issuer }),
        "RFC 7523 §3 3",
      ],
      "no exp": [() => ({ exp: undefined }), "RFC 7523 §3 4"],
      "an exp that is over": [() => ({ exp: now() - 60 }), "RFC 7523 §3 4"],
      "an exp that is no number": [() => ({ exp: `${now() + 60}` }), "RFC 7519 §4.1.4"],
      "an exp that is far away": [() => ({ exp: now() + 86_400 }), "RFC 7523 §3 4"],
      "an nbf that is to come": [() => ({ nbf: now() + 120 }), "RFC 7523 §3 5"],
      "an nbf that is no number": [() => ({ nbf: "now" }), "RFC 7519 §4.1.5"],
      "an iat that is to come": [() => ({ iat: now() + 120 }), "RFC 7523 §3 6, FAPI 2.0 §5.3.2.1"],
      "an iat that is no number": [() => ({ iat: "now" }), "RFC 7519 §4.1.6"],
      "no jti": [() => ({ jti: undefined }), "OIDC Core §9"],
      "a jti that is no text": [() => ({ jti: 1 }), "RFC 7519 §4.1.7"],
    };
    for (const [name, [claims, clause]] of Object.entries(wrong))
      it(`fails with ${name} (${clause})`, async () =>
        fails(await withClaims(claims()), "invalid_(client|request)"));

    it("passes with an iat and nbf of a clock that is ten seconds ahead (FAPI 2.0 §5.3.2.1)", async () =>
      passes(await withClaims({ iat: now() + 10, nbf: now() + 10 })));

    it("fails the second time (RFC 7523 §3 7, OIDC Core §9)", async () => {
      const jwt = await assertion(key, of());
      passes(await ask(jwt));
      fails(await ask(jwt));
    });

    it("passes once of many at the same moment (RFC 7523 §3 7)", async () => {
      const jwt = await assertion(key, of());
      const answers = await Promise.all(Array.from({ length: 6 }, () => ask(jwt)));
      assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    });

    it("fails with the jti of another assertion (RFC 7523 §3 7)", async () => {
      const jti = randomUUID();
      passes(await withClaims({ jti }));
      fails(await withClaims({ jti }));
    });

    it("passes with a jti that another client used (RFC 7519 §4.1.7)", async () => {
      const jti = randomUUID();
      passes(await withClaims({ jti }));
      passes(await ask(await assertion(otherKey, of(other), { jti }), {}, other));
    });

    it("fails with the key of another client (RFC 7523 §3 9)", async () =>
      fails(await ask(await assertion(otherKey, of()))));

    it("fails with a kid that is nobody's (RFC 7515 §4.1.4)", async () =>
      fails(await ask(await assertion(key, of(), {}, { kid: "two" }))));

    it("passes without a kid where the key is the one there is (OIDC Core §10.1)", async () => {
      const { kid: _, ...jwk } = key.jwk;
      const client = await keyed({ jwks: { keys: [jwk] } });
      const { clientId, audience } = of(client);
      const jwt = await new SignJWT({ jti: randomUUID() })
        .setProtectedHeader({ alg: "ES256" })
        .setIssuer(clientId)
        .setSubject(clientId)
        .setAudience(audience)
        .setExpirationTime("1m")
        .sign(key.privateKey);
      passes(await ask(jwt, {}, client));
    });

    it("fails with a signature that was changed (RFC 7523 §3 9)", async () => {
      const jwt = await assertion(key, of());
      fails(await ask(jwt.slice(0, -6) + (jwt.endsWith("AAAAAA") ? "BBBBBB" : "AAAAAA")));
    });

    it("fails with claims that were changed (RFC 7523 §3 9)", async () => {
      const [header, payload = "", signature] = (await assertion(key, of())).split(".");
      const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Claims;
      const changed = Buffer.from(JSON.stringify({ ...claims, jti: "x" })).toString("base64url");
      fails(await ask(`${header}.${changed}.${signature}`));
    });

    it("fails unsigned: alg none (RFC 8725 §3.2)", async () =>
      fails(await ask(raw({ alg: "none" }, () => ""))));

    it("fails with an HMAC made of the public key (RFC 8725 §2.1, §3.1)", async () => {
      const pem = await exportSPKI((await importJWK(key.jwk, "ES256")) as CryptoKey);
      const mac = (input: string) => createHmac("sha256", pem).update(input).digest("base64url");
      fails(await ask(raw({ alg: "HS256", kid: "one" }, mac)));
    });

    it("fails with a key that it brings (RFC 7515 §4.1.3, RFC 8725 §3.10)", async () => {
      const own = await aKey("ES256", "one");
      const jwk = own.jwk as { kty: string };
      fails(await ask(await assertion(own, of(), {}, { jwk })));
    });

    it("fails with a header that has to be understood (RFC 7515 §4.1.11)", async () => {
      const header = { crit: ["b64"], b64: true };
      fails(await ask(await assertion(key, of(), {}, header)));
    });

    it("fails with an algorithm other than the registered one (OIDC Registration §2)", async () => {
      const keys = [await aKey("ES256"), await aKey("PS256")] as const;
      const client = await keyed({
        jwks: { keys: keys.map(({ jwk }) => jwk) },
        token_endpoint_auth_signing_alg: "PS256",
      });
      fails(await ask(await assertion(keys[0], of(client)), {}, client));
      passes(await ask(await assertion(keys[1], of(client)), {}, client));
    });

    it("fails with a key that is for another algorithm (RFC 7517 §4.4)", async () => {
      const rsa = await aKey("RS256");
      const client = await keyed({ jwks: { keys: [rsa.jwk] } });
      const pss = (await importJWK({
        ...(await exportJWK(rsa.privateKey)),
        alg: "PS256",
      })) as CryptoKey;
      const jwt = await assertion({ ...rsa, alg: "PS256", privateKey: pss }, of(client));
      fails(await ask(jwt, {}, client));
    });

    it("fails with a key that is for encryption (RFC 7517 §4.2)", async () => {
      const enc = { ...key.jwk, use: "enc", alg: undefined };
      const client = await keyed({ jwks: { keys: [JSON.parse(JSON.stringify(enc))] } });
      fails(await ask(await assertion(key, of(client)), {}, client));
    });

    for (const alg of ["ES256", "RS256", "PS256", "EdDSA"])
      it(`passes with ${alg}, as discovery says (OIDC Discovery §3)`, async () => {
        const mine = await aKey(alg);
        const client = await keyed({ jwks: { keys: [mine.jwk] } });
        passes(await ask(await assertion(mine, of(client)), {}, client));
      });

    it("fails without its type (RFC 7521 §4.2)", async () => {
      const jwt = await assertion(key, of());
      const answer = await app.token({ ...GRANT, client_assertion: jwt }, {});
      fails(answer, "invalid_(client|request)");
    });

    it("fails with another type (RFC 7523 §2.2)", async () => {
      const type = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
      const answer = await ask(await assertion(key, of()), { client_assertion_type: type });
      fails(answer, "invalid_(client|request)");
    });

    for (const [name, text] of Object.entries({ "no JWT": "x", "half a JWT": "e30.e30" }))
      it(`fails with ${name} (RFC 7523 §3 10)`, async () =>
        fails(await ask(text), "invalid_(client|request)"));

    it("fails for a client that has a secret (OIDC Core §9)", async () => {
      const client = await machine();
      fails(await ask(await assertion(key, of(client)), {}, client));
    });

    it("fails with a secret, for a client that has a key (OIDC Core §9)", async () => {
      const headers = { authorization: basic(app.credentials.clientId, "x") };
      fails(await app.token(GRANT, headers));
    });

    it("names the issuer alone in production, and no list (FAPI 2.0 §5.3.2.1)", async () => {
      fails(await withClaims({ aud: [house.server.issuer] }));
      fails(await withClaims({ aud: `${house.server.issuer}/token` }));
    });

    for (const path of ["", "/token"])
      it(`may name ${path === "" ? "the issuer" : "the token endpoint"} in a list, in the conformance preset (OIDC Core §9)`, async () => {
        const { issuer } = house.issuers.conformance;
        const client = await keyed({ jwks: { keys: [key.jwk] } }, "conformance");
        const aud = [issuer + path, "https://elsewhere.example"];
        passes(await ask(await assertion(key, of(client), { aud }), {}, client));
      });

    it("fails with an assertion that a client of another issuer made for that one (RFC 7523 §3 3)", async () => {
      const fapi = await house.fapiClient();
      fails(await ask((await fapi.authentication())["client_assertion"] ?? ""));
    });

    it("is no longer good with a key that the client took back (RFC 7591 §2)", async () => {
      const [one, two] = [await aKey("ES256"), await aKey("ES256")];
      const client = await keyed({ jwks: { keys: [one.jwk] } });
      passes(await ask(await assertion(one, of(client)), {}, client));
      const { clientId } = client.credentials;
      const metadata = { jwks: { keys: [two.jwk] } };
      await house.server.database.knex.transaction((trx) =>
        updateClient(trx, clientId, { metadata }, new Date()),
      );
      for (let tries = 0; tries < 100; tries += 1) {
        const answer = await ask(await assertion(two, of(client)), {}, client);
        if (answer.status === 200) break;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      fails(await ask(await assertion(one, of(client)), {}, client));
    });

    describe("at a jwks_uri", () => {
      let published: Key[] = [];
      let asked = 0;
      let host: Server;
      let client: RelyingParty;
      let one: Key;
      let two: Key;
      const clock = Date.now;

      before(async () => {
        [one, two] = [await aKey("ES256"), await aKey("ES256")];
        published = [one];
        host = createServer((_request, response) => {
          asked += 1;
          response.setHeader("content-type", "application/json");
          response.end(JSON.stringify({ keys: published.map(({ jwk }) => jwk) }));
        }).listen(0, "127.0.0.1");
        await once(host, "listening");
        const { port } = host.address() as AddressInfo;
        client = await keyed({ jwks_uri: "https://rp.example/jwks" });
        await house.server.database
          .knex("oauth_clients")
          .where({ client_id: client.credentials.clientId })
          .update({ jwks_uri: `http://127.0.0.1:${port}/jwks` });
      });
      after(() => {
        Date.now = clock;
        host.close();
      });

      it("passes with a key that is found there (OIDC Core §10.1)", async () =>
        passes(await ask(await assertion(one, of(client)), {}, client)));

      it("fails with a key that is not, and does not ask again at once (RFC 7517 §5)", async () => {
        const before = asked;
        for (let tries = 0; tries < 3; tries += 1)
          fails(await ask(await assertion(two, of(client)), {}, client));
        assert.equal(asked, before);
      });

      it("passes a minute later with the key that was added, and with the one before (OIDC Core §10.1.1)", async () => {
        published = [one, two];
        Date.now = () => clock() + 61_000;
        passes(await ask(await assertion(two, of(client)), {}, client));
        passes(await ask(await assertion(one, of(client)), {}, client));
      });

      it("fails with the key that was taken away, once its successor was seen (OIDC Core §10.1.1)", async () => {
        const three = await aKey("ES256");
        published = [three];
        Date.now = () => clock() + 130_000;
        passes(await ask(await assertion(three, of(client)), {}, client));
        fails(await ask(await assertion(one, of(client)), {}, client));
      });
    });
  });

  describe("by an HMAC of the secret: client_secret_jwt", () => {
    let app: RelyingParty;
    before(async () => {
      app = await machine({ token_endpoint_auth_method: "client_secret_jwt" }, "conformance");
    });
    const signed = async (secret: string, claims: Claims = {}, client = app) => {
      const { clientId } = client.credentials;
      const key = new TextEncoder().encode(secret);
      const { issuer } = house.issuers.conformance;
      const right = { iss: clientId, sub: clientId, aud: issuer, jti: randomUUID() };
      return new SignJWT({ exp: now() + 60, ...right, ...claims })
        .setProtectedHeader({ alg: "HS256" })
        .sign(key);
    };
    const ask = async (jwt: string) => app.token({ ...GRANT, ...asserted(jwt) }, {});

    it("passes with the right secret (OIDC Core §9)", async () =>
      passes(await ask(await signed(app.credentials.clientSecret))));

    it("fails with another secret (OIDC Core §9)", async () =>
      fails(await ask(await signed("x".repeat(64)))));

    it("fails the second time (OIDC Core §9)", async () => {
      const jwt = await signed(app.credentials.clientSecret);
      passes(await ask(jwt));
      fails(await ask(jwt));
    });

    it("fails with a key pair instead (OIDC Core §9)", async () => {
      const key = await aKey("ES256");
      const { clientId } = app.credentials;
      const { issuer: audience } = house.issuers.conformance;
      fails(await ask(await assertion(key, { clientId, audience })));
    });

    it("fails with the secret itself (OIDC Core §9)", async () => fails(await app.token(GRANT)));

    it("fails when it is over (RFC 7523 §3 4)", async () =>
      fails(await ask(await signed(app.credentials.clientSecret, { exp: now() - 60 }))));

    it("fails for another audience (RFC 7523 §3 3)", async () => {
      const aud = "https://elsewhere.example";
      fails(await ask(await signed(app.credentials.clientSecret, { aud })));
    });

    describe("while the secret changes", () => {
      let client: RelyingParty;
      let next: string;
      const rotate = async (keepSeconds: number) => {
        const { server } = house;
        const { clientId } = client.credentials;
        const registrar = {
          issuers: server.deps.config.issuers,
          seal: async () => server.deps.seal,
        };
        const { secret } = await server.database.knex.transaction((trx) =>
          rotateSecret(trx, clientId, { keepSeconds }, new Date(), registrar),
        );
        return secret;
      };
      const by = async (secret: string) =>
        client.token({ ...GRANT, ...asserted(await signed(secret, {}, client)) }, {});
      /** The server hears of it in a moment. */
      const known = async (secret: string) => {
        for (let tries = 0; tries < 100; tries += 1) {
          if ((await by(secret)).status === 200) break;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return secret;
      };
      before(async () => {
        client = await machine({ token_endpoint_auth_method: "client_secret_jwt" }, "conformance");
        passes(await by(client.credentials.clientSecret));
        next = await known(await rotate(3_600));
      });

      it("passes with either (OIDC Core §10.1)", async () => {
        passes(await by(client.credentials.clientSecret));
        passes(await by(next));
        fails(await by("x".repeat(64)));
      });

      it("signs and encrypts requests with either (OIDC Core §6.1, §10.2)", async () => {
        const app = await house.client({ request_object_signing_alg: "HS256" }, "conformance");
        client = app;
        const { clientId, clientSecret } = app.credentials;
        const second = await rotate(3_600);
        const browser = await house.browser("conformance");
        for (const secret of [clientSecret, second]) {
          const { issuer } = house.issuers.conformance;
          const jwt = await signed(
            secret,
            { ...app.parameters(), aud: issuer, sub: undefined },
            app,
          );
          const digest = createHash("sha256").update(secret).digest();
          const sealed = await new CompactEncrypt(new TextEncoder().encode(jwt))
            .setProtectedHeader({ alg: "A128KW", enc: "A128GCM", cty: "JWT" })
            .encrypt(digest.subarray(0, 16));
          for (const request of [jwt, sealed]) {
            const query = new URLSearchParams({ client_id: clientId, request });
            const answer = await browser.open(`/open/auth?${query}`);
            assert.match(answer.location ?? "", /[?&]code=/, answer.text);
          }
        }
      });

      it("passes with the new one alone when the old one has ended (OIDC Core §10.1)", async () => {
        client = await machine({ token_endpoint_auth_method: "client_secret_jwt" }, "conformance");
        const old = client.credentials.clientSecret;
        next = await known(await rotate(0));
        passes(await by(next));
        fails(await by(old));
      });
    });

    it("is nothing that production offers (OIDC Core §9)", async () => {
      await assert.rejects(machine({ token_endpoint_auth_method: "client_secret_jwt" }));
    });
  });

  describe("of public clients", () => {
    it("is their name, with PKCE (RFC 6749 §3.2.1)", async () => {
      const spa = await house.client({ token_endpoint_auth_method: "none" });
      passes(await spa.redeem(await house.codeOf(spa)));
    });

    it("is not enough for tokens of their own (RFC 6749 §4.4)", async () => {
      const spa = await house.client({ token_endpoint_auth_method: "none" });
      fails(await spa.token(GRANT), "unauthorized_client");
      await assert.rejects(machine({ token_endpoint_auth_method: "none" }), /must not be none/);
    });

    it("is not to be had at the FAPI issuer (FAPI 2.0 §5.3.2.1)", async () => {
      await assert.rejects(
        house.client({ token_endpoint_auth_method: "none" }, "fapi2"),
        /must be private_key_jwt/,
      );
    });
  });
});
