import assert from "node:assert/strict";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { issueSetupLink } from "../../src/setup/setup-link.ts";
import { anArrival } from "../support/arrival.ts";
import { axe } from "../support/axe.ts";
import { aBrowser } from "../support/browser.ts";
import { authorizationUrl } from "../support/raw.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

/** ux.md §0: the sign-in page with its style and script fits the first flight of a new connection. */
const BUDGET = 14_000;

const isFocused = async (page: Page, selector: string) =>
  (await page.locator(`${selector}:focus`).count()) === 1;
const overflow = (page: Page): Promise<number> =>
  page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");

describe("pages in a browser", () => {
  let server: TestServer;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[];
  let app: Awaited<ReturnType<typeof anArrival>>;

  before(async () => {
    [server, browser, app] = await Promise.all([
      aServer({ LOCALES: "en,de,ar-XB", SIGN_IN_LAYOUT: "identifier-first" }),
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
    context = await aContext();
    page = await context.newPage();
  });
  afterEach(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });

  /** A browser of a person's own, where nothing that a page does wrong goes unnoticed. */
  async function aContext(options: BrowserContextOptions = {}): Promise<BrowserContext> {
    const made = await browser.newContext({ locale: "en-GB", ...options });
    await made.route("https://rp.example/**", (route) =>
      route.fulfill({ contentType: "text/html", body: '<title>app</title><body data-page="app">' }),
    );
    made.on("console", (message) => {
      // Browsers report a page that says 4xx; the pages under test say so on purpose.
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
        complaints.push(message.text());
    });
    made.on("weberror", (error) => complaints.push(String(error.error())));
    made.on("requestfailed", (request) => {
      const reason = request.failure()?.errorText;
      if (reason !== "net::ERR_ABORTED") complaints.push(`${request.url()} ${reason}`);
    });
    made.on("response", (response) => {
      if (response.url().includes("/assets/") && response.status() !== 200)
        complaints.push(response.url());
    });
    return made;
  }

  const pageName = (on = page) => on.locator("body").getAttribute("data-page");

  const client = (metadata: Record<string, unknown> = {}) =>
    aClient(server, { redirect_uris: [app.redirectUri], ...metadata });
  const arrived = (on = page) => on.waitForURL(`${app.redirectUri}?**`);

  /** Nothing for axe to find, in the light and in the dark, and nothing beyond the edge of the smallest screen. */
  async function inspect(name: string, of = name): Promise<void> {
    assert.equal(await pageName(), name);
    assert.equal(await page.locator("h1").count(), 1);
    assert.deepEqual(await axe(page), [], of);
    const size = page.viewportSize();
    await page.setViewportSize({ width: 320, height: 640 });
    assert.equal(await overflow(page), 0, `${of} is wider than 320 px`);
    if (size !== null) await page.setViewportSize(size);
  }

  const open = async (
    asking: { clientId: string; redirectUri: string },
    more?: Record<string, string>,
  ) =>
    page.goto(authorizationUrl(server.issuer, asking, { scope: "openid profile email", ...more }));

  async function signIn(email: string, on = page): Promise<void> {
    await on.fill("#username", email);
    await on.click("#login-submit");
    await on.fill("#password", PASSWORD);
    await on.click("#login-submit");
  }

  it("sign somebody in, step by step: login, password, consent, home, logout, signed-out (ux.md P1, P2, P11, P16)", async () => {
    const user = await aUser(server);
    await open(
      await client({
        client_uri: "https://rp.example/",
        policy_uri: "https://rp.example/privacy",
        tos_uri: "https://rp.example/terms",
      }),
    );
    await inspect("login");
    assert.equal(await page.title(), "Sign in – Lintel");
    assert.ok(await isFocused(page, "#username"));

    await page.click("#login-submit");
    await inspect("login", "login with an error");
    assert.ok(await isFocused(page, "#error-summary"));
    await page.click("#error-summary a");
    assert.ok(await isFocused(page, "#username"));

    await page.fill("#username", user.email);
    await page.click("#login-submit");
    await inspect("password");
    assert.equal(await page.textContent("#who"), user.email);

    await page.click("[data-toggle-password]");
    assert.equal(await page.getAttribute("#password", "type"), "text");
    assert.equal(await page.getAttribute("[data-toggle-password]", "aria-pressed"), "true");
    await page.fill("#password", "not the password");
    await page.click("#login-submit");
    await inspect("password", "password, wrong");
    assert.match(await page.title(), /^Error: /);
    assert.match((await page.textContent("#password-error")) ?? "", /not right/);
    assert.equal(await page.inputValue("#password"), "", "a secret is not kept");
    assert.ok(await isFocused(page, "#error-summary"));

    await page.click("#not-you");
    assert.equal(await pageName(), "login");
    assert.equal(await page.inputValue("#username"), user.email, "what was typed is kept");
    await signIn(user.email);
    await inspect("consent");
    assert.match((await page.textContent("#consent-form")) ?? "", new RegExp(user.email));
    await page.click("#consent-allow");
    await arrived();
    assert.match(page.url(), /[?&]code=/);

    await page.goto(`${server.issuer}/`);
    await inspect("home", "home, signed in");
    assert.equal(await page.textContent("#who"), "Ada Lovelace");
    assert.equal(await page.textContent("#apps a"), "Acme Photos");

    await page.click("#sign-out");
    await inspect("logout");
    await page.click("#logout-stay");
    assert.equal(await pageName(), "home");
    await page.goBack();
    await page.click("#logout-confirm");
    await inspect("signed-out");
    await page.click("#home");
    await inspect("home", "home, signed out");
    assert.equal(await page.locator("#who").count(), 0);
  });

  it("say how long to wait after too many tries (ux.md §1.1)", async () => {
    const user = await aUser(server);
    await open(await client());
    await page.fill("#username", user.email);
    await page.click("#login-submit");
    for (let tries = 0; tries < 6; tries += 1) {
      await page.fill("#password", `wrong ${tries}`);
      await page.click("#login-submit");
      await page.waitForSelector("#password-error");
    }
    await page.waitForSelector('#password-error:has-text("Wait")');
    assert.match(
      (await page.textContent("#password-error")) ?? "",
      /Too many tries\. Wait (?:\d+ seconds|1 minute) and try again\./,
    );
    await inspect("password", "password, throttled");
  });

  it("explain what a finished sign-in is when somebody goes back to it, or sends its form in a second tab (ux.md P20)", async () => {
    const user = await aUser(server);
    await open(await client({ initiate_login_uri: "https://rp.example/start" }));
    const second = await context.newPage();
    await second.goto(page.url());
    await signIn(user.email);
    await page.click("#consent-allow");
    await arrived();
    await second.fill("#username", user.email);
    await second.click("#login-submit");
    await second.waitForSelector("body[data-page=stale]");
    assert.equal(await second.textContent("h1"), "You have already signed in here");
    await page.goBack();
    await inspect("stale");
    assert.equal(await page.textContent("h1"), "You have already signed in here");
    await page.click("#continue-app");
    assert.equal(await pageName(), "app");
  });

  it("explain an address that was kept as a bookmark or opened in another browser (ux.md P20)", async () => {
    const user = await aUser(server);
    await open(await client());
    const address = page.url();
    const other = await aContext();
    try {
      const first = page;
      page = await other.newPage();
      const answer = await page.goto(address);
      assert.equal(answer?.status(), 400);
      await inspect("stale");
      assert.equal(await page.textContent("h1"), "This sign-in page cannot be opened here");
      assert.ok(!(await page.content()).includes("Acme"), "and says nothing of whose it is");
      await page.click("#account-home");
      assert.equal(await pageName(), "home");
      page = first;
    } finally {
      await other.close();
    }
    await signIn(user.email);
    assert.equal(await pageName(), "consent", "the sign-in itself goes on");
  });

  it("let two tabs sign in at the same time (ux.md §1.2)", async () => {
    const [ada, bob] = [await aUser(server), await aUser(server, { displayName: "Bob" })];
    const asking = await client();
    await open(asking);
    const second = await context.newPage();
    await second.goto(authorizationUrl(server.issuer, asking, { state: "second" }));
    await signIn(ada.email);
    await page.click("#consent-allow");
    await arrived();
    await signIn(bob.email, second);
    await second.click("#consent-allow");
    await arrived(second);
    assert.match(second.url(), /code=.*state=second/);
  });

  it("explain errors, and what is not there (ux.md P17)", async () => {
    const asking = await client();
    await open({ ...asking, redirectUri: "https://evil.example/" });
    await inspect("error", "error of a client");
    assert.equal(await page.textContent("#error-code"), "invalid_redirect_uri");
    assert.match((await page.textContent("main")) ?? "", /You did nothing wrong/);
    const reference = await page.textContent("#correlation-id");
    assert.match(reference ?? "", /^[0-9A-Z]{10}$/);

    await page.click(".languages summary");
    await page.click(".languages a[lang=de]");
    assert.equal(
      await page.textContent("#error-code"),
      "invalid_redirect_uri",
      "the same error in German",
    );
    assert.equal(await page.getAttribute("html", "lang"), "de");

    await page.goto(`${server.issuer}/nowhere`);
    await inspect("error", "error 404");
    await page.click("#back-to-app");
    assert.equal(await pageName(), "home");
  });

  it("set up the first administrator, and show the mail about it: setup, setup-done, mailbox", async () => {
    const link = await issueSetupLink(server.database.knex, server.deps.config, new Date());
    await page.goto(link ?? "");
    await inspect("setup");
    await page.fill("#password", "short");
    await page.waitForSelector('#password-advice:has-text("10 more characters")');
    await inspect("setup", "setup with advice");
    await page.click("#setup-submit");
    await inspect("setup", "setup with errors");
    assert.equal(await page.locator("#error-summary li").count(), 2);

    await page.fill("#email", "root@example.com");
    await page.fill("#display_name", "Grace Hopper");
    await page.fill("#password", PASSWORD);
    await page.click("#setup-submit");
    await inspect("setup-done");
    await page.goto(link ?? "");
    await inspect("error", "a spent setup link");

    await page.goto(`${server.issuer}/dev/mail`);
    await inspect("mailbox");
    await page.click("#messages a");
    await inspect("mailbox-message");
    assert.match((await page.textContent("#text")) ?? "", /root@example\.com/);
    await page.goBack();
    for (
      let tries = 0;
      tries < 20 && (await page.locator("#messages", { hasText: "· sent" }).count()) === 0;
      tries += 1
    ) {
      await page.waitForTimeout(250);
      await page.reload();
    }
    await page.click("#clear");
    await page.waitForSelector("#empty");
    await inspect("mailbox", "an empty mailbox");
  });

  it("can be used with a keyboard alone, and the focus can be seen (ux.md §1.6)", async () => {
    const user = await aUser(server);
    // A key or a click too many on the page before decides nothing on the consent page (ux.md P11).
    await page.addInitScript(`addEventListener("DOMContentLoaded", () => {
      document.documentElement.dataset.asleep = String(document.querySelector("#consent-allow")?.disabled);
    })`);
    await open(await client());
    // The field takes the focus when the page is first painted, which may be after it was loaded.
    await page.waitForSelector("#username:focus");
    await page.keyboard.type(user.email);
    await page.keyboard.press("Enter");
    await page.waitForSelector("#password:focus");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    // Enabled it is before its script has run, too.
    await page.waitForSelector("html[data-asleep=true]", { state: "attached" });
    await page.waitForSelector("#consent-allow:enabled");

    const order: string[] = [];
    for (let stops = 0; stops < 20 && order.at(-1) !== "consent-allow"; stops += 1) {
      await page.keyboard.press("Tab");
      const [id = "", outline]: string[] = await page.evaluate(`(() => {
        const focused = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(focused);
        return [focused.id || focused.className, outlineStyle + ' ' + outlineWidth];
      })()`);
      // The page itself: Chromium may ignore a key until a page is painted.
      if (id === "") continue;
      assert.equal(outline, "solid 3px", id);
      order.push(id);
    }
    assert.deepEqual(order, ["skip", "scope-profile", "scope-email", "consent-allow"]);
    await page.keyboard.press("Enter");
    await arrived();
  });

  it("change language where somebody chooses one, against ui_locales too, for the rest of the sign-in (ux.md §5)", async () => {
    const user = await aUser(server);
    const asking = await client();
    await open(asking, { ui_locales: "de" });
    assert.equal(await page.textContent("h1"), "Anmelden", "as the app asks");
    await page.click(".languages summary");
    assert.ok(await page.isVisible(".languages a[lang=en]"));
    await page.keyboard.press("Escape");
    assert.ok(!(await page.isVisible(".languages a[lang=en]")), "Escape closes the list");
    await page.click(".languages summary");
    await page.click(".languages a[lang=en]");
    assert.equal(await page.textContent("h1"), "Sign in");
    await signIn(user.email);
    assert.equal(await page.getAttribute("html", "lang"), "en", "until the sign-in ends");
    assert.equal(await pageName(), "consent");

    await page.goto(`${server.issuer}/`);
    assert.equal(
      await page.getAttribute("html", "lang"),
      "en",
      "and later, where nobody asks for another",
    );
    await open(asking, { ui_locales: "de" });
    assert.equal(
      await page.getAttribute("html", "lang"),
      "de",
      "but an app that asks is heard again",
    );
  });

  it("run from right to left where the language does, and fit (ux.md §4.3)", async () => {
    const user = await aUser(server, { displayName: "عائشة" });
    await page.setViewportSize({ width: 320, height: 640 });
    await open(await client({ client_name: "صور" }), { ui_locales: "ar-XB" });
    assert.equal(await page.getAttribute("html", "dir"), "rtl");
    await inspect("login", "login, right to left");
    const box = await page.locator(".label").first().boundingBox();
    assert.ok(box !== null && box.x + box.width > 200, "labels begin on the right");
    await page.fill("#username", user.email);
    await page.click("#login-submit");
    await page.fill("#password", "wrong");
    await page.click("#login-submit");
    await inspect("password", "password, right to left");
    await page.fill("#password", PASSWORD);
    await page.click("#login-submit");
    await inspect("consent", "consent, right to left");
    await page.goto(`${server.issuer}/session/end?ui_lang=ar-XB`);
    await inspect("signed-out", "signed-out, right to left");
  });

  it("run no script but their own: an injected one is stopped, and that is noticed here (T-46)", async () => {
    await open(await client());
    const ran = await page.evaluate(`(() => {
      const script = document.createElement('script');
      script.append('globalThis.injected = true');
      document.body.append(script);
      try {
        document.body.insertAdjacentHTML('beforeend', '<img src="x" onerror="globalThis.injected = true">');
      } catch {}
      return 'injected' in globalThis;
    })()`);
    assert.equal(ran, false);
    await page.waitForTimeout(50);
    assert.ok(
      complaints.some((text) => /Content Security Policy|TrustedHTML|TrustedScript/.test(text)),
      "the test would see a violation",
    );
    complaints.length = 0;
  });

  it("weigh little: the sign-in page arrives in the first flight (ux.md §0)", async () => {
    const asking = await client();
    const weights: Record<string, number> = {};
    page.on("requestfinished", async (request) => {
      const { responseBodySize } = await request.sizes();
      if (request.resourceType() !== "other") weights[request.resourceType()] = responseBodySize;
    });
    const hosts = new Set<string>();
    let requests = 0;
    page.on("request", (request) => {
      requests += 1;
      hosts.add(new URL(request.url()).origin);
    });
    await open(asking);
    await page.waitForLoadState("networkidle");
    const total = Object.values(weights).reduce((sum, size) => sum + size, 0);
    assert.deepEqual(Object.keys(weights).sort(), ["document", "script", "stylesheet"]);
    assert.ok(total <= BUDGET, `${total} bytes: ${JSON.stringify(weights)}`);
    assert.ok(requests <= 6, `${requests} requests`);
    assert.deepEqual([...hosts], [server.issuer], "and nothing from anybody else");
  });
});

describe("pages in a browser, with address and password on one page", () => {
  it("sign somebody in, with nothing for axe to find", async () => {
    const [server, browser, app] = await Promise.all([
      aServer({ SIGN_IN_LAYOUT: "combined" }),
      aBrowser(),
      anArrival(),
    ]);
    try {
      const user = await aUser(server);
      const context = await browser.newContext();
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on("console", (message) => {
        if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
          complaints.push(message.text());
      });
      const inspect = async (what: string) => {
        assert.equal(await page.locator("body").getAttribute("data-page"), "login");
        assert.deepEqual(await axe(page), [], what);
        await page.setViewportSize({ width: 320, height: 640 });
        assert.equal(await overflow(page), 0, what);
      };

      await page.goto(
        authorizationUrl(
          server.issuer,
          await aClient(server, { redirect_uris: [app.redirectUri] }),
        ),
      );
      await inspect("empty");
      await page.fill("#username", user.email);
      await page.fill("#password", "not the password");
      await page.click("#login-submit");
      await page.waitForSelector("#password-error");
      await inspect("wrong");
      assert.equal(await page.inputValue("#username"), user.email);
      assert.equal(await page.inputValue("#password"), "");
      await page.fill("#password", PASSWORD);
      await page.check("#remember");
      await page.keyboard.press("Enter");
      await page.click("#consent-allow");
      await page.waitForURL(`${app.redirectUri}?**`);
      const session = (await context.cookies()).find(({ name }) => name === "lintel_session");
      assert.ok(session !== undefined && session.expires > Date.now() / 1000, "remembered");
      assert.deepEqual(complaints, []);
    } finally {
      await browser.close();
      app.listener.close();
      await server.stop();
    }
  });
});
