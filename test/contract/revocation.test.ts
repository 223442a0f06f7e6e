import assert from "node:assert/strict";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import type { Fields, Target } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

const PATH = "/token/revocation";

/** RFC 7009. */
describe("revocation", () => {
  let server: TestServer;
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let app: RelyingParty;
  let open: RelyingParty;
  let stranger: RelyingParty;

  before(async () => {
    server = await aServer();
    user = await aUser(server);
    browser = new WebBrowser(server);
    app = await register({
      grant_types: ["authorization_code", "refresh_token", "client_credentials"],
    });
    open = await register({ token_endpoint_auth_method: "none" });
    stranger = await register();
  });
  after(() => server.stop());

  const register = async (metadata = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));

  async function signIn(rp = app): Promise<{ access: string; refresh: string; idToken: string }> {
    const answer = await walk(server, browser, rp.authorization(), user);
    const tokens = json(await rp.redeem(response(answer)["code"] ?? ""));
    const { access_token: access, refresh_token: refresh, id_token: idToken } = tokens;
    return { access: String(access), refresh: String(refresh), idToken: String(idToken) };
  }

  const revoke = async (fields: Fields, rp = app) => rp.post(PATH, fields);
  const opens = async (token: string) => (await app.userinfo(token)).status === 200;
  const refreshes = async (token: string, rp = app) =>
    (await rp.token({ grant_type: "refresh_token", refresh_token: token })).status === 200;

  it("ends an access token (RFC 7009 §2)", async () => {
    const { access } = await signIn();
    assert.equal((await revoke({ token: access })).status, 200);
    assert.equal(await opens(access), false);
  });

  it("ends a refresh token (RFC 7009 §2)", async () => {
    const { refresh } = await signIn();
    assert.equal((await revoke({ token: refresh })).status, 200);
    assert.equal(await refreshes(refresh), false);
  });

  it("ends a token that a client has for itself (RFC 7009 §2)", async () => {
    const { access_token: own } = json(await app.token({ grant_type: "client_credentials" }));
    await revoke({ token: String(own) });
    const known = await app.post("/token/introspection", { token: String(own) });
    assert.deepEqual(json(known), { active: false });
  });

  it("ends with a refresh token the access tokens of its grant (RFC 7009 §2.1)", async () => {
    const { access, refresh } = await signIn();
    await revoke({ token: refresh });
    assert.equal(await opens(access), false);
  });

  it("ends with a refresh token those that came of it (RFC 7009 §2.1)", async () => {
    const { refresh } = await signIn();
    const next = json(await app.token({ grant_type: "refresh_token", refresh_token: refresh }));
    await revoke({ token: String(next["refresh_token"]) });
    assert.equal(await opens(String(next["access_token"])), false);
    assert.equal(await refreshes(refresh), false);
  });

  it("ends with an access token the refresh token that would bring another (RFC 7009 §2.1)", async () => {
    const { access, refresh } = await signIn();
    await revoke({ token: access });
    assert.equal(await refreshes(refresh), false);
  });

  it("is in force at once, on every node (RFC 7009 §2)", async () => {
    const { running } = await server.another();
    const node: Target = { issuer: server.issuer, port: running.port };
    const there = new RelyingParty(node, app.credentials);
    const { access, refresh } = await signIn();
    assert.equal((await there.userinfo(access)).status, 200);
    await revoke({ token: refresh });
    assert.equal((await there.userinfo(access)).status, 401);
  });

  it("leaves what other clients were given for the same person alone (RFC 7009 §2.1)", async () => {
    const { access } = await signIn(stranger);
    await revoke({ token: (await signIn()).refresh });
    assert.equal(await opens(access), true);
  });

  for (const [kind, hint] of [
    ["access", "refresh_token"],
    ["refresh", "access_token"],
    ["access", "saml2"],
    ["refresh", "saml2"],
  ] as const)
    it(`finds a token by itself: ${kind} as ${hint} (RFC 7009 §2.1)`, async () => {
      const tokens = await signIn();
      const answer = await revoke({ token: tokens[kind], token_type_hint: hint });
      assert.equal(answer.status, 200);
      assert.equal(await opens(tokens.access), false);
    });

  it("answers 200 for a token that nobody issued (RFC 7009 §2.2)", async () => {
    assert.equal((await revoke({ token: "x".repeat(43) })).status, 200);
  });

  it("answers 200 for a token that was revoked before (RFC 7009 §2.2)", async () => {
    const { access } = await signIn();
    await revoke({ token: access });
    assert.equal((await revoke({ token: access })).status, 200);
  });

  it("says nothing in its answer (RFC 7009 §2.2)", async () => {
    assert.equal((await revoke({ token: (await signIn()).access })).text, "");
  });

  it("of another client's access token is refused (RFC 7009 §2.1)", async () => {
    const { access } = await signIn();
    const answer = await revoke({ token: access }, stranger);
    assert.equal(errorOf(answer), "invalid_request");
    assert.equal(await opens(access), true);
  });

  it("of another client's refresh token is refused (RFC 7009 §2.1)", async () => {
    const { refresh } = await signIn();
    const answer = await revoke({ token: refresh }, stranger);
    assert.equal(errorOf(answer), "invalid_request");
    assert.equal(await refreshes(refresh), true);
  });

  it("by whoever names a public client ends no token of another one (RFC 7009 §2.1)", async () => {
    const { access } = await signIn();
    await revoke({ token: access }, open);
    assert.equal(await opens(access), true);
  });

  it("is open to clients without a secret (RFC 7009 §2.1)", async () => {
    const { refresh } = await signIn(open);
    assert.equal((await revoke({ token: refresh }, open)).status, 200);
    assert.equal(await refreshes(refresh, open), false);
  });

  it("refuses who does not say who it is (RFC 7009 §2.1)", async () => {
    const { access } = await signIn();
    const answer = await send(server, { path: PATH, fields: { token: access } });
    assert.ok(answer.status >= 400);
    assert.equal(await opens(access), true);
  });

  it("refuses a client that names itself without its secret (RFC 7009 §2.1)", async () => {
    const { access } = await signIn();
    const { clientId } = app.credentials;
    const answer = await send(server, {
      path: PATH,
      fields: { token: access, client_id: clientId },
    });
    assert.equal(errorOf(answer), "invalid_client");
    assert.equal(await opens(access), true);
  });

  it("refuses a wrong secret with 401 (RFC 7009 §2.2.1)", async () => {
    const { clientId, redirectUri } = app.credentials;
    const thief = new RelyingParty(server, { clientId, redirectUri, clientSecret: "wrong" });
    const { access } = await signIn();
    const answer = await revoke({ token: access }, thief);
    assert.deepEqual([answer.status, errorOf(answer)], [401, "invalid_client"]);
    assert.equal(await opens(access), true);
  });

  it("needs a token to end (RFC 7009 §2.1)", async () => {
    assert.equal(errorOf(await revoke({})), "invalid_request");
  });

  it("refuses two tokens at once (RFC 6749 §3.2)", async () => {
    const { access, refresh } = await signIn();
    assert.equal(errorOf(await revoke({ token: [access, refresh] })), "invalid_request");
    assert.equal(await opens(access), true);
  });

  it("says that it cannot revoke an ID token (RFC 7009 §2.2.1)", async () => {
    const { idToken } = await signIn();
    assert.equal(errorOf(await revoke({ token: idToken })), "unsupported_token_type");
  });

  it("takes no token from an address (RFC 7009 §2.1)", async () => {
    const { access } = await signIn();
    const answer = await app.post(`${PATH}?token=${access}`, {});
    assert.equal(answer.status, 400);
    assert.equal(await opens(access), true);
  });

  it("answers a POST only (RFC 7009 §2)", async () => {
    const { access } = await signIn();
    await send(server, { path: `${PATH}?token=${access}` });
    assert.equal(await opens(access), true);
  });
});
