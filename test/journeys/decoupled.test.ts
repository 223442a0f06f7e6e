import assert from "node:assert/strict";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { DECOUPLED_GRANTS } from "../../src/issuers.ts";
import { aBrowser } from "../support/browser.ts";
import { json, RelyingParty } from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** A person whose app runs on something else than the browser in which they sign in. */
describe("journey: approving what began on another device", () => {
  let server: TestServer;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[];

  before(async () => {
    [server, browser] = await Promise.all([aServer(), aBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  afterEach(() => context.close());

  async function open(javaScriptEnabled: boolean): Promise<void> {
    context = await browser.newContext({ javaScriptEnabled });
    page = await context.newPage();
    complaints = [];
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
  }
  const pageName = () => page.locator("body").getAttribute("data-page");
  const outcome = () => page.locator("#outcome").getAttribute("data-outcome");

  for (const javaScriptEnabled of [true, false]) {
    const how = javaScriptEnabled ? "with" : "without";

    it(`a television: from its code through comparing, sign-in and consent to tokens (${how} JavaScript)`, async () => {
      const user = await aUser(server);
      const client = await aClient(server, {
        client_name: "Acme TV",
        redirect_uris: [],
        post_logout_redirect_uris: [],
        grant_types: [DECOUPLED_GRANTS.device],
        token_endpoint_auth_method: "none",
      });
      const television = new RelyingParty(server, client);
      const shown = json(await television.post("/device/auth", { scope: "openid email" }));
      const code = String(shown["user_code"]);
      await open(javaScriptEnabled);

      await page.goto(String(shown["verification_uri"]));
      assert.equal(await pageName(), "device-input");
      await page.fill("#user_code", "BBBB-BBBB");
      await page.click("#device-continue");
      assert.match((await page.textContent("#user_code-error")) ?? "", /don’t know that code/);
      await page.fill("#user_code", code.toLowerCase().replace("-", " "));
      await page.click("#device-continue");

      assert.equal(await pageName(), "device-confirm");
      assert.equal(await page.textContent("#user-code"), code);
      await page.click("#device-confirm");
      await page.fill("#username", user.email);
      await page.click("#login-submit");
      await page.fill("#password", PASSWORD);
      await page.click("#login-submit");
      assert.equal(await pageName(), "consent");
      await page.click("#consent-allow");
      assert.equal(await pageName(), "device-done");
      assert.equal(await outcome(), "approved");

      const device_code = String(shown["device_code"]);
      const tokens = await television.token({ grant_type: DECOUPLED_GRANTS.device, device_code });
      assert.equal(tokens.status, 200, tokens.text);
      assert.deepEqual(
        complaints.filter((text) => !text.includes("422")),
        [],
      );
    });

    it(`a till: from the page of the request through the password to a decision (${how} JavaScript)`, async () => {
      const user = await aUser(server);
      const client = await aClient(server, {
        client_name: "Acme Till",
        redirect_uris: [],
        post_logout_redirect_uris: [],
        grant_types: [DECOUPLED_GRANTS.ciba],
        backchannel_token_delivery_mode: "poll",
      });
      const till = new RelyingParty(server, client);
      const fields = { scope: "openid", login_hint: user.email, binding_message: "Till 4" };
      const { auth_req_id } = json(await till.post("/backchannel", fields));
      const { id } = await server.database
        .knex("decoupled_authorizations")
        .where({ user_id: user.id })
        .first();
      await open(javaScriptEnabled);

      await page.goto(`${server.issuer}/approve/${id}`);
      assert.equal(await pageName(), "login");
      await page.fill("#username", user.email);
      await page.click("#login-submit");
      await page.fill("#password", PASSWORD);
      await page.click("#login-submit");
      assert.equal(await pageName(), "ciba");
      assert.equal(await page.textContent("#binding-message"), "Till 4");
      await page.click("#ciba-approve");
      assert.equal(await outcome(), "approved");

      const tokens = await till.token({
        grant_type: DECOUPLED_GRANTS.ciba,
        auth_req_id: String(auth_req_id),
      });
      assert.equal(tokens.status, 200, tokens.text);
      assert.deepEqual(complaints, []);
    });
  }

  it("a QR code leads to the page that compares codes, and to nothing further by itself", async () => {
    const client = await aClient(server, {
      redirect_uris: [],
      post_logout_redirect_uris: [],
      grant_types: [DECOUPLED_GRANTS.device],
      token_endpoint_auth_method: "none",
    });
    const shown = json(await new RelyingParty(server, client).post("/device/auth", {}));
    await open(true);
    await page.goto(String(shown["verification_uri_complete"]));
    await page.waitForSelector("body[data-page=device-confirm]");
    assert.equal(await page.textContent("#user-code"), shown["user_code"]);
    await page.click("#device-abort");
    assert.equal(await outcome(), "denied");
    assert.deepEqual(complaints, []);
  });
});
