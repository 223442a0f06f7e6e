import assert from "node:assert/strict";
import * as oauth from "oauth4webapi";
import { OAuthAuthorization } from "../../src/models/oauth-authorization.ts";
import { OAuthGrant } from "../../src/models/oauth-grant.ts";
import { aHouse, type House } from "../support/presets.ts";
import {
  basic,
  challengeOf,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  VERIFIER,
  type Answer,
  type Fields,
} from "../support/rp.ts";

const CALLBACK = "https://rp.example/callback";
/** RFC 6749 Appendix A.7, A.8 */
const DESCRIPTION = /^[\x20-\x21\x23-\x5B\x5D-\x7E]*$/;

/** What a code brings, to whom, and once. */
describe("the authorization code grant", () => {
  let house: House;
  let app: RelyingParty;
  let other: RelyingParty;
  let open: RelyingParty;

  before(async () => {
    house = await aHouse();
    app = await house.client({ redirect_uris: [CALLBACK, "https://rp.example/second"] });
    other = await house.client();
    open = await house.client({}, "conformance");
  });
  after(() => house.server.stop());

  const codeOf = (changes: Fields = {}) => house.codeOf(app, changes);
  const fields = (code: string): Fields => ({
    grant_type: "authorization_code",
    code,
    redirect_uri: CALLBACK,
    code_verifier: VERIFIER,
  });

  function refuses(answer: Answer, error: string, status = 400): void {
    assert.equal(errorOf(answer), error, answer.text);
    assert.equal(answer.status, status);
    for (const name of ["access_token", "refresh_token", "id_token"])
      assert.equal(json(answer)[name], undefined);
  }

  describe("an answer that is right", () => {
    let answer: Answer;
    let tokens: Record<string, unknown>;
    before(async () => {
      answer = await app.redeem(await codeOf({ scope: "openid email" }));
      tokens = json(answer);
    });

    it("has status 200 (RFC 6749 §5.1)", () => assert.equal(answer.status, 200));

    it("is JSON (RFC 6749 §5.1)", () =>
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/));

    it("is stored by nobody: Cache-Control (RFC 6749 §5.1)", () =>
      assert.match(answer.headers["cache-control"] ?? "", /(^|[ ,])no-store/));

    it("names the type of its token (RFC 6749 §5.1)", () =>
      assert.equal(String(tokens["token_type"]).toLowerCase(), "bearer"));

    it("has an access token of the characters of RFC 6750 (RFC 6750 §2.1)", () =>
      assert.match(String(tokens["access_token"]), /^[A-Za-z0-9\-._~+/]{22,}=*$/));

    it("says in a number how long the token is good (RFC 6749 §5.1)", () => {
      assert.equal(typeof tokens["expires_in"], "number");
      assert.ok(Number(tokens["expires_in"]) > 0 && Number(tokens["expires_in"]) <= 3600);
    });

    it("has an ID token where openid was asked for (OIDC Core §3.1.3.3)", () =>
      assert.match(String(tokens["id_token"]), /^[\w-]+\.[\w-]+\.[\w-]+$/));

    it("holds no more scope than was asked for (RFC 6749 §3.3)", () =>
      assert.deepEqual(String(tokens["scope"]).split(" ").toSorted(), ["email", "openid"]));

    it("is one that a strict client accepts (RFC 6749 §4.1.4, OIDC Core §3.1.3.7)", async () => {
      const { issuer } = house.server;
      const { clientId, clientSecret } = app.credentials;
      const insecure = { [oauth.allowInsecureRequests]: true };
      const as = await oauth.processDiscoveryResponse(
        new URL(issuer),
        await oauth.discoveryRequest(new URL(issuer), insecure),
      );
      const client = { client_id: clientId };
      const sent = await house.ask(app);
      const params = oauth.validateAuthResponse(
        as,
        client,
        new URL(sent.location ?? ""),
        "a-state",
      );
      const result = await oauth.processAuthorizationCodeResponse(
        as,
        client,
        await oauth.authorizationCodeGrantRequest(
          as,
          client,
          oauth.ClientSecretBasic(clientSecret),
          params,
          CALLBACK,
          VERIFIER,
          insecure,
        ),
        { expectedNonce: "a-nonce", requireIdToken: true },
      );
      assert.ok(result.access_token);
    });
  });

  describe("a request", () => {
    it("of GET is no request (RFC 6749 §3.2)", async () => {
      const query = new URLSearchParams(fields(await codeOf()) as Record<string, string>);
      const { clientId, clientSecret } = app.credentials;
      const answer = await send(house.server, {
        path: `/token?${query}`,
        headers: { authorization: basic(clientId, clientSecret) },
      });
      assert.ok(answer.status === 404 || answer.status === 405, String(answer.status));
    });

    it("is a form, and not JSON (RFC 6749 §4.1.3)", async () => {
      const { clientId, clientSecret } = app.credentials;
      const code = await codeOf();
      const answer = await send(house.server, {
        path: "/token",
        body: JSON.stringify(fields(code)),
        headers: {
          "content-type": "application/json",
          authorization: basic(clientId, clientSecret),
        },
      });
      assert.ok(answer.status >= 400 && answer.status < 500);
      assert.doesNotMatch(answer.text, /access_token/);
    });

    it("without grant_type is invalid (RFC 6749 §5.2)", async () =>
      refuses(await app.redeem(await codeOf(), { grant_type: undefined }), "invalid_request"));

    it("with an empty grant_type is invalid (RFC 6749 §3.2)", async () =>
      refuses(await app.redeem(await codeOf(), { grant_type: "" }), "invalid_request"));

    it("for a grant that nobody knows is unsupported (RFC 6749 §5.2)", async () =>
      refuses(await app.redeem(await codeOf(), { grant_type: "magic" }), "unsupported_grant_type"));

    it("for the password grant is unsupported (RFC 9700 §2.4)", async () => {
      const person = { username: house.user.email, password: "correct horse battery staple" };
      refuses(await app.token({ grant_type: "password", ...person }), "unsupported_grant_type");
    });

    it("for the implicit grant is unsupported (RFC 6749 §4.2)", async () =>
      refuses(await open.token({ grant_type: "implicit" }), "unsupported_grant_type"));

    it("for a grant that the client did not register is unauthorized (RFC 6749 §5.2)", async () =>
      refuses(await app.token({ grant_type: "client_credentials" }), "unauthorized_client"));

    it("for a code by a client without that grant is unauthorized (RFC 6749 §5.2)", async () => {
      const machine = await house.client({
        grant_types: ["client_credentials"],
        redirect_uris: [],
      });
      refuses(await machine.redeem("x", { redirect_uri: CALLBACK }), "unauthorized_client");
    });

    it("without a code is invalid (RFC 6749 §4.1.3)", async () =>
      refuses(await app.redeem("x", { code: undefined }), "invalid_request"));

    for (const name of ["grant_type", "code", "redirect_uri", "code_verifier"])
      it(`with ${name} twice is invalid (RFC 6749 §3.2)`, async () => {
        const right = fields(await codeOf());
        const value = String(right[name]);
        refuses(await app.token({ ...right, [name]: [value, value] }), "invalid_request");
      });

    it("with a parameter that nobody knows is right (RFC 6749 §3.2)", async () =>
      assert.equal((await app.redeem(await codeOf(), { x_unknown: "1" })).status, 200));

    it("with a code that is nobody's is an invalid grant (RFC 6749 §5.2)", async () =>
      refuses(await app.redeem("nobodys"), "invalid_grant"));

    it("says what is wrong as JSON that nobody stores (RFC 6749 §5.2)", async () => {
      const answer = await app.redeem("nobodys");
      assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    });

    it("says what is wrong in the characters that may be (RFC 6749 §5.2)", async () => {
      for (const changes of [
        { grant_type: '\u00e4"\\' },
        { code: '\u00e4"\\' },
        { code_verifier: '\u00e4"\\' },
      ] satisfies Fields[]) {
        const said = json(await app.redeem(await codeOf(), changes));
        assert.match(String(said["error"]), DESCRIPTION);
        assert.match(
          typeof said["error_description"] === "string" ? said["error_description"] : "",
          DESCRIPTION,
        );
      }
    });

    it("of a client that fails with its header is told so by the header (RFC 6749 §5.2)", async () => {
      const { clientId } = app.credentials;
      const answer = await app.redeem(
        await codeOf(),
        {},
        { authorization: basic(clientId, "wrong") },
      );
      refuses(answer, "invalid_client", 401);
      assert.match(String(answer.headers["www-authenticate"]), /^Basic realm="/);
    });

    it("of nobody is refused (RFC 6749 §3.2.1)", async () => {
      const answer = await app.redeem(await codeOf(), {}, {});
      assert.match(errorOf(answer) ?? "", /^invalid_(request|client)$/);
      assert.doesNotMatch(answer.text, /access_token/);
    });

    it("of a confidential client needs more than its client_id (RFC 6749 §3.2.1)", async () => {
      const { clientId } = app.credentials;
      refuses(await app.redeem(await codeOf(), { client_id: clientId }, {}), "invalid_client", 401);
    });

    it("of a public client names it (RFC 6749 §4.1.3)", async () => {
      const spa = await house.client({ token_endpoint_auth_method: "none" });
      const code = await house.codeOf(spa);
      refuses(await spa.redeem(code, { client_id: undefined }), "invalid_request");
    });
  });

  describe("a code", () => {
    it("has more entropy than anybody guesses (RFC 6749 §10.10)", async () => {
      const [one, two] = [await codeOf(), await codeOf()];
      assert.notEqual(one, two);
      assert.ok(one.length >= 22, one);
    });

    it("has characters that need no encoding in an address (RFC 6749 §A.11)", async () =>
      assert.match(await codeOf(), /^[\w.~-]+$/));

    it("lives ten minutes at most (RFC 6749 §4.1.2)", async () => {
      await codeOf();
      const [row] = await OAuthAuthorization.query(house.server.database.knex)
        .orderBy("createdAt", "desc")
        .limit(1);
      assert.ok(row !== undefined);
      const seconds = (row.expiresAt.getTime() - row.createdAt.getTime()) / 1000;
      assert.ok(seconds > 0 && seconds <= 600, String(seconds));
    });

    it("is worth nothing when its time is over (RFC 6749 §4.1.2)", async () => {
      const code = await codeOf();
      await house.server.database.knex.raw(
        "UPDATE oauth_authorizations SET expires_at = expires_at - interval '5 minutes'",
      );
      refuses(await app.redeem(code), "invalid_grant");
    });

    it("is good once (RFC 6749 §4.1.2)", async () => {
      const code = await codeOf();
      assert.equal((await app.redeem(code)).status, 200);
      refuses(await app.redeem(code), "invalid_grant");
    });

    it("is good once for many at the same moment (RFC 6749 §4.1.2)", async () => {
      const code = await codeOf();
      const answers = await Promise.all(Array.from({ length: 5 }, () => app.redeem(code)));
      assert.ok(answers.filter(({ status }) => status === 200).length <= 1);
    });

    it("used again revokes the access token that it brought (RFC 6749 §4.1.2)", async () => {
      const code = await codeOf();
      const { access_token: token } = json(await app.redeem(code));
      assert.equal((await app.userinfo(String(token))).status, 200);
      await app.redeem(code);
      assert.equal((await app.userinfo(String(token))).status, 401);
    });

    it("used again revokes the refresh token that it brought (RFC 6749 §4.1.2)", async () => {
      const code = await codeOf();
      const { refresh_token: token } = json(await app.redeem(code));
      await app.redeem(code);
      const again = { grant_type: "refresh_token", refresh_token: String(token) };
      refuses(await app.token(again), "invalid_grant");
    });

    it("used again revokes what its refresh token brought (RFC 6749 §4.1.2)", async () => {
      const code = await codeOf();
      const first = json(await app.redeem(code));
      const again = { grant_type: "refresh_token", refresh_token: String(first["refresh_token"]) };
      const { access_token: token } = json(await app.token(again));
      await app.redeem(code);
      assert.equal((await app.userinfo(String(token))).status, 401);
    });

    it("is for the client that got it (RFC 6749 §4.1.3)", async () =>
      refuses(await other.redeem(await codeOf()), "invalid_grant"));

    it("is not spent by another client that tries (RFC 6749 §4.1.3)", async () => {
      const code = await codeOf();
      await other.redeem(code);
      assert.equal((await app.redeem(code)).status, 200);
    });

    it("is for the client that got it, public clients too (RFC 6749 §4.1.3)", async () => {
      const metadata = { token_endpoint_auth_method: "none" };
      const [one, two] = [await house.client(metadata), await house.client(metadata)];
      refuses(await two.redeem(await house.codeOf(one)), "invalid_grant");
    });

    it("is for the issuer that gave it (RFC 9700 §4.4)", async () =>
      refuses(await open.redeem(await codeOf()), "invalid_grant"));

    it("comes with the redirect_uri of its request (RFC 6749 §4.1.3)", async () => {
      const answer = await app.redeem(await codeOf(), { redirect_uri: undefined });
      refuses(answer, "invalid_request");
    });

    it("comes with no other redirect_uri, also of the same client (RFC 6749 §4.1.3)", async () => {
      const changes = { redirect_uri: "https://rp.example/second" };
      refuses(await app.redeem(await codeOf(), changes), "invalid_grant");
    });

    it("comes with the identical redirect_uri (RFC 6749 §4.1.3)", async () => {
      const changes = { redirect_uri: `${CALLBACK}?` };
      refuses(await app.redeem(await codeOf(), changes), "invalid_grant");
    });

    it("of a native app comes with the port of its request (RFC 8252 §7.3, RFC 6749 §4.1.3)", async () => {
      const native = await house.client({
        application_type: "native",
        token_endpoint_auth_method: "none",
        redirect_uris: ["http://127.0.0.1/cb"],
      });
      const [mine, another] = ["http://127.0.0.1:5001/cb", "http://127.0.0.1:5002/cb"];
      const code = await house.codeOf(native, { redirect_uri: mine });
      refuses(await native.redeem(code, { redirect_uri: another }), "invalid_grant");
      assert.equal((await native.redeem(code, { redirect_uri: mine })).status, 200);
    });

    it("brings nothing once its grant was revoked (RFC 6749 §4.1.2)", async () => {
      const code = await codeOf();
      await OAuthGrant.query(house.server.database.knex).patch({ revokedAt: new Date() });
      refuses(await app.redeem(code), "invalid_grant");
    });

    it("is no access token and no refresh token (RFC 6749 §1.3.1)", async () => {
      const code = await codeOf();
      assert.equal((await app.userinfo(code)).status, 401);
      const again = { grant_type: "refresh_token", refresh_token: code };
      refuses(await app.token(again), "invalid_grant");
    });
  });

  describe("PKCE", () => {
    const challenges: Record<string, [Fields, string]> = {
      "is missing": [{ code_challenge: undefined, code_challenge_method: undefined }, "§4.4.1"],
      "has a method and no value": [{ code_challenge: undefined }, "§4.3"],
      "has 42 characters": [{ code_challenge: "a".repeat(42) }, "§4.2"],
      "has 129 characters": [{ code_challenge: "a".repeat(129) }, "§4.2"],
      "has a character of base64": [{ code_challenge: `${"a".repeat(42)}/` }, "§4.2"],
      "has padding": [{ code_challenge: `${"a".repeat(43)}=` }, "§4.2"],
      "is plain": [{ code_challenge: VERIFIER, code_challenge_method: "plain" }, "§4.2, §7.2"],
      "has no method, which is plain": [{ code_challenge_method: undefined }, "§4.3"],
      "has a method that nobody knows": [{ code_challenge_method: "S512" }, "§4.4.1"],
      "has its method in small letters": [{ code_challenge_method: "s256" }, "§4.3"],
    };
    for (const [name, [changes, clause]] of Object.entries(challenges))
      it(`refuses a challenge that ${name} (RFC 7636 ${clause})`, async () => {
        const said = response(await house.ask(app, changes));
        assert.equal(said["error"], "invalid_request");
        assert.equal(said["code"], undefined);
      });

    for (const length of [43, 128])
      it(`takes a verifier of ${length} characters (RFC 7636 §4.1)`, async () => {
        const verifier = "aZ09-._~".padEnd(length, "x");
        const code = await codeOf({ code_challenge: challengeOf(verifier) });
        assert.equal((await app.redeem(code, { code_verifier: verifier })).status, 200);
      });

    const verifiers: Record<string, [string, string]> = {
      "has 42 characters": ["x".repeat(42), "§4.1"],
      "has 129 characters": ["x".repeat(129), "§4.1"],
      "has a space": [`${"x".repeat(42)} `, "§4.1"],
      "has a plus": [`${"x".repeat(42)}+`, "§4.1"],
      "has a letter beyond ASCII": [`${"x".repeat(42)}\u00e4`, "§4.1"],
    };
    for (const [name, [verifier, clause]] of Object.entries(verifiers))
      it(`refuses a verifier that ${name}, though its hash is right (RFC 7636 ${clause})`, async () => {
        const code = await codeOf({ code_challenge: challengeOf(verifier) });
        const answer = await app.redeem(code, { code_verifier: verifier });
        assert.match(errorOf(answer) ?? "", /^invalid_(grant|request)$/);
        assert.equal(answer.status, 400);
      });

    it("refuses a code without its verifier (RFC 7636 §4.5, §4.6)", async () =>
      refuses(await app.redeem(await codeOf(), { code_verifier: undefined }), "invalid_grant"));

    it("refuses a code with another verifier (RFC 7636 §4.6)", async () =>
      refuses(
        await app.redeem(await codeOf(), { code_verifier: "b".repeat(43) }),
        "invalid_grant",
      ));

    it("refuses the challenge as verifier (RFC 7636 §4.6)", async () => {
      const changes = { code_verifier: challengeOf(VERIFIER) };
      refuses(await app.redeem(await codeOf(), changes), "invalid_grant");
    });

    it("refuses the verifier of another code (RFC 7636 §4.6, RFC 9700 §4.5.3)", async () => {
      const verifier = "y".repeat(43);
      await codeOf({ code_challenge: challengeOf(verifier) });
      refuses(await app.redeem(await codeOf(), { code_verifier: verifier }), "invalid_grant");
    });

    it("refuses a verifier where no challenge was sent (RFC 9700 §2.1.1)", async () => {
      const changes = { code_challenge: undefined, code_challenge_method: undefined };
      const code = await house.codeOf(open, changes, "conformance");
      refuses(await open.redeem(code), "invalid_grant");
    });

    it("asks for none where the preset asks for none (RFC 7636 §4.4.1)", async () => {
      const changes = { code_challenge: undefined, code_challenge_method: undefined };
      const code = await house.codeOf(open, changes, "conformance");
      assert.equal((await open.redeem(code, { code_verifier: undefined })).status, 200);
    });

    it("asks public clients for it, whatever the preset (RFC 9700 §2.1.1)", async () => {
      const spa = await house.client({ token_endpoint_auth_method: "none" }, "conformance");
      const changes = { code_challenge: undefined, code_challenge_method: undefined };
      const answer = await house.ask(spa, changes, "conformance");
      assert.equal(response(answer)["error"], "invalid_request");
    });

    it("is checked where it was sent though nobody asked (RFC 7636 §4.6)", async () => {
      const code = await house.codeOf(open, {}, "conformance");
      refuses(await open.redeem(code, { code_verifier: undefined }), "invalid_grant");
    });

    it("leaves the code good when the verifier was wrong (RFC 7636 §4.6)", async () => {
      const code = await codeOf();
      await app.redeem(code, { code_verifier: "b".repeat(43) });
      assert.equal((await app.redeem(code)).status, 200);
    });
  });
});
