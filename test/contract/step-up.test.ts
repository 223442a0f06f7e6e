import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { Session } from "../../src/models/session.ts";
import { anApi, asksFor } from "../support/api.ts";
import { SoftwareAuthenticator } from "../support/authenticator.ts";
import { anApp, codeAt, seedOn, type App } from "../support/factors.ts";
import { questionOf } from "../support/passkeys.ts";
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
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** How well a sign-in is proven: what clients and APIs ask for, what the person is asked, and what tokens say. */
describe("step-up", () => {
  let server: TestServer;
  let app: RelyingParty;
  before(async () => {
    server = await aServer({ ACR_VALUES: "urn:example:silver=2,urn:example:gold=3" });
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(() => server.stop());

  const SIGNED_IN = Math.floor(Date.now() / 1000) - 3600;

  /** Somebody who signed in with a password alone, some time ago, and has set up an authenticator app since. */
  async function aPerson(): Promise<{ browser: WebBrowser; phone: App; email: string }> {
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    await Session.query(server.database.knex)
      .where({ userId: user.id })
      .patch({ loggedInAt: new Date(SIGNED_IN * 1000) });
    return { browser, phone: await anApp(server, user.id), email: user.email };
  }
  const acr = (wanted: object) => JSON.stringify({ id_token: { acr: wanted } });
  const open = (browser: WebBrowser, asked: Fields, client = app) =>
    walk(server, browser, asksFor(client, { scope: "openid", ...asked }));
  async function claimsOf(answer: Answer, client = app) {
    const tokens = json(await client.redeem(response(answer)["code"] ?? ""));
    return decodeJwt(String(tokens["id_token"]));
  }
  /** Shows a code of the app where it is asked for. */
  async function show(browser: WebBrowser, page: Answer, phone: App): Promise<Answer> {
    assert.equal(page.page, "mfa-totp", page.text);
    const answer = await browser.submit(page.url.href, { otp: await phone.code() });
    return walk(server, browser, answer.location ?? "");
  }

  it("lists the levels and the operator's names for them (OIDC Discovery §3)", async () => {
    const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    const values = ["1", "2", "3", "urn:example:silver", "urn:example:gold"];
    assert.deepEqual(metadata["acr_values_supported"], values);
  });

  for (const [what, asked] of [
    ["acr_values", { acr_values: "2" }],
    ["an essential acr with a value", { claims: acr({ essential: true, value: "2" }) }],
    ["an essential acr with values", { claims: acr({ essential: true, values: ["3", "2"] }) }],
  ] as const)
    it(`asks whoever is signed in for what is missing and nothing else: ${what} (RFC 9470 §5)`, async () => {
      const { browser, phone } = await aPerson();
      const claims = await claimsOf(await show(browser, await open(browser, asked), phone));
      assert.equal(claims["acr"], "2");
      assert.deepEqual((claims["amr"] as string[]).toSorted(), ["mfa", "otp", "pwd"]);
    });

  it("says when the person signed in, not when they showed more (OIDC Core §2, auth_time)", async () => {
    const { browser, phone } = await aPerson();
    const page = await open(browser, { acr_values: "2" });
    const claims = await claimsOf(await show(browser, page, phone));
    assert.equal(claims["auth_time"], SIGNED_IN);
  });

  it("calls the level by the name that the client asked for (OIDC Core §5.5.1.1)", async () => {
    const { browser, phone } = await aPerson();
    const wanted = "urn:example:gold urn:example:silver";
    const page = await open(browser, { acr_values: wanted });
    assert.equal(
      (await claimsOf(await show(browser, page, phone)))["acr"],
      "urn:example:silver",
      "the best that the person can reach",
    );
    assert.equal((await claimsOf(await open(browser, { acr_values: "1" })))["acr"], "1");
    assert.equal((await claimsOf(await open(browser, {})))["acr"], "2");
  });

  it("asks nothing where the session is good enough (OIDC Core §3.1.2.1)", async () => {
    const { browser, phone } = await aPerson();
    await show(browser, await open(browser, { acr_values: "2" }), phone);
    const asked = { acr_values: "urn:example:silver", prompt: "none" };
    assert.equal((await claimsOf(await open(browser, asked)))["acr"], "urn:example:silver");
  });

  it("takes acr_values for a wish: prompt=none is answered with what there is (OIDC Core §3.1.2.1)", async () => {
    const { browser } = await aPerson();
    const answer = await open(browser, { acr_values: "2", prompt: "none" });
    assert.equal((await claimsOf(answer))["acr"], "1");
  });

  it("takes an essential acr for a demand: prompt=none is refused (OIDC Core §5.5.1.1)", async () => {
    const { browser } = await aPerson();
    const claims = acr({ essential: true, value: "2" });
    assert.ok(errorOf(await open(browser, { claims, prompt: "none" })));
  });

  it("refuses an essential acr that the person cannot reach, and asks them for nothing (OIDC Core §5.5.1.1)", async () => {
    const { browser } = await aPerson();
    const claims = acr({ essential: true, value: "urn:example:gold" });
    assert.equal(errorOf(await open(browser, { claims })), "unmet_authentication_requirements");
  });

  it("asks for everything again where the sign-in is too old as well (RFC 9470 §4)", async () => {
    const { browser, phone } = await aPerson();
    const page = await open(browser, { acr_values: "2", max_age: "60" });
    assert.equal(page.page, "password");
    const { location = "" } = await browser.submit(page.url.href, { password: PASSWORD });
    const claims = await claimsOf(
      await show(browser, await walk(server, browser, location), phone),
    );
    assert.equal(claims["acr"], "2");
    assert.ok(Number(claims["auth_time"]) > Date.now() / 1000 - 60);
  });

  describe("for a permission of an API", () => {
    let api: string;
    let client: RelyingParty;
    before(async () => {
      api = await anApi(server, { levels: { write: 2 } });
      client = new RelyingParty(server, await aClient(server, { first_party: true }));
    });

    it("asks for the second step of who is signed in with one (RFC 9470 §1)", async () => {
      const { browser, phone } = await aPerson();
      const asked = { scope: "openid write", resource: api };
      const answer = await show(browser, await open(browser, asked, client), phone);
      const { code = "" } = response(answer);
      const tokens = json(await client.redeem(code, { resource: api }));
      const token = decodeJwt(String(tokens["access_token"]));
      assert.equal(token["acr"], "2");
      assert.equal(token["scope"], "write");
    });

    it("asks for nothing more where the permission takes nothing more (RFC 9470 §1)", async () => {
      const { browser } = await aPerson();
      const answer = await open(browser, { scope: "openid read", resource: api }, client);
      assert.ok(response(answer)["code"]);
    });

    it("is not given in silence to who is signed in with one factor (RFC 9470 §1)", async () => {
      const { browser } = await aPerson();
      const asked = { scope: "openid write", resource: api, prompt: "none" };
      assert.equal(errorOf(await open(browser, asked, client)), "login_required");
    });

    it("has the owner of an app alone set a passkey up, where it takes what cannot be phished (RFC 9470 §1)", async () => {
      const guarded = await anApi(server, { levels: { write: 3 } });
      const user = await aUser(server);
      const phone = await anApp(server, user.id);
      const browser = new WebBrowser(server);
      const path = asksFor(client, { scope: "openid write", resource: guarded });
      const page = await walk(server, browser, path, user);
      const enroll = await show(browser, page, phone);
      assert.equal(enroll.page, "enroll", errorOf(enroll));
      assert.equal((await browser.submit(`${enroll.url.pathname}/skip`, {})).status, 403);
      const form = await browser.open(`${enroll.url.pathname}/passkey`);
      const device = new SoftwareAuthenticator(server.issuer);
      const question = questionOf(form.text) as unknown as Parameters<typeof device.create>[0];
      const sent = await browser.submit(form.url.href, {
        passkey_response: device.create(question),
      });
      const codes = await walk(server, browser, sent.location ?? "");
      assert.equal(codes.page, "enroll-codes");
      const saved = await browser.submit(codes.url.href, { saved: "1" });
      const back = await walk(server, browser, saved.location ?? "");
      const { code = "" } = response(back);
      const tokens = json(await client.redeem(code, { resource: guarded }));
      assert.equal(decodeJwt(String(tokens["access_token"]))["acr"], "3");
    });

    it("takes no further app for it (RFC 9470 §1)", async () => {
      const guarded = await anApi(server, { levels: { write: 3 } });
      const user = await aUser(server);
      const phone = await anApp(server, user.id);
      const browser = new WebBrowser(server);
      const path = asksFor(client, { scope: "openid write", resource: guarded });
      const enroll = await show(browser, await walk(server, browser, path, user), phone);
      const form = await browser.open(`${enroll.url.pathname}/totp`);
      const otp = codeAt(seedOn(form.text), new Date());
      const sent = await browser.submit(form.url.href, { otp });
      assert.equal((await walk(server, browser, sent.location ?? "")).page, "enroll");
    });

    it("has who has no second factor set one up (RFC 9470 §1)", async () => {
      const user = await aUser(server);
      const path = asksFor(client, { scope: "openid write", resource: api });
      const page = await walk(server, new WebBrowser(server), path, user);
      assert.match(page.page ?? "", /^enroll/);
    });
  });
});
