import assert from "node:assert/strict";
import { decodeJwt, decodeProtectedHeader, SignJWT, UnsecuredJWT } from "jose";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  xsrfOf,
} from "../support/rp.ts";
import type { Answer, Fields } from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";
import { aKey, now, sign } from "../support/signing.ts";

const END = "https://rp.example/";

/** OpenID Connect RP-Initiated Logout 1.0. */
describe("RP-initiated logout", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let user: { id: string; email: string };
  let app: RelyingParty;
  let other: RelyingParty;
  /** Somebody whom no check signs out. */
  let kept: SignedIn;

  before(async () => {
    server = await aServerWith({ open: "conformance" });
    open = issuerAt(server, "open");
    user = await aUser(server);
    app = await register({ post_logout_redirect_uris: [END, `${END}bye?from=op`] });
    other = await register({ post_logout_redirect_uris: ["https://other.example/"] });
    kept = await signIn();
  });
  after(() => server.stop());

  const register = async (metadata = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));

  interface SignedIn {
    browser: WebBrowser;
    idToken: string;
    access: string;
    refresh: string;
  }

  async function signIn(
    rp = app,
    person = user,
    browser = new WebBrowser(server),
  ): Promise<SignedIn> {
    const answer = await walk(server, browser, rp.authorization(), person);
    const tokens = json(await rp.redeem(response(answer)["code"] ?? ""));
    const { id_token: idToken, access_token: access, refresh_token: refresh } = tokens;
    return {
      browser,
      idToken: String(idToken),
      access: String(access),
      refresh: String(refresh),
    };
  }

  const end = async (browser: WebBrowser, query: Record<string, string> = {}): Promise<Answer> =>
    browser.open(`/session/end?${new URLSearchParams(query)}`);

  async function answerPage(browser: WebBrowser, page: Answer, fields: Fields): Promise<Answer> {
    const xsrf = xsrfOf(page);
    return browser.submit("/session/end/confirm", { xsrf, ...fields });
  }
  const agree = async (browser: WebBrowser, page: Answer) =>
    answerPage(browser, page, { logout: "yes" });
  const signOut = async (browser: WebBrowser, query: Record<string, string> = {}) =>
    agree(browser, await end(browser, query));

  const silently = async (browser: WebBrowser, rp = app) =>
    response(await browser.open(rp.authorization({ prompt: "none" })));
  const isSignedIn = async (browser: WebBrowser) => "code" in (await silently(browser));

  /** An ID token like one of ours, with other claims. */
  async function like(idToken: string, changes: Record<string, unknown>): Promise<string> {
    return sign(
      await aKey(),
      { ...decodeJwt(idToken), ...changes },
      decodeProtectedHeader(idToken),
    );
  }

  it("is where discovery says (RP-Initiated Logout §2.1)", async () => {
    const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    assert.equal(metadata["end_session_endpoint"], `${server.issuer}/session/end`);
  });

  describe("asks the person", () => {
    it("before anything ends (RP-Initiated Logout §2)", async () => {
      const { browser, idToken } = kept;
      assert.equal((await end(browser, { id_token_hint: idToken })).page, "logout");
      assert.equal(await isSignedIn(browser), true);
    });

    it("where no client vouches for the request (RP-Initiated Logout §2)", async () => {
      const { browser } = kept;
      assert.doesNotMatch((await end(browser)).text, /data-submit-at-once/);
    });

    it("where the hint is of somebody else (RP-Initiated Logout §2)", async () => {
      const { idToken } = await signIn(app, await aUser(server));
      const { browser } = kept;
      const page = await end(browser, { id_token_hint: idToken });
      assert.doesNotMatch(page.text, /data-submit-at-once/);
    });

    it("where a client is only named (RP-Initiated Logout §2)", async () => {
      const { browser } = kept;
      const page = await end(browser, { client_id: app.credentials.clientId });
      assert.equal(page.page, "logout");
      assert.doesNotMatch(page.text, /data-submit-at-once/);
    });

    it("in the language that the client asks for (RP-Initiated Logout §2)", async () => {
      const { browser } = kept;
      assert.match((await end(browser, { ui_locales: "de" })).text, /<html[^>]* lang="de"/);
    });

    it("and a POST asks as a GET does (RP-Initiated Logout §2)", async () => {
      const { browser, idToken } = await signIn();
      const fields = { id_token_hint: idToken, post_logout_redirect_uri: END, state: "s" };
      let page = await browser.submit("/session/end", fields);
      if (page.location !== undefined) page = await browser.open(page.location);
      assert.equal(page.page, "logout");
      assert.equal((await agree(browser, page)).location, `${END}?state=s`);
    });

    it("and takes no answer that another site sent (RP-Initiated Logout §6)", async () => {
      const { browser } = kept;
      await end(browser);
      await browser.submit("/session/end/confirm", { xsrf: "guessed", logout: "yes" });
      assert.equal(await isSignedIn(browser), true);
    });

    it("and takes no answer to a question that it did not ask (RP-Initiated Logout §6)", async () => {
      const { browser } = kept;
      await browser.submit("/session/end/confirm", { logout: "yes" });
      assert.equal(await isSignedIn(browser), true);
    });

    it("and leaves who stays signed in (RP-Initiated Logout §2)", async () => {
      const { browser } = kept;
      await answerPage(browser, await end(browser), {});
      assert.equal(await isSignedIn(browser), true);
    });

    it("nothing where nobody is signed in, and the client gets its person back (RP-Initiated Logout §2)", async () => {
      const { idToken } = await signIn();
      const browser = new WebBrowser(server);
      const page = await end(browser, { id_token_hint: idToken, post_logout_redirect_uri: END });
      assert.equal(page.page, undefined);
      assert.equal((await agree(browser, page)).location, END);
    });
  });

  describe("takes a hint", () => {
    it("of the person who is signed in (RP-Initiated Logout §2)", async () => {
      const { browser, idToken } = kept;
      const page = await end(browser, { id_token_hint: idToken });
      assert.match(page.text, /data-submit-at-once/);
    });

    it("that ran out (RP-Initiated Logout §2, §4)", async () => {
      const { browser, idToken } = kept;
      const later = Date.now() + 2 * 3600 * 1000;
      const { now: clock } = Date;
      Date.now = () => later;
      try {
        assert.ok((decodeJwt(idToken).exp ?? 0) < now());
        assert.equal((await end(browser, { id_token_hint: idToken })).page, "logout");
      } finally {
        Date.now = clock;
      }
    });

    it("beside the client it was issued to (RP-Initiated Logout §2)", async () => {
      const { browser, idToken } = kept;
      const query = { id_token_hint: idToken, client_id: app.credentials.clientId };
      assert.equal((await end(browser, query)).page, "logout");
    });
  });

  describe("refuses", () => {
    const hints: Record<string, (idToken: string) => Promise<string>> = {
      "a hint that is no JWT": async () => "nonsense",
      "a hint that is not signed": async (idToken) => new UnsecuredJWT(decodeJwt(idToken)).encode(),
      "a hint that somebody else signed": async (idToken) => like(idToken, {}),
      "a hint that was changed": async (idToken) => {
        const [header, , signature] = idToken.split(".");
        const claims = JSON.stringify({ ...decodeJwt(idToken), sub: "another" });
        return [header, Buffer.from(claims).toString("base64url"), signature].join(".");
      },
      "a hint signed with a client's secret": async (idToken) =>
        new SignJWT(decodeJwt(idToken))
          .setProtectedHeader({ alg: "HS256" })
          .sign(Buffer.from(app.credentials.clientSecret)),
      "a hint for a client that there is not": async (idToken) => like(idToken, { aud: "nobody" }),
      "a hint of another issuer": async () => {
        const rp = new RelyingParty(open, await aClient(server, { first_party: true }, "open"));
        const answer = await walk(open, new WebBrowser(open), rp.authorization(), user);
        const { id_token: foreign } = json(await rp.redeem(response(answer)["code"] ?? ""));
        return String(foreign);
      },
    };
    for (const [what, make] of Object.entries(hints))
      it(`${what} (RP-Initiated Logout §4)`, async () => {
        const { browser, idToken } = kept;
        const query = { id_token_hint: await make(idToken), post_logout_redirect_uri: END };
        const answer = await end(browser, query);
        assert.match(errorOf(answer) ?? "", /^invalid_(request|client)$/);
        assert.equal(answer.location, undefined);
        assert.equal(await isSignedIn(browser), true);
      });

    it("an access token as a hint (RP-Initiated Logout §4)", async () => {
      const { browser, access } = kept;
      assert.equal(errorOf(await end(browser, { id_token_hint: access })), "invalid_request");
    });

    it("a hint that was issued to another client than is named (RP-Initiated Logout §2)", async () => {
      const { browser, idToken } = kept;
      const query = { id_token_hint: idToken, client_id: other.credentials.clientId };
      assert.equal(errorOf(await end(browser, query)), "invalid_request");
    });

    it("a client that there is not (RP-Initiated Logout §4)", async () => {
      const { browser } = kept;
      assert.equal(errorOf(await end(browser, { client_id: "nobody" })), "invalid_client");
    });

    it("a parameter twice (RFC 6749 §3.1)", async () => {
      const { browser } = kept;
      const answer = await browser.open("/session/end?state=a&state=b");
      assert.equal(errorOf(answer), "invalid_request");
    });

    for (const [what, address] of [
      ["of another client", "https://other.example/"],
      ["with another path", `${END}elsewhere`],
      ["with a query more", `${END}?a=b`],
      ["with a query less", `${END}bye`],
      ["without the slash", "https://rp.example"],
      ["with another scheme", "http://rp.example/"],
      ["with another host", "https://evil.example/"],
      ["with another port", "https://rp.example:444/"],
      ["with a fragment", `${END}#a`],
      ["with another case", "https://rp.example/BYE?from=op"],
    ] as const)
      it(`an address ${what} (RP-Initiated Logout §3.1)`, async () => {
        const { browser, idToken } = kept;
        const query = { id_token_hint: idToken, post_logout_redirect_uri: address };
        const answer = await end(browser, query);
        assert.equal(errorOf(answer), "invalid_request");
        assert.equal(answer.location, undefined);
      });
  });

  describe("sends the person back", () => {
    it("to the address that the client registered (RP-Initiated Logout §3)", async () => {
      const { browser, idToken } = await signIn();
      const query = { id_token_hint: idToken, post_logout_redirect_uri: END };
      const answer = await signOut(browser, query);
      assert.deepEqual([answer.status, answer.location], [303, END]);
    });

    it("with the state that it said (RP-Initiated Logout §3)", async () => {
      const { browser, idToken } = await signIn();
      const query = { id_token_hint: idToken, post_logout_redirect_uri: `${END}bye?from=op` };
      const { location = "" } = await signOut(browser, { ...query, state: "a b&c" });
      const { searchParams } = new URL(location);
      assert.deepEqual([searchParams.get("from"), searchParams.get("state")], ["op", "a b&c"]);
    });

    it("with no state that nobody said (RP-Initiated Logout §3)", async () => {
      const { browser, idToken } = await signIn();
      const query = { id_token_hint: idToken, post_logout_redirect_uri: END };
      assert.ok(!(await signOut(browser, query)).location?.includes("state"));
    });

    it("if the client is only named, too, once the person agreed (RP-Initiated Logout §2, §3)", async () => {
      const { browser } = await signIn();
      const { clientId } = app.credentials;
      const query = { client_id: clientId, post_logout_redirect_uri: END };
      assert.equal((await signOut(browser, query)).location, END);
    });

    it("nowhere if no client is known (RP-Initiated Logout §3)", async () => {
      const { browser } = await signIn();
      const answer = await signOut(browser, { post_logout_redirect_uri: END, state: "s" });
      assert.ok(answer.location?.startsWith(server.issuer));
      assert.equal((await browser.open(answer.location ?? "")).page, "signed-out");
    });

    it("nowhere if no address was asked for (RP-Initiated Logout §3)", async () => {
      const { browser, idToken } = await signIn();
      const answer = await signOut(browser, { id_token_hint: idToken });
      assert.equal((await browser.open(answer.location ?? "")).page, "signed-out");
    });

    it("to where the last request said, not an earlier one (RP-Initiated Logout §3)", async () => {
      const { browser, idToken } = await signIn();
      await end(browser, { id_token_hint: idToken, post_logout_redirect_uri: END, state: "old" });
      const answer = await signOut(browser, { id_token_hint: idToken });
      assert.ok(answer.location?.startsWith(server.issuer));
    });
  });

  describe("ends", () => {
    let signedIn: SignedIn;
    let copied: WebBrowser;
    let elsewhere: SignedIn;
    before(async () => {
      signedIn = await signIn();
      elsewhere = await signIn();
      copied = signedIn.browser.copy();
      await signOut(signedIn.browser, { id_token_hint: signedIn.idToken });
    });

    it("the session of the browser (RP-Initiated Logout §2)", async () => {
      assert.equal((await silently(signedIn.browser))["error"], "login_required");
    });

    it("the session itself, not only the cookie (RP-Initiated Logout §2)", async () => {
      assert.equal((await silently(copied))["error"], "login_required");
    });

    it("the cookie (RP-Initiated Logout §2)", () => {
      assert.equal(signedIn.browser.cookie("lintel_session"), undefined);
    });

    it("the access tokens of that session (RP-Initiated Logout §2)", async () => {
      assert.equal((await app.userinfo(signedIn.access)).status, 401);
    });

    it("the refresh tokens of that session (RP-Initiated Logout §2)", async () => {
      const fields = { grant_type: "refresh_token", refresh_token: signedIn.refresh };
      assert.equal(errorOf(await app.token(fields)), "invalid_grant");
    });

    it("no session that the person has elsewhere (RP-Initiated Logout §2)", async () => {
      assert.equal(await isSignedIn(elsewhere.browser), true);
    });

    it("what every client of the session had (RP-Initiated Logout §2)", async () => {
      const first = await signIn();
      const second = await signIn(other, user, first.browser);
      await signOut(first.browser, { id_token_hint: first.idToken });
      assert.equal((await other.userinfo(second.access)).status, 401);
      assert.equal((await silently(first.browser, other))["error"], "login_required");
    });

    it("a sign-in that the browser had begun with it (RP-Initiated Logout §2)", async () => {
      const { browser, idToken } = await signIn();
      const { code = "" } = await silently(browser);
      await signOut(browser, { id_token_hint: idToken });
      assert.equal(errorOf(await app.redeem(code)), "invalid_grant");
    });

    it("nothing twice: asked again, it is all the same (RP-Initiated Logout §2)", async () => {
      const query = { id_token_hint: signedIn.idToken, post_logout_redirect_uri: END };
      assert.equal((await signOut(signedIn.browser, query)).location, END);
    });

    it("not what a person took along for offline use (OIDC Core §11)", async () => {
      const browser = new WebBrowser(server);
      const request = { scope: "openid offline_access", prompt: "consent" };
      const answer = await walk(server, browser, app.authorization(request), user);
      const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
      await signOut(browser, { id_token_hint: String(tokens["id_token"]) });
      const fields = {
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      };
      assert.equal((await app.token(fields)).status, 200);
    });
  });

  it("is kept by no cache (RP-Initiated Logout §2)", async () => {
    const { browser } = await signIn();
    assert.match((await end(browser)).headers["cache-control"] ?? "", /no-store/);
  });
});
