import assert from "node:assert/strict";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { aBrowser } from "../support/browser.ts";
import { aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** A person in a browser, with the demo as the app they use. */
describe("journey: signing in to an app", () => {
  let server: TestServer;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;

  before(async () => {
    [server, browser] = await Promise.all([aServer(), aBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    context = await browser.newContext();
    page = await context.newPage();
  });
  afterEach(() => context.close());

  const pageName = () => page.locator("body").getAttribute("data-page");

  async function signIn(email: string): Promise<void> {
    await page.goto(server.demoOrigin);
    await page.click("#sign-in");
    assert.equal(await pageName(), "login");
    await page.fill("#username", email);
    await page.click("#login-submit");
    assert.equal(await pageName(), "password");
    await page.fill("#password", PASSWORD);
    await page.click("#login-submit");
  }

  for (const javaScriptEnabled of [true, false]) {
    it(`goes from the app through identifier, password and consent to tokens, refresh and sign-out (${javaScriptEnabled ? "with" : "without"} JavaScript)`, async () => {
      await context.close();
      context = await browser.newContext({ javaScriptEnabled });
      page = await context.newPage();
      const user = await aUser(server);
      await signIn(user.email);

      assert.equal(await pageName(), "consent");
      assert.match((await page.textContent("#consent-form")) ?? "", new RegExp(user.email));
      await page.click("#consent-allow");

      assert.equal(await pageName(), "demo-signed-in");
      const claims = JSON.parse((await page.textContent("#id-token-claims")) ?? "");
      assert.equal(claims.iss, server.issuer);
      assert.equal(claims.sub, user.id);
      assert.equal(claims.acr, "1");
      assert.deepEqual(claims.amr, ["pwd"]);
      const userinfo = JSON.parse((await page.textContent("#userinfo")) ?? "");
      assert.equal(userinfo.email, user.email);
      assert.equal(userinfo.name, "Ada Lovelace");

      const before = await page.textContent("#access-token");
      await page.click("#refresh");
      assert.equal(await pageName(), "demo-signed-in");
      assert.notEqual(await page.textContent("#access-token"), before);

      await page.click("#sign-out");
      if (!javaScriptEnabled) {
        assert.equal(await pageName(), "logout");
        await page.click("#logout-confirm");
      }
      await page.waitForURL(`${server.demoOrigin}/`);
      assert.equal(await pageName(), "demo-signed-out");

      await page.click("#sign-in");
      assert.equal(await pageName(), "login", "the session at Lintel has ended too");
    });
  }
});
