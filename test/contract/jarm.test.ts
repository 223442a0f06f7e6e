import assert from "node:assert/strict";
import { compactDecrypt, createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import type { Answer, Fields } from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";
import { aKey, now, type ClientKey } from "../support/signing.ts";

/** JWT Secured Authorization Response Mode for OAuth 2.0. */
describe("authorization responses as JWTs", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let openBrowser: WebBrowser;
  let app: RelyingParty;
  let hybrid: RelyingParty;
  let keys: ReturnType<typeof createRemoteJWKSet>;

  before(async () => {
    server = await aServerWith({ open: "conformance" });
    open = issuerAt(server, "open");
    keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`));
    user = await aUser(server);
    browser = new WebBrowser(server);
    openBrowser = new WebBrowser(open);
    app = await register();
    const metadata = {
      first_party: true,
      response_types: ["code", "code id_token", "code id_token token"],
      grant_types: ["authorization_code", "implicit"],
    };
    hybrid = new RelyingParty(open, await aClient(server, metadata, "open"));
    await walk(server, browser, app.authorization(), user);
    await walk(open, openBrowser, hybrid.authorization(), user);
  });
  after(() => server.stop());

  const register = async (metadata = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));

  const ask = async (changes: Fields = {}, rp = app) =>
    browser.open(rp.authorization({ response_mode: "jwt", ...changes }));

  /** The JWT of an answer, however it travels. */
  function jwtOf(answer: Answer): string {
    const field = /name="response" value="([^"]+)"/.exec(answer.text)?.[1];
    if (field !== undefined) return field;
    const { search, hash } = new URL(answer.location ?? "");
    return new URLSearchParams(search || hash.slice(1)).get("response") ?? "";
  }
  const verified = async (answer: Answer) => jwtVerify(jwtOf(answer), keys);

  describe("say", () => {
    it("who answers (JARM §2.1)", async () => {
      assert.equal((await verified(await ask())).payload.iss, server.issuer);
    });

    it("for whom (JARM §2.1)", async () => {
      assert.equal((await verified(await ask())).payload.aud, app.credentials.clientId);
    });

    it("until when, within ten minutes (JARM §2.1)", async () => {
      const { exp = 0 } = (await verified(await ask())).payload;
      assert.ok(exp > now() && exp <= now() + 600);
    });

    it("everything that the answer says (JARM §2.1.1)", async () => {
      const { payload } = await verified(await ask({ state: "the state" }));
      assert.equal(payload["state"], "the state");
      assert.equal((await app.redeem(String(payload["code"]))).status, 200);
    });

    it("an error, too (JARM §2.1)", async () => {
      const { payload } = await verified(await ask({ scope: 'openid "x"', state: "s" }));
      assert.deepEqual([payload["error"], payload["state"]], ["invalid_scope", "s"]);
      assert.equal(payload.iss, server.issuer);
      assert.equal(payload.aud, app.credentials.clientId);
      assert.ok(payload.exp);
    });

    it("that nobody is signed in (JARM §2.1)", async () => {
      const path = app.authorization({ response_mode: "jwt", prompt: "none" });
      const { payload } = await verified(await new WebBrowser(server).open(path));
      assert.equal(payload["error"], "login_required");
    });

    it("nothing outside the JWT (JARM §2.3)", async () => {
      assert.deepEqual(Object.keys(response(await ask())), ["response"]);
    });

    it("nothing of an error outside the JWT (JARM §2.3)", async () => {
      assert.deepEqual(Object.keys(response(await ask({ scope: 'openid "x"' }))), ["response"]);
    });
  });

  describe("are signed", () => {
    for (const alg of ["ES256", "RS256"])
      it(`with ${alg} where the client registered it (JARM §3)`, async () => {
        const rp = await register({ authorization_signed_response_alg: alg });
        const { protectedHeader } = await verified(await ask({}, rp));
        assert.equal(protectedHeader.alg, alg);
      });

    it("with a key that the key set has (JARM §2.2)", async () => {
      const { kid } = decodeProtectedHeader(jwtOf(await ask()));
      const { keys: published } = json(await send(server, { path: "/jwks" }));
      assert.ok((published as { kid: string }[]).some((key) => key.kid === kid));
    });

    it("and never with none (JARM §3)", async () => {
      await assert.rejects(
        register({ authorization_signed_response_alg: "none" }),
        /authorization_signed/,
      );
    });
  });

  describe("are encrypted", () => {
    let key: ClientKey;
    let rp: RelyingParty;
    before(async () => {
      key = await aKey("RSA-OAEP-256");
      rp = await register({
        jwks: { keys: [key.jwk] },
        authorization_encrypted_response_alg: "RSA-OAEP-256",
        authorization_encrypted_response_enc: "A128CBC-HS256",
      });
    });

    it("for the client that registered so, as it registered (JARM §2.2, §3)", async () => {
      const { alg, enc } = decodeProtectedHeader(jwtOf(await ask({}, rp)));
      assert.deepEqual([alg, enc], ["RSA-OAEP-256", "A128CBC-HS256"]);
    });

    it("after they were signed (JARM §2.2)", async () => {
      const { plaintext } = await compactDecrypt(jwtOf(await ask({}, rp)), key.privateKey);
      const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), keys);
      assert.equal(payload.aud, rp.credentials.clientId);
      assert.ok(payload["code"]);
    });

    it("errors, too (JARM §2.2)", async () => {
      const jwe = jwtOf(await ask({ scope: 'openid "x"' }, rp));
      const { plaintext } = await compactDecrypt(jwe, key.privateKey);
      const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), keys);
      assert.equal(payload["error"], "invalid_scope");
    });
  });

  describe("travel", () => {
    it("in the query with query.jwt (JARM §2.3.1)", async () => {
      const { search, hash } = new URL((await ask({ response_mode: "query.jwt" })).location ?? "");
      assert.match(search, /^\?response=/);
      assert.equal(hash, "");
    });

    it("in a form with form_post.jwt (JARM §2.3.3)", async () => {
      const answer = await ask({ response_mode: "form_post.jwt" });
      assert.equal(answer.status, 200);
      assert.ok((await verified(answer)).payload["code"]);
      assert.equal(answer.text.match(/<input/g)?.length, 1);
    });

    it("in a form with form_post.jwt, errors too (JARM §2.3.3)", async () => {
      const answer = await ask({ response_mode: "form_post.jwt", scope: 'openid "x"' });
      assert.equal((await verified(answer)).payload["error"], "invalid_scope");
    });

    it("in the query with jwt, when the answer is a code (JARM §2.3.4)", async () => {
      assert.match(new URL((await ask()).location ?? "").search, /^\?response=/);
    });

    it("not in a fragment, when the answer is a code (ASVS §10.4.12)", async () => {
      const answer = await ask({ response_mode: "fragment.jwt" });
      assert.doesNotMatch(answer.location ?? "", /[#&?]code=/);
      const jwt = answer.location === undefined ? "" : jwtOf(answer);
      const { payload } = await jwtVerify(jwt, keys);
      assert.deepEqual([payload["error"], payload["code"]], ["invalid_request", undefined]);
    });

    it("as discovery says (JARM §4)", async () => {
      const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
      const modes = metadata["response_modes_supported"] as string[];
      for (const mode of ["jwt", "query.jwt", "form_post.jwt"]) assert.ok(modes.includes(mode));
      assert.ok(!modes.includes("fragment.jwt"));
      const { authorization_signing_alg_values_supported: algorithms } = metadata;
      assert.deepEqual((algorithms as string[]).toSorted(), ["ES256", "RS256"]);
    });

    it("in no mode that there is not (JARM §2.3)", async () => {
      const answer = await ask({ response_mode: "cookie.jwt" });
      assert.equal(errorOf(answer), "unsupported_response_mode");
    });
  });

  describe("at the conformance preset", () => {
    const openAsk = async (changes: Fields) => openBrowser.open(hybrid.authorization(changes));

    it("travel in a fragment with fragment.jwt (JARM §2.3.2)", async () => {
      const answer = await openAsk({ response_mode: "fragment.jwt" });
      const { search, hash } = new URL(answer.location ?? "");
      assert.match(hash, /^#response=/);
      assert.equal(search, "");
    });

    for (const type of ["code id_token", "code id_token token"])
      it(`travel in a fragment with jwt and ${type} (JARM §2.3.4)`, async () => {
        const answer = await openAsk({ response_mode: "jwt", response_type: type });
        assert.match(new URL(answer.location ?? "").hash, /^#response=/);
        const openKeys = createRemoteJWKSet(new URL(`${open.issuer}/jwks`));
        const { payload } = await jwtVerify(jwtOf(answer), openKeys, { issuer: open.issuer });
        for (const part of type.split(" "))
          assert.ok(payload[part === "token" ? "access_token" : part], part);
      });

    it("travel in no query with an ID token, unless encrypted (JARM §2.3.1)", async () => {
      const answer = await openAsk({ response_mode: "query.jwt", response_type: "code id_token" });
      const openKeys = createRemoteJWKSet(new URL(`${open.issuer}/jwks`));
      const { payload } = await jwtVerify(jwtOf(answer), openKeys);
      assert.equal(payload["error"], "invalid_request");
    });
  });
});
