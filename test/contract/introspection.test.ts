import assert from "node:assert/strict";
import { compactDecrypt, createRemoteJWKSet, decodeJwt, jwtVerify } from "jose";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import type { Answer, Fields } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import { aKey, now, type ClientKey } from "../support/signing.ts";

const JWT = "application/token-introspection+jwt";
const PATH = "/token/introspection";

/** RFC 7662, and RFC 9701 for its answers that are signed. */
describe("introspection", () => {
  let server: TestServer;
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let app: RelyingParty;
  let tokens: Record<string, string>;

  before(async () => {
    server = await aServer();
    user = await aUser(server);
    browser = new WebBrowser(server);
    app = await register({
      grant_types: ["authorization_code", "refresh_token", "client_credentials"],
    });
    tokens = await signIn(app);
  });
  after(() => server.stop());

  const register = async (metadata = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));

  async function signIn(rp: RelyingParty): Promise<Record<string, string>> {
    const answer = await walk(server, browser, rp.authorization({ scope: "openid email" }), user);
    return json(await rp.redeem(response(answer)["code"] ?? "")) as Record<string, string>;
  }

  const ask = async (fields: Fields, rp = app) => rp.post(PATH, fields);
  const access = async (fields: Fields = {}) => ask({ token: tokens["access_token"], ...fields });

  it("says of a live token that it is active (RFC 7662 §2.2)", async () => {
    const answer = await access();
    assert.equal(answer.status, 200);
    assert.strictEqual(json(answer)["active"], true);
  });

  for (const [name, expected] of [
    ["client_id", () => app.credentials.clientId],
    ["sub", () => user.id],
    ["iss", () => server.issuer],
    ["scope", () => "openid email"],
    ["token_type", () => "Bearer"],
  ] as const)
    it(`says the ${name} of a live token (RFC 7662 §2.2)`, async () => {
      assert.equal(json(await access())[name], expected());
    });

  it("says from when until when a token is good, in seconds (RFC 7662 §2.2)", async () => {
    const { iat, exp } = json(await access());
    assert.equal(Number(exp) - Number(iat), Number(tokens["expires_in"]));
    assert.ok(Math.abs(Number(iat) - now()) < 60);
  });

  it("answers JSON (RFC 7662 §2.2)", async () => {
    assert.match((await access()).headers["content-type"] ?? "", /^application\/json/);
  });

  it("is kept by no cache (RFC 7662 §4)", async () => {
    assert.match((await access()).headers["cache-control"] ?? "", /no-store/);
  });

  it("knows refresh tokens (RFC 7662 §2.1)", async () => {
    const known = json(await ask({ token: tokens["refresh_token"] }));
    assert.equal(known["active"], true);
    assert.equal(known["token_type"], undefined, "which no resource takes");
  });

  it("names no subject where no person is involved (RFC 7662 §2.2)", async () => {
    const own = json(await app.token({ grant_type: "client_credentials" }));
    const known = json(await ask({ token: String(own["access_token"]) }));
    assert.equal(known["active"], true);
    assert.equal(known["sub"], undefined);
  });

  it("knows a person by the subject that the client knows (OIDC Core §8.1)", async () => {
    const pairwise = await register({ subject_type: "pairwise" });
    const { access_token: token, id_token: idToken = "" } = await signIn(pairwise);
    const { sub } = json(await ask({ token }, pairwise));
    assert.equal(sub, decodeJwt(idToken).sub);
    assert.notEqual(sub, user.id);
  });

  for (const [token, hint] of [
    ["access_token", "refresh_token"],
    ["refresh_token", "access_token"],
    ["access_token", "saml2"],
  ] as const)
    it(`finds a token by itself: ${token} as ${hint} (RFC 7662 §2.1)`, async () => {
      const known = await ask({ token: tokens[token], token_type_hint: hint });
      assert.equal(json(known)["active"], true);
    });

  const INACTIVE: Record<string, () => Promise<Answer>> = {
    "that nobody issued": async () => ask({ token: "x".repeat(43) }),
    "that was revoked": async () => {
      const { access_token: token } = await signIn(app);
      await app.post("/token/revocation", { token });
      return ask({ token });
    },
    "that was replaced": async () => {
      const rp = await register({ refresh_reuse_interval: 0 });
      const { refresh_token: token } = await signIn(rp);
      await rp.token({ grant_type: "refresh_token", refresh_token: token });
      return ask({ token }, rp);
    },
    "that ran out": async () => {
      const rp = await register();
      const { access_token: token } = await signIn(rp);
      await server.database.knex.raw(
        `UPDATE oidc_artifacts SET expires_at = now() - interval '1 second' WHERE payload->>'clientId' = :id`,
        { id: rp.credentials.clientId },
      );
      return ask({ token }, rp);
    },
    "of another client": async () => ask({ token: tokens["access_token"] }, await register()),
    "of another client, to refresh": async () =>
      ask({ token: tokens["refresh_token"] }, await register()),
    "that is a code": async () => {
      const answer = await browser.open(app.authorization({ prompt: "none" }));
      return ask({ token: response(answer)["code"] });
    },
  };
  for (const [what, ask] of Object.entries(INACTIVE))
    it(`says nothing but that it is not active of a token ${what} (RFC 7662 §2.2)`, async () => {
      const answer = await ask();
      assert.equal(answer.status, 200);
      assert.deepEqual(json(answer), { active: false });
    });

  it("refuses who does not say who it is (RFC 7662 §2.1)", async () => {
    const answer = await send(server, { path: PATH, fields: { token: tokens["access_token"] } });
    assert.ok(answer.status >= 400);
    assert.equal(answer.text.includes('"active"'), false);
  });

  it("tells nothing to a client that cannot prove who it is, even of its own tokens (RFC 7662 §2.1)", async () => {
    const open = await register({ token_endpoint_auth_method: "none" });
    const { access_token: token } = await signIn(open);
    assert.deepEqual(json(await ask({ token }, open)), { active: false });
  });

  it("refuses a wrong secret with 401 and how to authenticate (RFC 7662 §2.3)", async () => {
    const { clientId, redirectUri } = app.credentials;
    const thief = new RelyingParty(server, { clientId, redirectUri, clientSecret: "wrong" });
    const answer = await ask({ token: tokens["access_token"] }, thief);
    assert.equal(answer.status, 401);
    assert.equal(errorOf(answer), "invalid_client");
    assert.match(answer.headers["www-authenticate"] ?? "", /^Basic /);
  });

  it("needs a token to speak of (RFC 7662 §2.1)", async () => {
    assert.equal(errorOf(await ask({})), "invalid_request");
  });

  it("refuses two tokens at once (RFC 6749 §3.2)", async () => {
    const { access_token: one = "", refresh_token: other = "" } = tokens;
    assert.equal(errorOf(await ask({ token: [one, other] })), "invalid_request");
  });

  it("takes no token from an address (RFC 7662 §2.1)", async () => {
    const answer = await app.post(`${PATH}?token=${tokens["access_token"]}`, {});
    assert.equal(answer.status, 400);
  });

  it("answers a POST only (RFC 7662 §2.1)", async () => {
    const answer = await send(server, { path: `${PATH}?token=${tokens["access_token"]}` });
    assert.ok(answer.status === 404 || answer.status === 405);
  });

  it("refuses a body that is no form (RFC 7662 §2.1)", async () => {
    const answer = await send(server, {
      path: PATH,
      body: JSON.stringify({ token: tokens["access_token"] }),
      headers: { "content-type": "application/json" },
    });
    assert.ok(answer.status >= 400);
  });

  describe("as a JWT", () => {
    let keys: ReturnType<typeof createRemoteJWKSet>;
    before(() => {
      keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`));
    });

    async function signed(rp: RelyingParty, fields: Fields): Promise<Answer> {
      const { clientId, clientSecret } = rp.credentials;
      const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
      return rp.post(PATH, fields, { accept: JWT, authorization });
    }
    const verified = async () => {
      const { text } = await signed(app, { token: tokens["access_token"] });
      return jwtVerify(text, keys);
    };

    it("is what was asked for (RFC 9701 §5)", async () => {
      const answer = await signed(app, { token: tokens["access_token"] });
      assert.equal(answer.status, 200);
      assert.ok(answer.headers["content-type"]?.startsWith(JWT));
    });

    it("is not what was not asked for (RFC 9701 §4)", async () => {
      assert.match((await access()).headers["content-type"] ?? "", /^application\/json/);
    });

    it("says that it is no token of another kind (RFC 9701 §5)", async () => {
      assert.equal((await verified()).protectedHeader.typ, "token-introspection+jwt");
    });

    it("says who answers (RFC 9701 §5)", async () => {
      assert.equal((await verified()).payload.iss, server.issuer);
    });

    it("says for whom the answer is (RFC 9701 §5)", async () => {
      assert.equal((await verified()).payload.aud, app.credentials.clientId);
    });

    it("says when it was answered (RFC 9701 §5)", async () => {
      assert.ok(Math.abs(Number((await verified()).payload.iat) - now()) < 60);
    });

    it("has the same answer inside (RFC 9701 §5)", async () => {
      const { payload } = await verified();
      assert.deepEqual(payload["token_introspection"], json(await access()));
    });

    it("cannot be taken for an access token (RFC 9701 §5)", async () => {
      const { payload } = await verified();
      assert.deepEqual([payload.sub, payload.exp], [undefined, undefined]);
    });

    it("says nothing but that it is not active of a dead token (RFC 9701 §5)", async () => {
      const { text } = await signed(app, { token: "x".repeat(43) });
      const { payload } = await jwtVerify(text, keys);
      assert.deepEqual(payload["token_introspection"], { active: false });
    });

    it("is signed with the algorithm that the client registered (RFC 9701 §6)", async () => {
      for (const alg of ["RS256", "ES256"]) {
        const rp = await register({ introspection_signed_response_alg: alg });
        const { text } = await signed(rp, { token: "nothing" });
        assert.equal((await jwtVerify(text, keys)).protectedHeader.alg, alg);
      }
    });

    describe("that is encrypted", () => {
      let key: ClientKey;
      let rp: RelyingParty;
      before(async () => {
        key = await aKey("ECDH-ES");
        rp = await register({
          jwks: { keys: [key.jwk] },
          introspection_encrypted_response_alg: "ECDH-ES",
          introspection_encrypted_response_enc: "A256GCM",
        });
      });

      it("is signed, then encrypted for the client (RFC 9701 §5)", async () => {
        const { text } = await signed(rp, { token: "nothing" });
        const { plaintext, protectedHeader } = await compactDecrypt(text, key.privateKey);
        assert.deepEqual([protectedHeader.alg, protectedHeader.enc], ["ECDH-ES", "A256GCM"]);
        const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), keys);
        assert.equal(payload.aud, rp.credentials.clientId);
      });

      it("is never sent in the clear instead (RFC 9701 §6)", async () => {
        assert.equal(errorOf(await ask({ token: "nothing" }, rp)), "invalid_request");
      });
    });
  });
});
