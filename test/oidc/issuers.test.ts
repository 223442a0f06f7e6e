import assert from "node:assert/strict";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, aUser, freePort, type TestServer } from "../support/server.ts";

/** One process that is several issuers, each with its preset. */
describe("several issuers in one process", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let user: { id: string; email: string };
  const at = (path: string) => send(server, { path });

  before(async () => {
    const port = await freePort();
    server = await aServer({
      PORT: String(port),
      MORE_ISSUERS: [
        `open=conformance@http://localhost:${port}/open`,
        `bank=fapi2@http://localhost:${port}/bank`,
        `old=fapi1@http://127.0.0.1:${port}`,
      ].join(","),
    });
    open = { issuer: `${server.issuer}/open`, port: server.port };
    user = await aUser(server);
  });
  after(() => server.stop());

  it("tells the truth about each, at the OpenID and at the OAuth address (Discovery §4, RFC 8414 §3)", async () => {
    for (const [path, issuer] of [
      ["/.well-known/openid-configuration", server.issuer],
      ["/.well-known/oauth-authorization-server", server.issuer],
      ["/open/.well-known/openid-configuration", `${server.issuer}/open`],
      ["/open/.well-known/oauth-authorization-server", `${server.issuer}/open`],
      ["/.well-known/oauth-authorization-server/open", `${server.issuer}/open`],
      ["/.well-known/openid-configuration/open", `${server.issuer}/open`],
      ["/.well-known/oauth-authorization-server/bank", `${server.issuer}/bank`],
    ] as const) {
      const metadata = json(await at(path));
      assert.equal(metadata["issuer"], issuer, path);
      assert.equal(metadata["authorization_endpoint"], `${issuer}/auth`, path);
      assert.equal(metadata["token_endpoint"], `${issuer}/token`, path);
    }
    assert.equal((await at("/.well-known/oauth-authorization-server/nowhere")).status, 404);
  });

  it("offers of each preset what it is for", async () => {
    const first = json(await at("/.well-known/openid-configuration"));
    const conformance = json(await at("/open/.well-known/openid-configuration"));
    const fapi2 = json(await at("/bank/.well-known/openid-configuration"));
    assert.deepEqual(first["response_types_supported"], ["code"]);
    assert.equal((conformance["response_types_supported"] as string[]).length, 7);
    assert.deepEqual(fapi2["token_endpoint_auth_methods_supported"], ["private_key_jwt"]);
    assert.deepEqual((fapi2["id_token_signing_alg_values_supported"] as string[]).toSorted(), [
      "ES256",
      "PS256",
    ]);
    assert.equal(fapi2["require_pushed_authorization_requests"], true);
    const algorithms = async (path: string) =>
      (json(await at(path))["keys"] as { alg: string }[]).map(({ alg }) => alg).toSorted();
    assert.deepEqual(await algorithms("/jwks"), ["ES256", "RS256"]);
    assert.deepEqual(await algorithms("/bank/jwks"), ["ES256", "PS256"]);
    assert.deepEqual(await algorithms("/open/jwks"), ["ES256", "EdDSA", "PS256", "RS256"]);
  });

  it("signs somebody in at an issuer with a path, with pages and tokens of that issuer", async () => {
    const app = new RelyingParty(open, await aClient(server, {}, "open"));
    const browser = new WebBrowser(open);
    const answer = await walk(open, browser, app.authorization(), user);
    const { code = "", iss } = response(answer);
    assert.equal(iss, open.issuer);
    const tokens = json(await app.redeem(code));
    const idToken = String(tokens["id_token"]);
    assert.equal(decodeJwt(idToken).iss, open.issuer);
    assert.equal(decodeProtectedHeader(idToken).alg, "RS256", "what Registration §2 says");
    const userinfo = await app.userinfo(String(tokens["access_token"]));
    assert.equal(json(userinfo)["sub"], user.id);
    assert.equal(browser.cookie("lintel_session"), undefined, "sessions are the issuer's own");
    assert.ok(browser.cookie("lintel_session_open"));
  });

  it("answers at the front channel with signed hashes, where the preset has hybrid (OIDC Core §3.3)", async () => {
    const app = new RelyingParty(
      open,
      await aClient(
        server,
        {
          response_types: ["code id_token token", "id_token"],
          grant_types: ["authorization_code", "implicit"],
          redirect_uris: ["https://rp.example/callback"],
        },
        "open",
      ),
    );
    const answer = await walk(
      open,
      new WebBrowser(open),
      app.authorization({ response_type: "code id_token token", nonce: "n-1" }),
      user,
    );
    const fragment = new URLSearchParams(new URL(answer.location ?? "").hash.slice(1));
    const claims = decodeJwt(fragment.get("id_token") ?? "");
    for (const name of ["code", "access_token"]) assert.ok(fragment.get(name), name);
    for (const name of ["c_hash", "at_hash"]) assert.ok(claims[name], name);
    assert.equal(claims["nonce"], "n-1");
  });

  it("knows of each issuer its own clients only, so that no code, token or grant crosses", async () => {
    const here = await aClient(server);
    const there = new RelyingParty(open, here);
    const asked = await new WebBrowser(open).open(there.authorization());
    assert.equal(errorOf(asked), "invalid_client");
    assert.equal(errorOf(await there.redeem("anything")), "invalid_client");
    const app = new RelyingParty(server, here);
    const answer = await walk(server, new WebBrowser(server), app.authorization(), user);
    const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
    assert.equal((await app.userinfo(String(tokens["access_token"]))).status, 200);
    assert.equal((await there.userinfo(String(tokens["access_token"]))).status, 401);
  });

  it("refuses at registration what the preset does not offer, and says what it does", async () => {
    await assert.rejects(aClient(server, {}, "bank"), /must be private_key_jwt at this issuer/);
    await assert.rejects(
      aClient(server, { response_types: ["id_token"], grant_types: ["implicit"] }),
      /response_types must be of code at this issuer/,
    );
    await assert.rejects(aClient(server, {}, "nowhere"), /issuer nowhere is not one/);
  });

  it("gives each sector a subject of its own (OIDC Core §8.1)", async () => {
    const subjectAt = async (host: string) => {
      const app = new RelyingParty(
        server,
        await aClient(server, {
          subject_type: "pairwise",
          redirect_uris: [`https://${host}/callback`],
        }),
      );
      const answer = await walk(server, new WebBrowser(server), app.authorization(), user);
      const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
      const sub = decodeJwt(String(tokens["id_token"])).sub;
      const userinfo = json(await app.userinfo(String(tokens["access_token"])));
      assert.equal(userinfo["sub"], sub);
      return sub;
    };
    const [one, same, other] = [
      await subjectAt("one.example"),
      await subjectAt("one.example"),
      await subjectAt("other.example"),
    ];
    assert.equal(one, same);
    assert.notEqual(one, other);
    assert.notEqual(one, user.id);
  });
});
