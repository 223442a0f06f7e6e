import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

describe("prompt=select_account", () => {
  let server: TestServer;
  let app: RelyingParty;
  let ada: { id: string; email: string };
  let grace: { id: string; email: string };
  before(async () => {
    server = await aServer();
    app = new RelyingParty(server, await aClient(server, { first_party: true }));
    ada = await aUser(server, { displayName: "Ada Lovelace" });
    grace = await aUser(server, { displayName: "Grace Hopper" });
  });
  after(() => server.stop());

  async function signedIn(): Promise<WebBrowser> {
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), ada);
    return browser;
  }
  const choosing = (changes = {}) => app.authorization({ prompt: "select_account", ...changes });
  const open = (browser: WebBrowser, path = choosing()) => walk(server, browser, path);
  async function choose(browser: WebBrowser, account: string, path = choosing()) {
    const page = await open(browser, path);
    assert.equal(page.page, "accounts");
    return browser.submit(page.url.href, { account });
  }
  async function subjectOf(answer: Awaited<ReturnType<typeof open>>): Promise<unknown> {
    const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
    return decodeJwt(String(tokens["id_token"])).sub;
  }

  it("asks whoever is signed in which account to use (OIDC Core §3.1.2.1)", async () => {
    const page = await open(await signedIn());
    assert.equal(page.page, "accounts");
    assert.match(page.text, /Ada Lovelace/);
  });

  it("goes on as the account that was chosen, without a password (OIDC Core §3.1.2.1)", async () => {
    const browser = await signedIn();
    const chosen = await choose(browser, "current");
    const answer = await walk(server, browser, chosen.location ?? "");
    assert.equal(await subjectOf(answer), ada.id);
  });

  it("lets somebody else sign in instead (OIDC Core §3.1.2.1)", async () => {
    const browser = await signedIn();
    const chosen = await choose(browser, "another");
    let answer = await walk(server, browser, chosen.location ?? "", grace);
    // The engine ends the session of the one before on a page that sends itself.
    const [, action = ""] = /action="([^"]+)"/.exec(answer.text) ?? [];
    if (answer.location === undefined) {
      const fields = [...answer.text.matchAll(/name="([^"]+)" value="([^"]*)"/g)];
      answer = await browser.submit(
        action,
        Object.fromEntries(fields.map(([, name = "", value = ""]) => [name, value])),
      );
      answer = await walk(server, browser, answer.location ?? "", grace);
    }
    assert.equal(await subjectOf(answer), grace.id);
  });

  it("asks for the password of the account where prompt has login as well (OIDC Core §3.1.2.1)", async () => {
    const browser = await signedIn();
    const path = choosing({ prompt: "select_account login" });
    const chosen = await choose(browser, "current", path);
    const next = await walk(server, browser, chosen.location ?? "");
    assert.equal(next.page, "password");
  });

  it("is the sign-in page where nobody is signed in (OIDC Core §3.1.2.1)", async () => {
    assert.equal((await open(new WebBrowser(server))).page, "login");
  });

  it("signs in whoever was not signed in, in one go (OIDC Core §3.1.2.1)", async () => {
    const answer = await walk(server, new WebBrowser(server), choosing(), ada);
    assert.equal(await subjectOf(answer), ada.id);
  });

  it("does not go with prompt=none (OIDC Core §3.1.2.1)", async () => {
    const answer = await open(await signedIn(), choosing({ prompt: "none select_account" }));
    assert.equal(errorOf(answer), "invalid_request");
  });

  it("is in discovery (OIDC Prompt Create §5)", async () => {
    const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    const values = metadata["prompt_values_supported"];
    assert.deepEqual((values as string[]).toSorted(), [
      "consent",
      "login",
      "none",
      "select_account",
    ]);
  });

  it("takes no answer but its own two (T-51)", async () => {
    const browser = await signedIn();
    const answer = await choose(browser, grace.id);
    assert.equal(answer.status, 400);
  });

  it("cannot be skipped by going to another step (T-14)", async () => {
    const browser = await signedIn();
    const page = await open(browser);
    for (const step of ["", "/password", "/consent"]) {
      const here = page.url.href.replace("/accounts", step);
      assert.equal((await browser.open(here)).location, page.url.href);
    }
  });
});
