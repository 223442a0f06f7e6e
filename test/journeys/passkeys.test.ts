import assert from "node:assert/strict";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { PasskeyOffer } from "../../src/models/passkey-offer.ts";
import { UserEmail } from "../../src/models/user-email.ts";
import { UserPassword } from "../../src/models/user-password.ts";
import { User } from "../../src/models/user.ts";
import { WebauthnCredential } from "../../src/models/webauthn-credential.ts";
import { anArrival } from "../support/arrival.ts";
import { aBrowser } from "../support/browser.ts";
import { mailTo } from "../support/mailbox.ts";
import { aPasskey, aVirtualAuthenticator } from "../support/passkeys.ts";
import { axe } from "../support/axe.ts";
import { authorizationUrl } from "../support/raw.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

describe("passkeys in a browser", () => {
  let server: TestServer;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[];
  let app: Awaited<ReturnType<typeof anArrival>>;

  before(async () => {
    [server, browser, app] = await Promise.all([
      aServer({ SIGN_UP: "open" }),
      aBrowser(),
      anArrival(),
    ]);
  });
  after(async () => {
    await browser?.close();
    app?.listener.close();
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

  /** Nothing for axe to find, and nothing beyond the edge of the smallest screen. */
  async function inspect(name: string): Promise<void> {
    await page.waitForSelector(`body[data-page=${name}]`);
    assert.deepEqual(await axe(page), [], name);
  }
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

  it("take the place of a password when somebody makes an account", async () => {
    const email = "grace@example.com";
    const authenticator = await aVirtualAuthenticator(page);
    await page.goto(`${server.issuer}/account`);
    await page.click("#register-link");
    await page.fill("#email", email);
    await page.click("#register-submit");
    await page.waitForSelector("body[data-page=verify]");
    const { code } = await mailTo(server, email, "verify_email");
    await page.fill("#otp", code);
    await page.click("#otp-submit");
    await page.waitForSelector("#passkey-create:visible");
    await inspect("register");
    await page.click("#passkey-create");
    await page.waitForSelector("#given_name");
    assert.equal((await authenticator.credentials()).length, 1);
    await page.click("#register-submit");
    await page.waitForSelector("body[data-page=account]");
    const row = await UserEmail.query(server.database.knex).findOne({ emailNorm: email });
    assert.equal(
      await UserPassword.query(server.database.knex).findById(row?.userId ?? ""),
      undefined,
    );
  });

  it("tell when they were used in the time of whoever reads it, and in UTC where no scripts run", async () => {
    const user = await aUser(server);
    await aPasskey(server, user.id);
    await WebauthnCredential.query(server.database.knex)
      .where({ userId: user.id })
      .patch({ lastUsedAt: new Date("2026-02-03T23:05:06Z") });
    for (const [options, said] of [
      [{ timezoneId: "Asia/Tokyo" }, "4. Feb. 2026, 08:05 GMT+9"],
      [{ timezoneId: "Asia/Tokyo", javaScriptEnabled: false }, "3. Feb. 2026, 23:05 UTC"],
    ] as const) {
      const other = await browser.newContext({ locale: "de-DE", ...options });
      const tab = await other.newPage();
      await tab.goto(`${server.issuer}/account/passkeys`);
      await tab.fill("#username", user.email);
      await tab.click("#login-submit");
      await tab.fill("#password", PASSWORD);
      await tab.click("#login-submit");
      await tab.waitForSelector("#passkeys");
      const shown = tab.locator("#passkeys time").nth(1);
      assert.equal(await shown.getAttribute("datetime"), "2026-02-03T23:05:06.000Z");
      assert.equal(await shown.textContent(), said);
      await other.close();
    }
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

  async function signInByPassword(email: string): Promise<void> {
    await page.goto(`${server.issuer}/account`);
    await page.fill("#username", email);
    await page.click("#login-submit");
    await page.fill("#password", PASSWORD);
    await page.click("#login-submit");
  }

  it("are made on a page of one’s own, named, used, and taken away again", async () => {
    const user = await aUser(server);
    await PasskeyOffer.claim(server.database.knex, user.id, new Date());
    const authenticator = await aVirtualAuthenticator(page);
    await signInByPassword(user.email);
    await page.click("text=Passkeys");
    await inspect("account-passkeys");
    await page.click("#passkey-add");
    await inspect("account-passkey-new");
    await page.click("#enroll-submit");
    await page.waitForSelector("body[data-page=account-passkey]");
    await inspect("account-passkey");
    assert.equal((await authenticator.credentials()).length, 1);
    await page.fill("#name", "Ada’s laptop");
    await page.click("#passkey-save");
    await page.waitForSelector("#passkeys");
    assert.match((await page.textContent("#passkeys")) ?? "", /Ada’s laptop/);
    await inspect("account-passkeys");

    await page.goto(`${server.issuer}/account/passkeys/new`);
    await page.click("#enroll-submit");
    await page.waitForFunction(`document.querySelector("#passkey-status").textContent !== ""`);
    assert.equal(
      await page.textContent("#passkey-status"),
      "You have a passkey on this device already.",
    );

    await page.goto(`${server.issuer}/account/passkeys`);
    await page.click("#passkeys a");
    await page.click("#passkey-remove");
    await page.waitForSelector("#empty");
    for (let tries = 0; tries < 20 && (await authenticator.credentials()).length > 0; tries += 1)
      await page.waitForTimeout(100);
    assert.deepEqual(await authenticator.credentials(), [], "and the password manager knows");
  });

  it("are the second step where their owner wants that, with a way out where it fails", async () => {
    await withoutAutofill();
    const user = await aUser(server);
    const device = await aPasskey(server, user.id);
    await User.query(server.database.knex).findById(user.id).patch({ passkeyIsSecondStep: true });
    const authenticator = await aVirtualAuthenticator(page);
    await authenticator.add(device);
    await authenticator.verifies(false);
    await signInByPassword(user.email);
    await inspect("mfa-webauthn");
    await page.click("#webauthn-start");
    await page.waitForSelector("#error-summary");
    assert.match((await page.textContent("#error-summary")) ?? "", /was cancelled/);
    assert.equal(await page.locator("#error-summary:focus").count(), 1);
    await authenticator.verifies(true);
    await page.click("#webauthn-start");
    await page.waitForSelector("body[data-page=account]");
  });

  it("are set up as the second step that an app asks for", async () => {
    const user = await aUser(server);
    await PasskeyOffer.claim(server.database.knex, user.id, new Date());
    const authenticator = await aVirtualAuthenticator(page);
    const client = await aClient(server, {
      first_party: true,
      require_second_factor: true,
      redirect_uris: [app.redirectUri],
    });
    await page.goto(authorizationUrl(server.issuer, client, {}));
    await page.fill("#username", user.email);
    await page.click("#login-submit");
    await page.fill("#password", PASSWORD);
    await page.click("#login-submit");
    await page.click("#enroll-submit");
    await inspect("enroll-passkey");
    await page.click("#enroll-submit");
    await page.waitForSelector("body[data-page=enroll-codes]");
    assert.equal((await authenticator.credentials()).length, 1);
    await page.check("#saved");
    await page.click("#enroll-submit");
    await page.waitForSelector("body[data-page=app]");
  });

  describe("offered after a password", () => {
    const offers = (userId: string) => PasskeyOffer.query(server.database.knex).findById(userId);

    it("are made by one click", async () => {
      const user = await aUser(server);
      const authenticator = await aVirtualAuthenticator(page);
      await signInByPassword(user.email);
      await page.waitForSelector("body[data-page=offer]");
      await inspect("offer");
      await page.click("#offer-create");
      await page.waitForSelector("body[data-page=account]");
      assert.equal((await authenticator.credentials()).length, 1);
      assert.equal((await offers(user.id))?.times, 1);
    });

    it("are put off by “Not now”, and the next sign-in does not ask", async () => {
      const user = await aUser(server);
      await aVirtualAuthenticator(page);
      await signInByPassword(user.email);
      await page.click("#offer-later");
      await page.waitForSelector("body[data-page=account]");
      await context.clearCookies();
      await signInByPassword(user.email);
      await page.waitForSelector("body[data-page=account]");
      assert.equal((await offers(user.id))?.times, 1);
    });

    it("are never offered again after “Don’t ask again”, whatever the year", async () => {
      const user = await aUser(server);
      await aVirtualAuthenticator(page);
      await signInByPassword(user.email);
      await page.click("#offer-never");
      await page.waitForSelector("body[data-page=account]");
      await offers(user.id).patch({ lastAt: new Date("2020-01-01") });
      await context.clearCookies();
      await signInByPassword(user.email);
      await page.waitForSelector("body[data-page=account]");
      assert.ok((await offers(user.id))?.declinedAt);
    });

    it("are made by the browser alone where it can, and nobody is asked", async () => {
      const user = await aUser(server);
      const authenticator = await aVirtualAuthenticator(page);
      // Chromium without a screen says that it can and never answers; this stands in for one that does.
      await page.addInitScript(`
        PublicKeyCredential.getClientCapabilities = async () => ({ conditionalCreate: true });
        const create = navigator.credentials.create.bind(navigator.credentials);
        navigator.credentials.create = ({ mediation, ...options }) => {
          if (mediation !== "conditional") return new Promise(() => {});
          return create(options);
        };
      `);
      await signInByPassword(user.email);
      await page.waitForSelector("body[data-page=account]");
      assert.equal((await authenticator.credentials()).length, 1);
      const event = await AuditEvent.query(server.database.knex).findOne({
        type: "passkey.created",
        userId: user.id,
      });
      assert.equal(event?.details["via"], "upgrade");
    });

    it("keep nobody waiting where the browser never answers", async () => {
      const user = await aUser(server);
      await aVirtualAuthenticator(page);
      await page.addInitScript(`
        PublicKeyCredential.getClientCapabilities = async () => ({ conditionalCreate: true });
        const create = navigator.credentials.create.bind(navigator.credentials);
        navigator.credentials.create = (options) =>
          options.mediation === "conditional" ? new Promise(() => {}) : create(options);
      `);
      await signInByPassword(user.email);
      await page.click("#offer-create");
      await page.waitForSelector("body[data-page=account]");
    });

    it("are not offered on a device that cannot make any", async () => {
      const user = await aUser(server);
      await signInByPassword(user.email);
      await page.waitForSelector("body[data-page=account]");
      assert.equal(await offers(user.id), undefined);
    });
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
