import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { decodeJwt } from "jose";
import type { Browser } from "playwright-core";
import { deleteClient } from "../../src/clients/clients.ts";
import { aBrowser } from "../support/browser.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  xsrfOf,
} from "../support/rp.ts";
import {
  aClient,
  aServer,
  aServerWith,
  aUser,
  PASSWORD,
  type TestServer,
} from "../support/server.ts";

const ACME = "https://acme.example";
const LOGOUT = { frontchannel_logout_uri: `${ACME}/logout` };
const WITH_SESSION = { ...LOGOUT, frontchannel_logout_session_required: true };

/** OpenID Connect Front-Channel Logout 1.0. */
describe("front-channel logout", () => {
  let server: TestServer;
  let plain: TestServer;
  let user: { id: string; email: string };

  before(async () => {
    server = await aServerWith({ open: "conformance" }, { FRONTCHANNEL_LOGOUT: "on" });
    plain = await aServer();
    user = await aUser(server);
  });
  after(async () => {
    await server.stop();
    await plain.stop();
  });

  const register = async (metadata: Record<string, unknown>, issuer?: string) =>
    aClient(
      server,
      { first_party: true, redirect_uris: [`${ACME}/callback`], ...metadata },
      issuer,
    );

  /** Signs in at a client of each of the given kinds, in one browser. */
  async function signedIn(...kinds: Record<string, unknown>[]) {
    const browser = new WebBrowser(server);
    const apps: { app: RelyingParty; idToken: string }[] = [];
    for (const metadata of kinds) {
      const app = new RelyingParty(server, await register(metadata));
      const answer = await walk(server, browser, app.authorization(), user);
      const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
      apps.push({ app, idToken: String(tokens["id_token"]) });
    }
    return { browser, apps };
  }

  async function signOut(
    browser: WebBrowser,
    { query = "", only = false }: { query?: string; only?: boolean } = {},
  ): Promise<Answer> {
    const page = await browser.open(`/session/end${query}`);
    const xsrf = xsrfOf(page);
    return browser.submit("/session/end/confirm", only ? { xsrf } : { xsrf, logout: "yes" });
  }

  const framesIn = ({ text }: Answer) =>
    [...text.matchAll(/<iframe[^>]* src="([^"]*)"/g)].map(([, src = ""]) =>
      src.replaceAll("&amp;", "&").replaceAll("&#38;", "&"),
    );
  const continueIn = ({ text }: Answer) =>
    /id="continue" href="([^"]*)"/.exec(text)?.[1]?.replaceAll(/&(amp|#38);/g, "&");
  const frameSources = ({ headers }: Answer) =>
    /frame-src ([^;]*)/.exec(String(headers["content-security-policy"]))?.[1];

  it("shows the page of every client of the session in a frame (Front-Channel Logout §3)", async () => {
    const { browser } = await signedIn(LOGOUT, {
      redirect_uris: ["https://wiki.example/cb"],
      frontchannel_logout_uri: "https://wiki.example/bye",
    });
    const page = await signOut(browser);
    assert.equal(page.status, 200);
    assert.equal(page.page, "signing-out");
    assert.deepEqual(framesIn(page).toSorted(), [`${ACME}/logout`, "https://wiki.example/bye"]);
  });

  it("shows those of everybody on the browser where everybody signs out (Front-Channel Logout §3)", async () => {
    const { browser } = await signedIn(LOGOUT);
    const grace = await aUser(server);
    const wiki = { frontchannel_logout_uri: "https://wiki.example/bye" };
    const redirects = { redirect_uris: ["https://wiki.example/cb"], ...wiki };
    const app = new RelyingParty(server, await register(redirects));
    const page = await walk(server, browser, app.authorization({ prompt: "select_account" }));
    const chosen = await browser.submit(page.url.href, { account: "another" });
    await walk(server, browser, chosen.location ?? "", grace);
    const xsrf = xsrfOf(await browser.open("/session/end"));
    const frames = await browser.submit("/session/end/confirm", { xsrf, logout: "everybody" });
    assert.deepEqual(framesIn(frames).toSorted(), [`${ACME}/logout`, "https://wiki.example/bye"]);
  });

  it("tells a client that asked for it the issuer and the session, both (Front-Channel Logout §2, §3)", async () => {
    const { browser, apps } = await signedIn(WITH_SESSION);
    const [frame = ""] = framesIn(await signOut(browser));
    const { searchParams, pathname } = new URL(frame);
    assert.equal(pathname, "/logout");
    assert.equal(searchParams.get("iss"), server.issuer);
    assert.equal(searchParams.get("sid"), decodeJwt(apps[0]?.idToken ?? "")["sid"]);
    assert.ok(searchParams.get("sid"));
  });

  it("puts sid into the ID token of a client that asked for it, and of no other (Front-Channel Logout §3)", async () => {
    const { apps } = await signedIn(WITH_SESSION, LOGOUT);
    assert.ok(decodeJwt(apps[0]?.idToken ?? "")["sid"]);
    assert.equal(decodeJwt(apps[1]?.idToken ?? "")["sid"], undefined);
  });

  it("gives each client a sid of its own (Front-Channel Logout §3)", async () => {
    const { apps } = await signedIn(WITH_SESSION, WITH_SESSION);
    const sids = apps.map(({ idToken }) => decodeJwt(idToken)["sid"]);
    assert.equal(new Set(sids).size, 2);
  });

  it("tells a client that did not ask for it neither (Front-Channel Logout §2)", async () => {
    const { browser } = await signedIn(LOGOUT);
    assert.deepEqual(framesIn(await signOut(browser)), [`${ACME}/logout`]);
  });

  it("keeps the query that the client registered (Front-Channel Logout §2)", async () => {
    const { browser } = await signedIn({
      ...WITH_SESSION,
      frontchannel_logout_uri: `${ACME}/logout?tenant=a%20b`,
    });
    const [frame = ""] = framesIn(await signOut(browser));
    assert.match(
      frame,
      /^https:\/\/acme\.example\/logout\?tenant=a%20b&iss=http%3A[^&]+&sid=[^&]+$/,
    );
  });

  it("goes on to the registered post_logout_redirect_uri, with state (RP-Initiated Logout §3)", async () => {
    const { browser, apps } = await signedIn(LOGOUT);
    const query = new URLSearchParams({
      id_token_hint: apps[0]?.idToken ?? "",
      post_logout_redirect_uri: "https://rp.example/",
      state: "a b",
    });
    const page = await signOut(browser, { query: `?${query}` });
    assert.equal(page.page, "signing-out");
    assert.equal(continueIn(page), "https://rp.example/?state=a+b");
    assert.equal(page.location, undefined, "the frames come before the redirect");
  });

  it("goes on to our own page where the client names none (RP-Initiated Logout §2)", async () => {
    const { browser } = await signedIn(LOGOUT);
    const page = await signOut(browser);
    const next = await browser.open(continueIn(page) ?? "");
    assert.equal(next.page, "signed-out");
  });

  it("ends the session before anybody is told (Front-Channel Logout §3)", async () => {
    const { browser } = await signedIn(LOGOUT);
    const cookies = browser.copy();
    await signOut(browser);
    const app = new RelyingParty(server, await register({}));
    for (const each of [browser, cookies]) {
      const answer = await each.open(app.authorization({ prompt: "none" }));
      assert.equal(errorOf(answer), "login_required");
    }
  });

  it("lets the page frame exactly these origins, and nothing else (T-46)", async () => {
    const { browser } = await signedIn(LOGOUT, {
      redirect_uris: ["https://wiki.example:8443/cb"],
      frontchannel_logout_uri: "https://wiki.example:8443/bye",
    });
    const page = await signOut(browser);
    assert.deepEqual(frameSources(page)?.split(" ").toSorted(), [
      ACME,
      "https://wiki.example:8443",
    ]);
    assert.match(String(page.headers["content-security-policy"]), /default-src 'none'/);
    assert.match(String(page.headers["content-security-policy"]), /frame-ancestors 'none'/);
    assert.match(String(page.headers["cache-control"]), /no-store/);
  });

  it("keeps what is in a frame from taking the page elsewhere (T-46)", async () => {
    const { browser } = await signedIn(LOGOUT);
    const { text } = await signOut(browser);
    assert.match(text, /<iframe[^>]* sandbox="allow-scripts allow-same-origin allow-forms"/);
    assert.match(text, /<iframe[^>]* referrerpolicy="no-referrer"/);
  });

  it("shows no page where no client wants to know (Front-Channel Logout §2)", async () => {
    const { browser } = await signedIn({});
    const answer = await signOut(browser);
    assert.equal(answer.status, 303);
    assert.equal(frameSources(answer), undefined);
  });

  it("leaves the other clients alone when somebody signs out of one only (RP-Initiated Logout §2)", async () => {
    const { browser, apps } = await signedIn(LOGOUT, WITH_SESSION);
    const query = new URLSearchParams({ id_token_hint: apps[0]?.idToken ?? "" });
    const answer = await signOut(browser, { query: `?${query}`, only: true });
    assert.equal(answer.status, 303);
    assert.deepEqual(framesIn(answer), []);
  });

  it("tells nobody when the form was not ours (RP-Initiated Logout §6)", async () => {
    const { browser } = await signedIn(LOGOUT);
    await browser.open("/session/end");
    const answer = await browser.submit("/session/end/confirm", { xsrf: "guess", logout: "yes" });
    assert.equal(answer.status, 400);
    assert.deepEqual(framesIn(answer), []);
  });

  it("shows a client that was deleted meanwhile no more (Front-Channel Logout §3)", async () => {
    const { browser, apps } = await signedIn(LOGOUT);
    const [{ app }] = apps as [(typeof apps)[number]];
    await server.database.knex.transaction((trx) =>
      deleteClient(trx, app.credentials.clientId, {}, new Date()),
    );
    const isGone = async () => errorOf(await app.redeem("x")) === "invalid_client";
    while (!(await isGone())) await new Promise((resolve) => setTimeout(resolve, 20));
    const answer = await signOut(browser);
    assert.deepEqual(framesIn(answer), []);
  });

  it("is said in discovery where it is on: at the conformance issuer always, elsewhere by setting (Front-Channel Logout §3)", async () => {
    const at = async (target: TestServer, path: string) =>
      json(await send(target, { path: `${path}/.well-known/openid-configuration` }));
    for (const path of ["", "/open"]) {
      const metadata = await at(server, path);
      assert.equal(metadata["frontchannel_logout_supported"], true, path);
      assert.equal(metadata["frontchannel_logout_session_supported"], true, path);
    }
    assert.equal((await at(plain, ""))["frontchannel_logout_supported"], undefined);
  });

  it("cannot be registered where it is off (Front-Channel Logout §2)", async () => {
    await assert.rejects(
      aClient(plain, { redirect_uris: [`${ACME}/cb`], ...LOGOUT }),
      /frontchannel_logout_uri must be left out/,
    );
  });

  for (const [what, uri] of [
    ["another host than its redirect URIs", "https://evil.example/logout"],
    ["another port", `${ACME}:8443/logout`],
    ["another scheme", "http://localhost/logout"],
  ] as const)
    it(`cannot be registered with ${what} (Front-Channel Logout §2)`, async () => {
      await assert.rejects(
        register({ frontchannel_logout_uri: uri }),
        /must have the scheme, host and port of one of redirect_uris/,
      );
    });

  it("cannot be registered with a fragment, or without the address (Front-Channel Logout §2)", async () => {
    await assert.rejects(
      register({ frontchannel_logout_uri: `${ACME}/logout#x` }),
      /frontchannel_logout_uri must have no fragment/,
    );
    await assert.rejects(
      register({ frontchannel_logout_session_required: true }),
      /frontchannel_logout_uri must be given/,
    );
  });

  it("can be registered by clients themselves (Front-Channel Logout §2)", async () => {
    const body = JSON.stringify({ redirect_uris: [`${ACME}/callback`], ...WITH_SESSION });
    const made = await send(server, {
      path: "/open/reg",
      body,
      headers: {
        "content-type": "application/json",
        "content-length": String(Buffer.byteLength(body)),
      },
    });
    assert.equal(made.status, 201, made.text);
    assert.equal(json(made)["frontchannel_logout_uri"], `${ACME}/logout`);
    assert.equal(json(made)["frontchannel_logout_session_required"], true);
  });

  describe("in a browser", () => {
    let browser: Browser;
    let app: Server;
    let origin: string;
    let asked: { url: string; cookie: string | undefined }[] = [];
    let isSlow = false;

    before(async () => {
      browser = await aBrowser();
      app = createServer((request, answer) => {
        asked.push({ url: request.url ?? "", cookie: request.headers.cookie });
        if (isSlow && request.url?.startsWith("/logout") === true) return;
        answer.setHeader("content-type", "text/html");
        // A client that tries to take the whole page with it.
        if (request.url?.startsWith("/logout") === true)
          answer.end("<script>try { top.location = '/stolen' } catch {}</script>");
        else answer.setHeader("set-cookie", "app=1; path=/").end("<title>app</title>");
      });
      await once(app.listen(0, "localhost"), "listening");
      origin = `http://localhost:${(app.address() as AddressInfo).port}`;
    });
    after(async () => {
      app.closeAllConnections();
      app.close();
      await browser.close();
    });
    beforeEach(() => {
      asked = [];
      isSlow = false;
    });

    async function signOutInBrowser(javaScriptEnabled: boolean) {
      const client = await aClient(server, {
        first_party: true,
        redirect_uris: [`${origin}/callback`],
        post_logout_redirect_uris: [`${origin}/bye`],
        frontchannel_logout_uri: `${origin}/logout`,
        frontchannel_logout_session_required: true,
      });
      const context = await browser.newContext({ javaScriptEnabled });
      const page = await context.newPage();
      const violations: string[] = [];
      page.on("console", (message) => {
        if (message.text().includes("Content Security Policy")) violations.push(message.text());
      });
      const rp = new RelyingParty(server, client);
      await page.goto(new URL(rp.authorization(), server.issuer).href);
      await page.fill("#username", user.email);
      await page.click("#login-submit");
      await page.fill("#password", PASSWORD);
      await page.click("#login-submit");
      await page.waitForURL(`${origin}/callback*`);
      const query = new URLSearchParams({
        client_id: client.clientId,
        post_logout_redirect_uri: `${origin}/bye`,
      });
      await page.goto(`${server.issuer}/session/end?${query}`);
      await page.click("#logout-confirm", { noWaitAfter: true });
      return { page, context, violations };
    }

    it("the frames are loaded, and then the page goes on by itself (Front-Channel Logout §3)", async () => {
      const { page, context, violations } = await signOutInBrowser(true);
      await page.waitForURL(`${origin}/bye`);
      const frame = asked.find(({ url }) => url.startsWith("/logout"));
      assert.match(frame?.url ?? "", /^\/logout\?iss=.+&sid=.+$/);
      assert.match(frame?.cookie ?? "", /app=1/, "with the cookies that it ends");
      assert.ok(asked.findIndex(({ url }) => url === "/bye") > 0);
      assert.ok(!asked.some(({ url }) => url === "/stolen"));
      assert.deepEqual(violations, []);
      await context.close();
    });

    it("the page goes on although a client does not answer (Front-Channel Logout §3)", async () => {
      isSlow = true;
      const { page, context } = await signOutInBrowser(true);
      await page.waitForURL(`${origin}/bye`, { timeout: 9_000, waitUntil: "commit" });
      await context.close();
    });

    it("there is a link to go on without JavaScript (Front-Channel Logout §3)", async () => {
      const { page, context } = await signOutInBrowser(false);
      await page.waitForSelector("body[data-page=signing-out]");
      await page.click("#continue");
      await page.waitForURL(`${origin}/bye`);
      assert.ok(asked.some(({ url }) => url.startsWith("/logout")));
      await context.close();
    });
  });
});
