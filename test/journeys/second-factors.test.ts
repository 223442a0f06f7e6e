import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { aBrowser } from "../support/browser.ts";
import { anApp, codeAt, mailedCode, seedOn, someRecoveryCodes } from "../support/factors.ts";
import { aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

for (const javaScriptEnabled of [true, false])
  describe(`journey: the second step (${javaScriptEnabled ? "with" : "without"} JavaScript)`, function () {
    this.timeout(60_000);
    let server: TestServer;
    let browser: Browser;
    let context: BrowserContext;
    let page: Page;
    let complaints: string[];

    before(async () => {
      [server, browser] = await Promise.all([
        aServer({
          SECOND_FACTOR: "required",
          SECOND_FACTOR_SKIPS: "2",
          SECOND_FACTOR_BY_EMAIL: "on",
        }),
        aBrowser(),
      ]);
    });
    after(async () => {
      await browser?.close();
      await server?.stop();
    });
    beforeEach(() => anotherBrowser());
    afterEach(async () => {
      await context.close();
      assert.deepEqual(complaints, []);
    });

    async function anotherBrowser(): Promise<void> {
      await context?.close();
      complaints = [];
      context = await browser.newContext({ locale: "en-GB", javaScriptEnabled });
      if (javaScriptEnabled)
        await context.grantPermissions(["clipboard-read", "clipboard-write"], {
          origin: server.issuer,
        });
      context.on("console", (message) => {
        if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
          complaints.push(message.text());
      });
      context.on("weberror", (error) => complaints.push(String(error.error())));
      page = await context.newPage();
    }

    /** The page that is meant, with one heading, in order for a screen reader and on the smallest screen. */
    async function on(name: string): Promise<void> {
      assert.equal(await page.locator("body").getAttribute("data-page"), name);
      assert.equal(await page.locator("h1").count(), 1);
      if (!javaScriptEnabled) return;
      await page.evaluate(AXE);
      const { violations }: AxeResults = await page.evaluate("axe.run()");
      const found = violations.flatMap(({ id, nodes }) =>
        nodes.map(({ html }) => `${id}: ${html}`),
      );
      assert.deepEqual(found, [], name);
      await page.setViewportSize({ width: 320, height: 640 });
      const excess = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
      assert.equal(await page.evaluate(excess), 0, `${name} is wider than 320 px`);
      await page.setViewportSize({ width: 1280, height: 720 });
    }

    async function signIn(email: string): Promise<void> {
      await page.goto(`${server.issuer}/account`);
      await page.fill("#username", email);
      await page.click("#login-submit");
      await page.fill("#password", PASSWORD);
      await page.click("#login-submit");
    }

    it("is put off once, then set up with an app and codes to recover, and asked for from then on (ux.md P7, P6b)", async () => {
      const user = await aUser(server);
      await signIn(user.email);
      await on("enroll");
      await page.click("#enroll-skip");
      await on("account");
      await anotherBrowser();

      await signIn(user.email);
      assert.equal(await page.textContent("#enroll-skip"), "Skip for now (1 left)");
      await page.check("#factor-totp");
      await page.click("#enroll-submit");
      await on("enroll-totp");
      const seed = seedOn(await page.content());
      assert.match(
        (await page.getAttribute("#open-app", "href")) ?? "",
        /^otpauth:\/\/totp\/Lintel:/,
      );
      const box = await page.locator(".qr").boundingBox();
      assert.ok(box !== null && box.width > 150 && Math.abs(box.width - box.height) < 2);
      await page.fill("#otp", "000000");
      await page.click("#enroll-submit");
      assert.match((await page.textContent("#otp-error")) ?? "", /did not work/);
      await page.reload();
      assert.deepEqual(seedOn(await page.content()), seed, "the seed stays");
      await page.fill("#otp", codeAt(seed, new Date()));
      await page.fill("#label", "My phone");
      await page.click("#enroll-submit");
      await on("enroll-codes");
      const codes = (await page.textContent("#recovery-codes"))?.trim() ?? "";
      assert.equal(codes.split("\n").length, 10);
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.click("#codes-download"),
      ]);
      assert.equal(download.suggestedFilename(), "recovery-codes.txt");
      assert.equal(
        readFileSync((await download.path()) ?? "", "utf8")
          .trim()
          .replaceAll("\r", ""),
        codes,
      );
      assert.equal(await page.isVisible("#codes-copy"), javaScriptEnabled);
      assert.equal(await page.isVisible("#codes-print"), javaScriptEnabled);
      if (javaScriptEnabled) {
        await page.click("#codes-copy");
        await page.waitForFunction(`document.querySelector("#live").textContent === "Copied"`);
        assert.equal(await page.evaluate("navigator.clipboard.readText()"), codes);
        await page.emulateMedia({ media: "print" });
        assert.equal(await page.isVisible("#recovery-codes"), true);
        for (const button of await page.locator("button, form").all())
          assert.equal(await button.isVisible(), false, "only the codes are printed");
        await page.emulateMedia({ media: "screen" });
      }
      // A form that was just sent is not sent again for some seconds; this one is another.
      await page.click("#enroll-submit");
      assert.match((await page.textContent("#saved-error")) ?? "", /Save your codes/);
      await page.check("#saved");
      await page.click("#enroll-submit");
      await on("account");
      await anotherBrowser();

      await signIn(user.email);
      await on("mfa-totp");
      assert.equal(await page.isChecked("#trust"), false);
    });

    it("is another one where somebody wants, down to a recovery code, and never a dead end (ux.md P6a, P6e)", async () => {
      const user = await aUser(server);
      await anApp(server, user.id);
      const [code = ""] = await someRecoveryCodes(server, user.id);
      await signIn(user.email);
      await page.click("#cant-use");
      await on("mfa-help");
      await page.goBack();
      await page.click("#other-methods");
      await on("mfa");
      await page.click("#factor-submit");
      assert.match((await page.textContent("#factor-error")) ?? "", /Choose one/);
      await page.check("#factor-recovery");
      await page.click("#factor-submit");
      await on("mfa-recovery");
      await page.fill("#recovery_code", "nothing");
      await page.click("#recovery-submit");
      await on("mfa-recovery");
      await page.fill("#recovery_code", code.toUpperCase().replaceAll("-", " "));
      await page.click("#recovery-submit");
      await on("enroll");
      await page.click("#enroll-skip");
      await on("account");
    });

    it("is spared on a browser that somebody trusts, until they think better of it (ux.md P6)", async () => {
      const user = await aUser(server);
      const app = await anApp(server, user.id);
      await signIn(user.email);
      await page.fill("#otp", await app.code());
      await page.check("#trust");
      await page.click("#otp-submit");
      await on("account");
      await page.click("#sign-out");
      await page.click("#logout-confirm");
      await signIn(user.email);
      await on("account");
      await page.click("#trusted-browsers");
      await on("account-browsers");
      await page.click("#forget-all");
      assert.equal(await page.isVisible("#no-browsers"), true);
      await page.goto(`${server.issuer}/session/end`);
      await page.click("#logout-confirm");
      await signIn(user.email);
      await on("mfa-totp");
    });

    it("comes by mail where the issuer allows it (ux.md P6d)", async () => {
      const user = await aUser(server);
      await signIn(user.email);
      await page.check("#factor-email");
      await page.click("#enroll-submit");
      await on("mfa-email");
      await page.click("#send-code");
      await on("mfa-email");
      await page.fill("#otp", await mailedCode(server, user.id));
      await page.click("#otp-submit");
      await on("account");
    });

    it("is beside a code by mail in place of the password, too (ux.md P3, P4)", async () => {
      const user = await aUser(server);
      const app = await anApp(server, user.id);
      await page.goto(`${server.issuer}/account`);
      await page.fill("#username", user.email);
      await page.click("#login-submit");
      await page.click("#other-methods");
      await on("methods");
      await page.check("#method-email-code");
      await page.click("#method-submit");
      await on("email-code");
      await page.click("#resend");
      assert.match((await page.textContent("#otp-error")) ?? "", /another code in \d+ second/);
      const code = await mailedCode(server, user.id);
      await page.fill("#otp", `${code.slice(0, 4)} ${code.slice(4)}`);
      await page.click("#otp-submit");
      await on("mfa-totp");
      await page.fill("#otp", await app.code());
      await page.click("#otp-submit");
      await on("account");
    });

    it("is kept in the account: apps, codes, and what the policy does not let go (ux.md §2)", async () => {
      const user = await aUser(server);
      const app = await anApp(server, user.id);
      await signIn(user.email);
      await page.fill("#otp", await app.code());
      await page.click("#otp-submit");
      await page.click("#authenticators");
      await on("account-authenticators");
      await page.click("#factors button");
      await on("account-authenticators");
      assert.match((await page.textContent("#add-authenticator-error")) ?? "", /Add another one/);
      await page.click("#add-authenticator");
      await on("account-authenticator-new");
      await page.fill("#otp", codeAt(seedOn(await page.content()), new Date()));
      await page.click("#enroll-submit");
      await on("account-codes-new");
      await page.click("#codes-done");
      assert.equal(await page.locator("#factors > li").count(), 2);
      await page.click("#factors button >> nth=0");
      assert.equal(await page.locator("#factors > li").count(), 1);
      await page.click("#account-home");
      await page.click("#recovery");
      await on("account-recovery-codes");
      assert.equal((await page.textContent("#codes-left"))?.trim(), "You have 10 left.");
      await page.click("#codes-new");
      await on("account-codes-new");
    });
  });
