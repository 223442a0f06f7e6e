import assert from "node:assert/strict";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import type { Answer, Fields } from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";
import { aKey, assertion, now, proof, sign, type ClientKey } from "../support/signing.ts";

/** RFC 9126. */
describe("pushed authorization requests", () => {
  let server: TestServer;
  let bank: { issuer: string; port: number };
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let key: ClientKey;
  let app: RelyingParty;
  let other: RelyingParty;

  before(async () => {
    server = await aServerWith({ bank: "fapi2" });
    bank = issuerAt(server, "bank");
    user = await aUser(server);
    browser = new WebBrowser(server);
    key = await aKey();
    app = await register({ jwks: { keys: [key.jwk] } });
    other = await register();
    await walk(server, browser, app.authorization(), user);
  });
  after(() => server.stop());

  const register = async (metadata = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));

  const push = async (changes: Fields = {}, rp = app) =>
    rp.post("/request", rp.parameters(changes));

  async function pushed(changes: Fields = {}, rp = app): Promise<string> {
    const answer = await push(changes, rp);
    assert.equal(answer.status, 201, answer.text);
    return String(json(answer)["request_uri"]);
  }

  const address = (requestUri: string, more: Record<string, string> = {}) =>
    `/auth?${new URLSearchParams({ client_id: app.credentials.clientId, request_uri: requestUri, ...more })}`;

  const use = async (requestUri: string, more = {}) => browser.open(address(requestUri, more));

  /** A request object with these parameters. */
  const object = async (changes: Fields = {}, claims: Record<string, unknown> = {}) =>
    sign(key, {
      ...app.parameters(changes),
      iss: app.credentials.clientId,
      aud: server.issuer,
      exp: now() + 60,
      ...claims,
    });

  describe("are pushed", () => {
    it("and answered with 201 (RFC 9126 §2.2)", async () => {
      assert.equal((await push()).status, 201);
    });

    it("and answered in JSON that no cache keeps (RFC 9126 §2.2)", async () => {
      const { headers } = await push();
      assert.match(headers["content-type"] ?? "", /^application\/json/);
      assert.match(headers["cache-control"] ?? "", /no-store/);
    });

    it("and known by a URN that nobody guesses (RFC 9126 §2.2, §7.1)", async () => {
      assert.match(await pushed(), /^urn:ietf:params:oauth:request_uri:[\w-]{32,}$/);
    });

    it("and each has a name of its own (RFC 9126 §2.2)", async () => {
      assert.notEqual(await pushed(), await pushed());
    });

    it("and live for a short time that the client is told (RFC 9126 §2.2)", async () => {
      const { expires_in: life } = json(await push());
      assert.ok(Number.isInteger(life) && Number(life) >= 5 && Number(life) <= 600);
    });

    it("by a POST only (RFC 9126 §2)", async () => {
      const query = new URL(app.authorization(), server.issuer).search;
      const answer = await send(server, { path: `/request${query}` });
      assert.ok(answer.status === 404 || answer.status === 405);
    });

    it("with the authentication of the token endpoint (RFC 9126 §2)", async () => {
      const answer = await send(server, { path: "/request", fields: app.parameters() });
      assert.deepEqual([answer.status, errorOf(answer)], [401, "invalid_client"]);
    });

    it("with the client's own secret (RFC 9126 §2)", async () => {
      const { clientId, redirectUri } = app.credentials;
      const { clientSecret } = other.credentials;
      const thief = new RelyingParty(server, { clientId, redirectUri, clientSecret });
      assert.equal(errorOf(await push({}, thief)), "invalid_client");
    });

    it("for the client that authenticates, not for another (RFC 9126 §2.1)", async () => {
      const answer = await app.post("/request", other.parameters());
      assert.equal(answer.status, 400);
    });

    it("by public clients too, which have no secret to show (RFC 9126 §2)", async () => {
      const open = await register({ token_endpoint_auth_method: "none" });
      assert.equal((await push({}, open)).status, 201);
    });

    it("at the place that discovery names (RFC 9126 §5)", async () => {
      const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
      const { pushed_authorization_request_endpoint: endpoint } = metadata;
      assert.equal(endpoint, `${server.issuer}/request`);
    });
  });

  describe("are checked at once", () => {
    for (const [what, changes, error] of [
      ["a request_uri inside", { request_uri: "urn:ietf:params:oauth:request_uri:x" }, /./],
      [
        "an unregistered redirect_uri",
        { redirect_uri: "https://evil.example/" },
        /^invalid_request$/,
      ],
      ["no redirect_uri", { redirect_uri: undefined }, /^invalid_request$/],
      ["no response_type", { response_type: undefined }, /^invalid_request$/],
      ["an unknown response_type", { response_type: "magic" }, /^unsupported_response_type$/],
      ["a scope that is none", { scope: 'openid "x"' }, /^invalid_scope$/],
      [
        "no code challenge",
        { code_challenge: undefined, code_challenge_method: undefined },
        /^invalid_request$/,
      ],
      ["the plain challenge method", { code_challenge_method: "plain" }, /^invalid_request$/],
      ["an unknown prompt", { prompt: "magic" }, /^invalid_request$/],
      ["claims that are no JSON", { claims: "{" }, /^invalid_request$/],
      ["a parameter twice", { state: ["a", "b"] }, /^invalid_request$/],
    ] as const)
      it(`refuses ${what} (RFC 9126 §2.1, §2.3)`, async () => {
        const answer = await push(changes);
        assert.equal(answer.status, 400, answer.text);
        assert.match(errorOf(answer) ?? "", error);
        assert.equal(answer.location, undefined, "nobody is redirected");
      });

    it("and said what is wrong in JSON (RFC 9126 §2.3)", async () => {
      const answer = await push({ response_type: undefined });
      assert.ok(String(json(answer)["error_description"]).includes("response_type"));
    });
  });

  describe("are used", () => {
    it("with the client and the name of the request only (RFC 9126 §4)", async () => {
      const answer = await use(await pushed({ state: "pushed" }));
      assert.equal(response(answer)["state"], "pushed");
      assert.equal((await app.redeem(response(answer)["code"] ?? "")).status, 200);
    });

    it("by the client that pushed them only (RFC 9126 §2.2, §4)", async () => {
      const { clientId } = other.credentials;
      const answer = await use(await pushed(), { client_id: clientId });
      assert.ok(errorOf(answer));
      assert.equal(answer.location, undefined);
    });

    it("with the client named (RFC 9126 §4)", async () => {
      const requestUri = encodeURIComponent(await pushed());
      const answer = await browser.open(`/auth?request_uri=${requestUri}`);
      assert.equal(errorOf(answer), "invalid_request");
    });

    for (const [name, value] of [
      ["state", "another"],
      ["redirect_uri", "https://evil.example/"],
      ["scope", "openid email"],
      ["nonce", "another"],
      ["code_challenge", "A".repeat(43)],
    ] as const)
      it(`whatever ${name} the address adds (RFC 9126 §4, RFC 9101 §6.3)`, async () => {
        const answer = await use(await pushed(), { [name]: value });
        assert.ok(answer.location?.startsWith(app.credentials.redirectUri), errorOf(answer));
        assert.equal(response(answer)["state"], "a-state");
        const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
        assert.equal(tokens["scope"], "openid");
        const claims = Buffer.from(String(tokens["id_token"]).split(".")[1] ?? "", "base64url");
        assert.equal(JSON.parse(claims.toString())["nonce"], "a-nonce");
      });

    it("with no other response_type than was pushed (RFC 9126 §4, RFC 9101 §6.3)", async () => {
      const answer = await use(await pushed(), { response_type: "none" });
      assert.equal(errorOf(answer), "invalid_request_object");
    });

    it("not beside a request object (RFC 9101 §5)", async () => {
      const answer = await use(await pushed(), { request: await object() });
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("once (RFC 9126 §4, §7.3)", async () => {
      const requestUri = await pushed();
      assert.ok(response(await use(requestUri))["code"]);
      const again = await use(requestUri);
      assert.equal(errorOf(again), "invalid_request_uri");
      assert.equal(again.location, undefined);
    });

    it("once, however many try at the same time (RFC 9126 §7.3)", async () => {
      const requestUri = await pushed();
      const answers = await Promise.all(
        Array.from({ length: 10 }, async () => browser.copy().open(address(requestUri))),
      );
      const codes = answers.filter(({ location }) => location?.includes("code="));
      assert.equal(codes.length, 1);
    });

    it("by one of two browsers that began with them (RFC 9126 §7.3)", async () => {
      const requestUri = await pushed();
      const [one, two] = [new WebBrowser(server), new WebBrowser(server)];
      const begun = await walk(server, two, address(requestUri), { ...user, until: "login" });
      assert.equal(begun.page, "login");
      assert.ok(response(await walk(server, one, address(requestUri), user))["code"]);
      const late = await walk(server, two, begun.url.href, user);
      assert.ok(late.location === undefined || !late.location.includes("code="));
    });

    it("by a person who signs in first, even if that takes longer (RFC 9126 §4)", async () => {
      const slow = new WebBrowser(server);
      const begun = await walk(server, slow, address(await pushed()), { ...user, until: "login" });
      await expire();
      assert.ok(response(await walk(server, slow, begun.url.href, user))["code"]);
    });

    it("not after their time (RFC 9126 §2.2, §4)", async () => {
      const requestUri = await pushed();
      await expire();
      assert.equal(errorOf(await use(requestUri)), "invalid_request_uri");
    });

    it("not if nobody pushed them (RFC 9126 §4)", async () => {
      const answer = await use(`urn:ietf:params:oauth:request_uri:${"x".repeat(43)}`);
      assert.equal(errorOf(answer), "invalid_request_uri");
    });

    it("and never fetched from where the client did not register (RFC 9101 §10.4.1)", async () => {
      const answer = await use("https://rp.example/request.jwt");
      assert.equal(errorOf(answer), "invalid_request_uri");
    });

    async function expire(): Promise<void> {
      await server.database.knex.raw(
        `UPDATE oidc_artifacts SET expires_at = now() - interval '1 second' WHERE model = 3`,
      );
    }
  });

  describe("as request objects", () => {
    it("are taken when the client signed them (RFC 9126 §3)", async () => {
      const answer = await app.post("/request", { request: await object({ state: "signed" }) });
      assert.equal(answer.status, 201, answer.text);
      const used = await use(String(json(answer)["request_uri"]));
      assert.equal(response(used)["state"], "signed");
    });

    it("count alone, whatever is beside them in the form (RFC 9126 §3)", async () => {
      const request = await object({ state: "signed" });
      const answer = await push({ request, state: "beside", scope: "openid email" });
      const used = await use(String(json(answer)["request_uri"]));
      assert.equal(response(used)["state"], "signed");
    });

    it("are refused if another client is in them (RFC 9126 §3)", async () => {
      const { clientId } = other.credentials;
      const answer = await app.post("/request", { request: await object({ client_id: clientId }) });
      assert.equal(errorOf(answer), "invalid_request_object");
    });

    it("are refused if no client is in them (RFC 9126 §3)", async () => {
      const request = await object({ client_id: undefined });
      assert.equal(errorOf(await app.post("/request", { request })), "invalid_request_object");
    });

    it("are refused if somebody else signed them (RFC 9126 §3)", async () => {
      const request = await sign(await aKey(), {
        ...app.parameters(),
        iss: app.credentials.clientId,
        aud: server.issuer,
      });
      assert.equal(errorOf(await app.post("/request", { request })), "invalid_request_object");
    });

    it("are refused with a request_uri inside (RFC 9126 §2.1, RFC 9101 §4)", async () => {
      const request = await object({ request_uri: "urn:ietf:params:oauth:request_uri:x" });
      assert.equal(errorOf(await app.post("/request", { request })), "invalid_request_object");
    });

    it("live no longer than they say (RFC 9126 §2.2)", async () => {
      const request = await object({}, { exp: now() + 20 });
      const { expires_in: life } = json(await app.post("/request", { request }));
      assert.ok(Number(life) <= 20);
    });
  });

  describe("are required", () => {
    it("of a client that registered so (RFC 9126 §6)", async () => {
      const strict = await register({ require_pushed_authorization_requests: true });
      const answer = await browser.open(strict.authorization());
      assert.equal(response(answer)["error"], "invalid_request");
      const requestUri = await pushed({}, strict);
      const { clientId } = strict.credentials;
      assert.ok(response(await use(requestUri, { client_id: clientId }))["code"]);
    });

    it("of a client that registered so, signed or not (RFC 9126 §6)", async () => {
      const strict = await register({
        require_pushed_authorization_requests: true,
        jwks: { keys: [key.jwk] },
      });
      const { clientId, redirectUri } = strict.credentials;
      const claims = { ...strict.parameters(), iss: clientId, aud: server.issuer };
      const request = await sign(key, claims);
      const query = { client_id: clientId, redirect_uri: redirectUri, request };
      const answer = await browser.open(`/auth?${new URLSearchParams(query)}`);
      assert.ok(!answer.location?.includes("code="));
    });

    describe("by the fapi2 preset", () => {
      let client: RelyingParty;
      before(async () => {
        const metadata = {
          first_party: true,
          token_endpoint_auth_method: "private_key_jwt",
          jwks: { keys: [key.jwk] },
          require_pushed_authorization_requests: true,
          dpop_bound_access_tokens: true,
        };
        client = new RelyingParty(bank, await aClient(server, metadata, "bank"));
      });
      const pushAs = async (changes: Fields = {}): Promise<Answer> =>
        client.post(
          "/request",
          {
            ...client.parameters(changes),
            ...(await assertion(bank, client.credentials.clientId, key)),
          },
          {},
        );

      it("which says so in discovery (RFC 9126 §5)", async () => {
        const path = "/bank/.well-known/openid-configuration";
        const metadata = json(await send(server, { path }));
        assert.equal(metadata["require_pushed_authorization_requests"], true);
      });

      it("of every client (RFC 9126 §5, FAPI 2.0 §5.3.2.2)", async () => {
        const answer = await new WebBrowser(bank).open(client.authorization());
        assert.equal(response(answer)["error"], "invalid_request");
      });

      it("with the client authenticated (FAPI 2.0 §5.3.2.2)", async () => {
        const answer = await client.post("/request", client.parameters(), {});
        assert.equal(errorOf(answer), "invalid_client");
      });

      it("with a redirect_uri in each (FAPI 2.0 §5.3.2.2)", async () => {
        assert.equal(errorOf(await pushAs({ redirect_uri: undefined })), "invalid_request");
      });

      it("for less than ten minutes (FAPI 2.0 §5.3.2.2)", async () => {
        assert.ok(Number(json(await pushAs())["expires_in"]) < 600);
      });

      it("and leads to a token that only the client can use (FAPI 2.0 §5.3.2.1)", async () => {
        const requestUri = String(json(await pushAs())["request_uri"]);
        const query = { client_id: client.credentials.clientId, request_uri: requestUri };
        const path = `/bank/auth?${new URLSearchParams(query)}`;
        const answer = await walk(bank, new WebBrowser(bank), path, user);
        const form = await assertion(bank, client.credentials.clientId, key);
        const dpop = await proof(key, { htu: `${bank.issuer}/token` });
        const tokens = await client.redeem(response(answer)["code"] ?? "", form, { dpop });
        assert.equal(json(tokens)["token_type"], "DPoP");
      });
    });
  });
});
