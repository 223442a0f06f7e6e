import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { decodeJwt } from "jose";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { aBrowser } from "../support/browser.ts";
import {
  aProductionServer,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  xsrfOf,
} from "../support/rp.ts";
import {
  aClient,
  aServer,
  aServerWith,
  aUser,
  issuerAt,
  PASSWORD,
  type TestServer,
} from "../support/server.ts";

const STATE = "lintel_state";

/** What the frame computes (OIDC Session Management §3.2). */
function isUnchanged(app: RelyingParty, sessionState: string, browserState: string): boolean {
  const [hash, salt = ""] = sessionState.split(".");
  const { clientId, redirectUri } = app.credentials;
  const text = `${clientId} ${new URL(redirectUri).origin} ${browserState} ${salt}`;
  return createHash("sha256").update(text).digest("base64url") === hash;
}

/** OpenID Connect Session Management 1.0. */
describe("session management", () => {
  let server: TestServer;
  let plain: TestServer;
  let open: { issuer: string; port: number };
  let user: { id: string; email: string };
  let other: { id: string; email: string };
  let app: RelyingParty;

  before(async () => {
    server = await aServerWith({ open: "conformance" }, { SESSION_MANAGEMENT: "on" });
    plain = await aServer();
    open = issuerAt(server, "open");
    user = await aUser(server);
    other = await aUser(server);
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
  });
  after(async () => {
    await server.stop();
    await plain.stop();
  });

  async function signIn(browser: WebBrowser, person = user, changes = {}) {
    const answer = await walk(server, browser, app.authorization(changes), person);
    return response(answer)["session_state"] ?? "";
  }

  async function signOut(browser: WebBrowser, { only = false } = {}) {
    const page = await browser.open(`/session/end?client_id=${app.credentials.clientId}`);
    const xsrf = xsrfOf(page);
    return browser.submit("/session/end/confirm", only ? { xsrf } : { xsrf, logout: "yes" });
  }

  it("returns session_state in the authentication response (Session Management §2)", async () => {
    const browser = new WebBrowser(server);
    const state = await signIn(browser);
    assert.match(state, /^[\w-]{43}\.[\w-]+$/, "no space in it (Session Management §2)");
  });

  it("ties it to the client, its origin, the state of the browser, and a salt (Session Management §3.2)", async () => {
    const browser = new WebBrowser(server);
    const state = await signIn(browser);
    assert.ok(isUnchanged(app, state, browser.cookie(STATE) ?? ""));
    const stranger = new RelyingParty(server, { ...app.credentials, clientId: "another" });
    assert.ok(!isUnchanged(stranger, state, browser.cookie(STATE) ?? ""));
  });

  it("uses another salt each time, and the same state of the browser (Session Management §2)", async () => {
    const browser = new WebBrowser(server);
    const first = await signIn(browser);
    const cookie = browser.cookie(STATE);
    const second = await signIn(browser, user, { prompt: "none" });
    assert.notEqual(first, second);
    assert.equal(browser.cookie(STATE), cookie);
    for (const state of [first, second]) assert.ok(isUnchanged(app, state, cookie ?? ""));
  });

  it("returns it with an error that nobody is signed in, too (Session Management §2)", async () => {
    const browser = new WebBrowser(server);
    const answer = await browser.open(app.authorization({ prompt: "none" }));
    assert.equal(errorOf(answer), "login_required");
    assert.ok(isUnchanged(app, response(answer)["session_state"] ?? "", ""));
  });

  it("changes what that meant when somebody signs in (Session Management §3.2)", async () => {
    const browser = new WebBrowser(server);
    const answer = await browser.open(app.authorization({ prompt: "none" }));
    const before = response(answer)["session_state"] ?? "";
    await signIn(browser);
    assert.ok(!isUnchanged(app, before, browser.cookie(STATE) ?? ""));
  });

  it("changes the state of the browser when the person signs out (Session Management §3.2)", async () => {
    const browser = new WebBrowser(server);
    const state = await signIn(browser);
    await signOut(browser);
    assert.equal(browser.cookie(STATE), undefined);
    assert.ok(!isUnchanged(app, state, ""));
  });

  it("leaves it when they sign out of one client only (Session Management §3.2)", async () => {
    const browser = new WebBrowser(server);
    await signIn(browser);
    const cookie = browser.cookie(STATE);
    await signOut(browser, { only: true });
    assert.equal(browser.cookie(STATE), cookie);
  });

  it("changes it when the same person signs in anew, or another one does (Session Management §3.2)", async () => {
    const browser = new WebBrowser(server);
    await signIn(browser);
    const states = [browser.cookie(STATE)];
    for (const person of [user, other]) {
      await signOut(browser);
      await signIn(browser, person);
      states.push(browser.cookie(STATE));
    }
    assert.equal(new Set(states).size, 3);
  });

  it("has another state in another browser of the same person (Session Management §3.2)", async () => {
    const [one, two] = [new WebBrowser(server), new WebBrowser(server)];
    await signIn(one);
    await signIn(two);
    assert.notEqual(one.cookie(STATE), two.cookie(STATE));
  });

  it("says nothing of the session in the cookie that scripts read (Session Management §3.2)", async () => {
    const browser = new WebBrowser(server);
    await signIn(browser);
    const cookie = browser.cookie(STATE) ?? "";
    assert.match(cookie, /^[\w-]{43}$/);
    const thief = new WebBrowser(server);
    thief.put("lintel_session", cookie);
    thief.put(STATE, cookie);
    const answer = await thief.open(app.authorization({ prompt: "none" }));
    assert.equal(errorOf(answer), "login_required");
  });

  it("ends the cookie of a session that an operator ended, with the next answer (Session Management §3.2)", async () => {
    const browser = new WebBrowser(server);
    const state = await signIn(browser);
    await server.database.knex("sessions").update({
      ended_at: new Date(),
      cookie_hash: null,
      cookie_enc: null,
    });
    const answer = await browser.open(app.authorization({ prompt: "none" }));
    assert.equal(errorOf(answer), "login_required");
    assert.equal(browser.cookie(STATE), undefined);
    assert.ok(!isUnchanged(app, state, browser.cookie(STATE) ?? ""));
  });

  it("returns it in the fragment and inside a signed response, once (Session Management §2, JARM §2.1)", async () => {
    const hybrid = new RelyingParty(
      open,
      await aClient(
        server,
        {
          first_party: true,
          response_types: ["code id_token", "code"],
          grant_types: ["authorization_code", "implicit"],
        },
        "open",
      ),
    );
    const browser = new WebBrowser(open);
    const path = hybrid.authorization({ response_type: "code id_token" });
    const answer = await walk(open, browser, path, user);
    const fragment = new URLSearchParams(new URL(answer.location ?? "").hash.slice(1));
    const cookie = browser.cookie(`${STATE}_open`) ?? "";
    assert.ok(isUnchanged(hybrid, fragment.get("session_state") ?? "", cookie));
    const signed = await walk(open, browser, hybrid.authorization({ response_mode: "jwt" }));
    const { response: jwt = "", session_state: outside } = response(signed);
    assert.ok(isUnchanged(hybrid, String(decodeJwt(jwt)["session_state"]), cookie));
    assert.equal(outside, undefined);
  });

  it("names the frame in discovery where it is on (Session Management §3.3)", async () => {
    const at = async (target: TestServer, path: string) =>
      json(await send(target, { path: `${path}/.well-known/openid-configuration` }));
    for (const path of ["", "/open"])
      assert.equal(
        (await at(server, path))["check_session_iframe"],
        `${server.issuer}${path}/session/check`,
      );
    assert.equal((await at(plain, ""))["check_session_iframe"], undefined);
  });

  it("lets others frame that page, which does nothing but run its script (Session Management §3.2)", async () => {
    const answer = await send(server, { path: "/session/check" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["x-frame-options"], undefined);
    const policy = String(answer.headers["content-security-policy"]);
    assert.match(policy, /frame-ancestors \*/);
    assert.match(policy, /default-src 'none'; script-src 'self';/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.deepEqual(answer.setCookies, []);
  });

  it("lets nobody frame any other page (T-46)", async () => {
    for (const path of ["/", "/session/end", "/session/check/x", app.authorization()]) {
      const answer = await send(server, { path, headers: { accept: "text/html" } });
      assert.equal(answer.headers["x-frame-options"], "DENY", path);
      assert.match(String(answer.headers["content-security-policy"]), /frame-ancestors 'none'/);
    }
  });

  it("has none of it where it is off: no session_state, no cookie, no page (Session Management §3.3)", async () => {
    const person = await aUser(plain);
    const quiet = new RelyingParty(plain, await aClient(plain, { first_party: true }));
    const browser = new WebBrowser(plain);
    const answer = await walk(plain, browser, quiet.authorization(), person);
    assert.equal(response(answer)["session_state"], undefined);
    assert.equal(browser.cookie(STATE), undefined);
    const page = await send(plain, { path: "/session/check", headers: { accept: "text/html" } });
    assert.equal(page.status, 404);
  });

  it("sets the cookie so that it is there in another site's frame, over https (Session Management §5.1)", async () => {
    const production = await aProductionServer({ SESSION_MANAGEMENT: "on" });
    try {
      const person = await aUser(production);
      const rp = new RelyingParty(production, await aClient(production, { first_party: true }));
      const answer = await walk(production, new WebBrowser(production), rp.authorization(), person);
      const line = answer.setCookies.find((each) => each.startsWith("__Host-lintel_state=")) ?? "";
      assert.match(line, /; path=\/;/i);
      assert.match(line, /; samesite=none/i);
      assert.match(line, /; secure/i);
      assert.doesNotMatch(line, /httponly|domain=/i);
      const session =
        answer.setCookies.find((each) => each.startsWith("__Host-lintel_session=")) ?? "";
      assert.match(session, /httponly/i, "the session itself stays out of reach");
      assert.match(session, /samesite=lax/i);
    } finally {
      await production.stop();
    }
  });

  describe("in a browser", () => {
    let browser: Browser;
    let context: BrowserContext;
    let page: Page;
    let hosts: Server[];
    let origin: string;
    let elsewhere: string;

    before(async () => {
      browser = await aBrowser();
      hosts = [0, 1].map(() =>
        createServer((_request, answer) => {
          answer.setHeader("content-type", "text/html").end("<title>app</title>");
        }),
      );
      const origins: string[] = [];
      for (const host of hosts) {
        await once(host.listen(0, "localhost"), "listening");
        origins.push(`http://localhost:${(host.address() as AddressInfo).port}`);
      }
      [origin = "", elsewhere = ""] = origins;
    });
    after(async () => {
      for (const host of hosts) {
        host.closeAllConnections();
        host.close();
      }
      await browser.close();
    });
    beforeEach(async () => {
      context = await browser.newContext();
      page = await context.newPage();
    });
    afterEach(() => context.close());

    async function signInHere() {
      const client = await aClient(server, {
        first_party: true,
        redirect_uris: [`${origin}/callback`],
      });
      const rp = new RelyingParty(server, client);
      await page.goto(new URL(rp.authorization(), server.issuer).href);
      await page.fill("#username", user.email);
      await page.click("#login-submit");
      await page.fill("#password", PASSWORD);
      await page.click("#login-submit");
      await page.waitForURL(`${origin}/callback*`);
      const state = new URL(page.url()).searchParams.get("session_state") ?? "";
      return { message: `${client.clientId} ${state}` };
    }

    /** What the app's own script does (§3.1). */
    const ask = (message: unknown): Promise<string> =>
      page.evaluate(`(async (address, text) => {
        const frame = document.createElement("iframe");
        frame.src = address;
        const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
        document.body.append(frame);
        await loaded;
        const { origin } = new URL(address);
        const answer = new Promise((resolve) => {
          addEventListener("message", (event) => {
            if (event.origin === origin) resolve(event.data);
          });
        });
        frame.contentWindow.postMessage(text, origin);
        return answer;
      })("${server.issuer}/session/check", ${JSON.stringify(message)})`);

    it("the frame answers unchanged while the session is the same, and changed after signing out (Session Management §3.2)", async () => {
      const { message } = await signInHere();
      assert.equal(await ask(message), "unchanged");
      const second = await context.newPage();
      await second.goto(`${server.issuer}/session/end`);
      await second.click("#logout-confirm");
      await second.waitForSelector("body[data-page=signed-out]");
      assert.equal(await ask(message), "changed");
    });

    it("answers changed to another client's state, and to a state of another origin (Session Management §3.2)", async () => {
      const { message } = await signInHere();
      const [, state = ""] = message.split(" ");
      assert.equal(await ask(`another ${state}`), "changed");
      await page.goto(elsewhere);
      assert.equal(await ask(message), "changed");
    });

    it("answers error to what it does not understand (Session Management §3.2)", async () => {
      await signInHere();
      for (const message of ["", "x", "client state", "a b c", 7, { a: 1 }, null])
        assert.equal(await ask(message), "error", JSON.stringify(message));
    });
  });
});
