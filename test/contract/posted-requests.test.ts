import assert from "node:assert/strict";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

/** Requests that a client's page makes a browser post. */
describe("posted requests", () => {
  let server: TestServer;
  let app: RelyingParty;
  let user: { id: string; email: string };
  const CROSS_SITE = { origin: "https://rp.example", "sec-fetch-site": "cross-site" };

  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
    user = await aUser(server);
  });
  after(() => server.stop());

  it("start a sign-in as a GET does (OIDC Core §3.1.2.1)", async () => {
    const posted = await send(server, {
      path: "/auth",
      fields: app.parameters({ state: "a b&c=d" }),
      headers: CROSS_SITE,
    });
    assert.equal(posted.status, 303);
    const answer = await walk(server, new WebBrowser(server), posted.location ?? "", user);
    assert.equal(response(answer)["state"], "a b&c=d");
    assert.equal((await app.redeem(response(answer)["code"] ?? "")).status, 200);
  });

  it("use the session that the browser has (OIDC Core §3.1.2.1)", async () => {
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    const posted = await send(server, {
      path: "/auth",
      fields: app.parameters({ prompt: "none" }),
      headers: CROSS_SITE,
    });
    assert.ok(response(await browser.open(posted.location ?? ""))["code"]);
  });

  it("ask to sign out as a GET does (RP-Initiated Logout §2)", async () => {
    const browser = new WebBrowser(server);
    const answer = await walk(server, browser, app.authorization(), user);
    const { id_token: hint } = json(await app.redeem(response(answer)["code"] ?? ""));
    const posted = await send(server, {
      path: "/session/end",
      fields: { id_token_hint: String(hint) },
      headers: CROSS_SITE,
    });
    assert.equal((await browser.open(posted.location ?? "")).page, "logout");
  });

  it("keep a parameter that was sent twice, so that it is refused (RFC 6749 §3.1)", async () => {
    const posted = await send(server, {
      path: "/auth",
      fields: app.parameters({ scope: ["openid", "openid email"] }),
    });
    assert.equal(errorOf(await send(server, { path: posted.location ?? "" })), "invalid_request");
  });

  it("are urlencoded and of a bounded size (OIDC Core §13.2)", async () => {
    const asJson = { path: "/auth", body: "{}", headers: { "content-type": "application/json" } };
    assert.equal((await send(server, asJson)).status, 415);
    const long = app.parameters({ state: "s".repeat(10_000) });
    assert.equal(errorOf(await send(server, { path: "/auth", fields: long })), "bad_request");
  });

  it("lead nowhere but to the two entrances (RFC 9700 §4.11.2)", async () => {
    for (const path of ["/auth/", "/auth/x", "/AUTH"]) {
      const { location } = await send(server, { path, fields: { a: "b" } });
      assert.ok(location === undefined || new URL(location).origin === server.issuer, path);
    }
  });
});
