import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { aBrowser } from "../support/browser.ts";
import { anApp, codeAt, seedOn, someRecoveryCodes } from "../support/factors.ts";
import { mailTo } from "../support/mailbox.ts";
import { aPasskey } from "../support/passkeys.ts";
import { aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

const NEW = "seven purple umbrellas sing";

/** Everything that people keep in their account, reached from its first page by its links, with no script running. */
describe("the account in a browser without scripts (ux.md §2)", function () {
  this.timeout(120_000);
  let server: TestServer;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let user: { id: string; email: string };
  let serial = 0;

  before(async () => {
    [server, browser] = await Promise.all([aServer(), aBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    user = await aUser(server);
    context = await browser.newContext({ locale: "en-GB", javaScriptEnabled: false });
    page = await context.newPage();
  });
  afterEach(() => context.close());

  const on = async (name: string) => {
    assert.equal(await page.locator("body").getAttribute("data-page"), name);
    assert.equal(await page.locator("h1").count(), 1);
  };
  async function signIn(otp?: string, password = PASSWORD): Promise<void> {
    await page.goto(`${server.issuer}/account`);
    await page.fill("#username", user.email);
    await page.click("#login-submit");
    await page.fill("#password", password);
    await page.click("#login-submit");
    if (otp !== undefined) {
      await page.fill("#otp", otp);
      await page.click("#otp-submit");
    }
    await on("account");
  }

  it("passkeys are listed, named and removed; to make one the page says what it takes", async () => {
    await Promise.all([aPasskey(server, user.id), aPasskey(server, user.id)]);
    await signIn();
    await page.click("a[href$='/account/passkeys']");
    await on("account-passkeys");
    assert.equal(await page.locator("#passkeys > li").count(), 2);
    await page.locator("#passkeys a").first().click();
    await on("account-passkey");
    await page.fill("#name", "My laptop");
    await page.click("#passkey-save");
    await on("account-passkeys");
    assert.match((await page.textContent("#passkeys")) ?? "", /My laptop/);
    await page.locator("#passkeys a").first().click();
    await page.click("#passkey-remove");
    await on("account-passkeys");
    assert.equal(await page.locator("#passkeys > li").count(), 1);
    await page.click("#passkey-add");
    await on("account-passkey-new");
    assert.ok(await page.isVisible("[data-passkey-missing]"));
    assert.equal(await page.isVisible("[data-passkey-start]"), false);
  });

  it("an app is added by its key, gives recovery codes to keep as a file, and is removed", async () => {
    const phone = await anApp(server, user.id);
    await signIn(await phone.code());
    await page.click("#authenticators");
    await on("account-authenticators");
    await page.click("#add-authenticator");
    await on("account-authenticator-new");
    const seed = seedOn(await page.content());
    await page.fill("#otp", codeAt(seed, new Date()));
    await page.fill("#label", "My tablet");
    await page.click("#enroll-submit");
    await on("account-codes-new");
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      page.click("#codes-download"),
    ]);
    assert.equal(
      readFileSync(await file.path(), "utf8")
        .trim()
        .split("\r\n").length,
      10,
    );
    await page.click("#codes-done");
    await on("account-authenticators");
    assert.match((await page.textContent("#factors")) ?? "", /My tablet/);
    await page.click("#factors button[aria-label*='My tablet']");
    await on("account-authenticators");
    assert.doesNotMatch((await page.textContent("#factors")) ?? "", /My tablet/);
  });

  it("recovery codes are counted and made anew", async () => {
    const phone = await anApp(server, user.id);
    await someRecoveryCodes(server, user.id);
    await signIn(await phone.code());
    await page.click("#recovery");
    await on("account-recovery-codes");
    assert.match((await page.textContent("#codes-left")) ?? "", /10/);
    await page.click("#codes-new");
    await on("account-codes-new");
    const codes = (await page.textContent("#recovery-codes")) ?? "";
    assert.equal(codes.trim().split("\n").length, 10);
  });

  it("an address is added, proven, made the first one, and the old one removed", async () => {
    const email = `second-${(serial += 1)}@example.org`;
    await signIn();
    await page.click("#emails-link");
    await on("account-emails");
    await page.fill("#email", email);
    await page.click("#email-submit");
    const { code } = await mailTo(server, email, "verify_email");
    await page.fill("#otp-2", code);
    await page.click("#verify-2");
    await page.click("#primary-2");
    await on("account-emails");
    assert.match((await page.locator("#emails > li").first().textContent()) ?? "", /second-/);
    await page.click("#remove-2");
    assert.equal(await page.locator("#emails > li").count(), 1);
  });

  it("the password is changed, with what is wrong about a weak one said", async () => {
    await signIn();
    await page.click("#password-link");
    await on("account-password");
    await page.fill("#password", "short");
    await page.click("#password-submit");
    assert.ok(await page.isVisible("#error-summary"));
    await page.fill("#password", NEW);
    await page.click("#password-submit");
    assert.ok(await page.isVisible("#done"));
    await context.clearCookies();
    await signIn(undefined, NEW);
  });

  it("sign-ins are listed, and all but this one ended", async () => {
    const other = await browser.newContext({ javaScriptEnabled: false });
    const first = page;
    page = await other.newPage();
    await signIn();
    const theirs = page;
    page = first;
    await signIn();
    await page.click("#sessions-link");
    await on("sessions");
    assert.equal(await page.locator("[data-session]").count(), 2);
    assert.match((await page.locator("time").first().textContent()) ?? "", /UTC$/);
    await page.click("#end-others");
    await on("sessions");
    assert.equal(await page.locator("[data-session]").count(), 1);
    await theirs.goto(`${server.issuer}/account`);
    assert.equal(await theirs.locator("body").getAttribute("data-page"), "login");
    await other.close();
  });

  it("a browser that is trusted is listed and forgotten", async () => {
    const phone = await anApp(server, user.id);
    await page.goto(`${server.issuer}/account`);
    await page.fill("#username", user.email);
    await page.click("#login-submit");
    await page.fill("#password", PASSWORD);
    await page.click("#login-submit");
    await page.fill("#otp", await phone.code());
    await page.check("#trust");
    await page.click("#otp-submit");
    await page.click("#trusted-browsers");
    await on("account-browsers");
    assert.equal(await page.locator("#browsers > li").count(), 1);
    await page.click("#forget-all");
    assert.ok(await page.isVisible("#no-browsers"));
  });

  it("signing out is one button, and ends it", async () => {
    await signIn();
    await page.click("#sign-out");
    await on("logout");
    await page.click("#logout-confirm");
    await on("signed-out");
    await page.goto(`${server.issuer}/account`);
    await on("login");
  });
});
