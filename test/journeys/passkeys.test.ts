import assert from "node:assert/strict";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { WebauthnCredential } from "../../src/models/webauthn-credential.ts";
import { aBrowser } from "../support/browser.ts";
import { aPasskey, aVirtualAuthenticator } from "../support/passkeys.ts";
import { aServer, aUser, type TestServer } from "../support/server.ts";

describe("passkeys in a browser", () => {
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
  beforeEach(async () => {
    complaints = [];
    context = await browser.newContext({ locale: "en-GB" });
    context.on("console", (message) => {
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
        complaints.push(message.text());
    });
    context.on("weberror", (error) => complaints.push(String(error.error())));
    page = await context.newPage();
  });
  afterEach(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });

  const pageName = () => page.locator("body").getAttribute("data-page");
  /** Browsers that show passkeys only when somebody asks for them. */
  const withoutAutofill = () =>
    page.addInitScript(`PublicKeyCredential.getClientCapabilities = async () => ({})`);

  it("sign somebody in from the list that the browser shows for the field, with nothing typed", async () => {
    const user = await aUser(server);
    const device = await aPasskey(server, user.id);
    await (await aVirtualAuthenticator(page)).add(device);
    await page.goto(`${server.issuer}/account`);
    await page.waitForSelector("body[data-page=account]");
    assert.equal(await page.textContent("#who"), "Ada Lovelace");
  });

  it("sign somebody in by the button, though the browser waits for the field", async () => {
    const user = await aUser(server);
    const device = await aPasskey(server, user.id);
    const authenticator = await aVirtualAuthenticator(page);
    await page.goto(`${server.issuer}/account`);
    await page.waitForSelector("#passkey-button:visible");
    await authenticator.add(device);
    await page.click("#passkey-button");
    await page.waitForSelector("body[data-page=account]");
    const row = await WebauthnCredential.query(server.database.knex).findOne({ userId: user.id });
    assert.ok(row?.lastUsedAt);
  });

  it("say under the button what went wrong, and alarm nobody", async () => {
    await withoutAutofill();
    await (await aVirtualAuthenticator(page)).verifies(false);
    await page.goto(`${server.issuer}/account`);
    await page.click("#passkey-button");
    await page.waitForFunction(`document.querySelector("#passkey-status").textContent !== ""`);
    assert.equal(
      await page.textContent("#passkey-status"),
      "Passkey sign-in was cancelled. Try again or use another way.",
    );
    assert.equal(await page.getAttribute("#passkey-button", "aria-busy"), null);
    assert.equal(await pageName(), "login");
  });

  it("that were removed are taken out of the password manager", async () => {
    const user = await aUser(server);
    const device = await aPasskey(server, user.id);
    const authenticator = await aVirtualAuthenticator(page);
    await authenticator.add(device);
    await WebauthnCredential.query(server.database.knex).delete().where({ userId: user.id });
    await page.goto(`${server.issuer}/account`);
    await page.waitForSelector("#error-summary");
    assert.match(
      (await page.textContent("#error-summary")) ?? "",
      /That passkey no longer works here/,
    );
    for (let tries = 0; tries < 20 && (await authenticator.credentials()).length > 0; tries += 1)
      await page.waitForTimeout(100);
    assert.deepEqual(await authenticator.credentials(), []);
  });

  it("are no dead button where scripts do not run: the page works by name and password", async () => {
    await context.close();
    context = await browser.newContext({ javaScriptEnabled: false });
    page = await context.newPage();
    const user = await aUser(server);
    await page.goto(`${server.issuer}/account`);
    assert.equal(await page.locator("#passkey-button").isVisible(), false);
    await page.fill("#username", user.email);
    await page.click("#login-submit");
    assert.equal(await pageName(), "password");
    assert.equal(await page.locator("#passkey-button").isVisible(), false);
  });
});
