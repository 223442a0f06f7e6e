import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { publishTerms } from "../../src/terms/terms.ts";
import { anArrival } from "../support/arrival.ts";
import { aBrowser } from "../support/browser.ts";
import { mailTo } from "../support/mailbox.ts";
import { authorizationUrl } from "../support/raw.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const NEW = "seven purple umbrellas sing";

for (const javaScriptEnabled of [true, false])
  describe(`accounts that people make and keep, in a browser ${javaScriptEnabled ? "with" : "without"} scripts`, function () {
    this.timeout(120_000);
    let server: TestServer;
    let browser: Browser;
    let context: BrowserContext;
    let page: Page;
    let complaints: string[];
    let arrival: Awaited<ReturnType<typeof anArrival>>;
    let app: Awaited<ReturnType<typeof aClient>>;
    let serial = 0;

    before(async () => {
      [server, browser, arrival] = await Promise.all([
        aServer({ SIGN_UP: "open" }),
        aBrowser(),
        anArrival(),
      ]);
      app = await aClient(server, { redirect_uris: [arrival.redirectUri] });
      await publishTerms(
        server.database.knex,
        {
          document: "terms",
          isMandatory: true,
          texts: [{ locale: "en", title: "Terms of use", body: "Be kind.\n\nTo everybody." }],
        },
        new Date(),
      );
    });
    after(async () => {
      await browser?.close();
      arrival?.listener.close();
      await server?.stop();
    });
    beforeEach(async () => {
      complaints = [];
      context = await browser.newContext({ locale: "en-GB", javaScriptEnabled });
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

    const someone = () => `journey-${(serial += 1)}@example.com`;
    const at = async (name: string) => {
      await page.waitForSelector(`body[data-page="${name}"]`);
      // Where scripts run, axe runs with them; the states are the same without.
      if (!javaScriptEnabled || name === "app") return;
      await page.evaluate(AXE);
      const { violations }: AxeResults = await page.evaluate("axe.run({ preload: false })");
      assert.deepEqual(
        violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${name}: ${id} ${html}`)),
        [],
      );
    };
    const begin = () => page.goto(authorizationUrl(server.issuer, app));
    const agree = async () => {
      await at("terms");
      await page.check("#terms-terms");
      await page.click("#terms-accept");
    };
    const allow = async () => {
      await at("consent");
      await page.click("#consent-allow");
      await at("app");
      assert.ok(new URL(page.url()).searchParams.has("code"));
    };

    it("make an account on the way to an app, agree, allow, and arrive with a code", async () => {
      const email = someone();
      await begin();
      await at("login");
      await page.click("#register-link");
      await at("register");
      await page.fill("#email", email);
      await page.click("#register-submit");
      await at("verify");
      await page.fill("#otp", "0000 0000");
      await page.click("#otp-submit");
      await page.waitForSelector("#error-summary");
      const { code } = await mailTo(server, email, "verify_email");
      await page.fill("#otp", `${code.slice(0, 4)} ${code.slice(4)}`);
      await page.click("#otp-submit");
      await page.waitForSelector("#password");
      await at("register");
      assert.equal(await page.getAttribute("#password", "autocomplete"), "new-password");
      await page.fill("#password", NEW);
      await page.click("#register-submit");
      await page.waitForSelector("#given_name");
      await at("register");
      await page.fill("#given_name", "Grace");
      await page.check("#terms-terms");
      await page.click("#register-submit");
      await allow();
    });

    it("come back without a password, and go on with the sign-in that was interrupted", async () => {
      const user = await aUser(server);
      await begin();
      await at("login");
      await page.fill("#username", user.email);
      await page.click("#login-submit");
      await at("password");
      await page.click("#forgot-link");
      await at("forgot");
      assert.equal(await page.inputValue("#username"), user.email);
      await page.click("#forgot-submit");
      await at("forgot-sent");
      const { url } = await mailTo(server, user.email, "reset_password");
      await page.goto(url);
      await at("new-password");
      assert.equal(await page.isChecked("#sign_out_others"), true);
      await page.fill("#password", NEW);
      await page.click("#new-password-submit");
      await at("letter-done");
      await page.click("#continue");
      await at("password");
      await page.fill("#password", NEW);
      await page.click("#login-submit");
      await agree();
      await allow();
    });

    it("change their address, and the old one takes that back", async () => {
      const user = await aUser(server);
      const email = someone();
      await page.goto(`${server.issuer}/account/emails`);
      await at("login");
      await page.fill("#username", user.email);
      await page.click("#login-submit");
      await at("password");
      await page.fill("#password", PASSWORD);
      await page.click("#login-submit");
      await agree();
      await at("account-emails");
      await page.fill("#email", email);
      await page.click("#email-submit");
      await page.waitForSelector("#otp-2");
      await at("account-emails");
      const { code } = await mailTo(server, email, "verify_email");
      await page.fill("#otp-2", code);
      await page.click("#verify-2");
      await page.click("#primary-2");
      await page.waitForSelector("#remove-2");
      await at("account-emails");
      const { url } = await mailTo(server, user.email, "email_changed");
      await page.goto(url);
      await at("letter");
      await page.click("#letter-submit");
      await at("new-password");
      await page.fill("#password", NEW);
      await page.click("#new-password-submit");
      await at("letter-done");
      await page.goto(`${server.issuer}/account/emails`);
      await at("login");
      await page.fill("#username", user.email);
      await page.click("#login-submit");
      await page.fill("#password", NEW);
      await page.click("#login-submit");
      await at("account-emails");
      assert.ok(!(await page.textContent("#emails"))?.includes(email));
    });
  });
