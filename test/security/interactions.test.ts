import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
  type Person,
} from "../support/rp.ts";

describe("interactions", () => {
  let server: TestServer;
  let user: Person & { id: string };
  let app: RelyingParty;
  let firstParty: RelyingParty;

  before(async () => {
    server = await aServer();
    user = await aUser(server);
    app = await register();
    firstParty = await register({ first_party: true });
  });
  after(async () => {
    await server?.stop();
  });

  const register = async (metadata: Record<string, unknown> = {}) =>
    new RelyingParty(server, await aClient(server, metadata));

  /** A browser in which `user` has signed in, asked nothing by the client. */
  async function signedIn(): Promise<WebBrowser> {
    const browser = new WebBrowser(server);
    response(await walk(server, browser, firstParty.authorization(), user));
    return browser;
  }

  const begin = async (browser: WebBrowser, changes: Fields = {}, client = app) =>
    new URL((await browser.open(client.authorization(changes))).location ?? "").pathname;

  const claimsOf = async (answer: Answer, client = firstParty) =>
    decodeJwt(String(json(await client.redeem(response(answer)["code"] ?? ""))["id_token"]));

  /** A page without what is new in every answer. */
  const withoutIds = ({ text }: Answer) =>
    text
      .replaceAll(/\/interaction\/[\w-]+/g, "/interaction/:uid")
      .replaceAll(/(id="correlation-id">)[^<]*/g, "$1");

  describe("T-10: hijacking", () => {
    it("an address without its cookie is like one that never was: the same answer, and no code", async () => {
      const path = await begin(new WebBrowser(server));
      const stranger = new WebBrowser(server);
      for (const step of ["", "/password", "/consent"]) {
        const answer = await stranger.open(path + step);
        const unknown = await stranger.open(`/interaction/${"x".repeat(43)}${step}`);
        assert.equal(answer.status, 400);
        assert.equal(unknown.status, 400);
        assert.equal(withoutIds(answer), withoutIds(unknown));
        assert.deepEqual(answer.setCookies, []);
      }
      const posted = await stranger.submit(path, { username: user.email, password: "x" });
      assert.equal(posted.status, 400);
      assert.equal((await stranger.submit(`${path}/cancel`, {})).status, 400);
    });

    it("nor does the cookie of another sign-in open it, nor one without a signature", async () => {
      const victim = new WebBrowser(server);
      const path = await begin(victim);
      const attacker = new WebBrowser(server);
      await begin(attacker);
      const own = attacker.cookie("lintel_interaction") ?? "";
      attacker.put("lintel_interaction", own, path);
      attacker.put("lintel_interaction.sig", attacker.cookie("lintel_interaction.sig") ?? "", path);
      assert.doesNotMatch(
        (await attacker.submit(path, { username: "x" })).location ?? "",
        new RegExp(path),
      );
      const forger = new WebBrowser(server);
      forger.put("lintel_interaction", path.slice("/interaction/".length), path);
      assert.equal((await forger.open(path)).status, 400);
      forger.put("lintel_interaction.sig", victim.cookie("lintel_resume.sig") ?? "", path);
      assert.equal((await forger.open(path)).status, 400);
    });

    it("what began here is not finished elsewhere: the way back needs its cookie too", async () => {
      const attacker = new WebBrowser(server);
      const path = await begin(attacker, {}, firstParty);
      const { location: back = "" } = await attacker.submit(path, {
        username: user.email,
        password: "correct horse battery staple",
      });
      assert.match(back, /\/auth\//);
      for (const victim of [new WebBrowser(server), await signedIn()]) {
        const session = victim.cookie("lintel_session");
        const answer = await victim.open(back);
        assert.equal(answer.status, 400);
        assert.equal(answer.location, undefined);
        assert.equal(
          victim.cookie("lintel_session"),
          session,
          "the victim is signed in as nobody else",
        );
      }
      assert.ok(response(await attacker.open(back))["code"], "where it began it ends");
    });

    it("a sign-in that began in one session is not finished in another", async () => {
      const owner = await signedIn();
      const path = await begin(owner, { prompt: "login" }, firstParty);
      const other = await signedIn();
      for (const [key, cookie] of owner.jar) if (cookie.path !== "/") other.jar.set(key, cookie);
      const answer = await walk(server, other, path, user);
      assert.equal(answer.status, 400);
      assert.equal(answer.location, undefined);
    });

    it("when it is over it is over, for everybody", async () => {
      const browser = new WebBrowser(server);
      const path = await begin(browser, {}, firstParty);
      const copy = browser.copy();
      response(await walk(server, browser, path, user));
      for (const visitor of [browser, copy]) {
        const answer = await visitor.submit(path, { username: user.email });
        assert.equal(answer.status, 410);
        assert.equal(answer.page, "stale");
      }
    });
  });

  describe("T-11: signing somebody in from another site", () => {
    it("is refused before the form is read", async () => {
      const browser = new WebBrowser(server);
      const path = await begin(browser);
      const fields = { username: user.email, password: "correct horse battery staple" };
      for (const headers of [
        { origin: "https://evil.example", "sec-fetch-site": "cross-site" },
        { origin: server.issuer, "sec-fetch-site": "same-site" },
        { origin: "null", "sec-fetch-site": "cross-site" },
      ]) {
        const answer = await browser.submit(path, fields, headers);
        assert.equal(answer.status, 403);
        assert.deepEqual(answer.setCookies, []);
      }
    });
  });

  describe("T-12: consent", () => {
    it("is what the person answered, also where nobody is asked as a rule", async () => {
      const own = new RelyingParty(server, await aClient(server, { first_party: true }));
      const person = await aUser(server);
      const path = own.authorization({ scope: "openid email", prompt: "consent" });
      const answer = await walk(server, new WebBrowser(server), path, { ...person, scopes: [] });
      const tokens = json(await own.redeem(response(answer)["code"] ?? ""));
      assert.equal(tokens["scope"], "openid");
      const claims = json(await own.userinfo(String(tokens["access_token"])));
      assert.deepEqual(Object.keys(claims), ["sub"]);
    });

    it("is asked once, remembered, and asked again for one scope more", async () => {
      const client = await register();
      const browser = await signedIn();
      const first = await browser.open(client.authorization());
      assert.match(first.location ?? "", /\/interaction\//, "asked");
      response(await walk(server, browser, first.location ?? "", user));
      assert.ok(response(await browser.open(client.authorization()))["code"], "remembered");
      const more = await walk(server, browser, client.authorization({ scope: "openid email" }));
      assert.equal(more.page, "consent");
      assert.match(more.text, /value="email"/);
    });

    it("that is missing is consent_required with prompt=none, never a code", async () => {
      const client = await register();
      const browser = await signedIn();
      const answer = await browser.open(client.authorization({ prompt: "none" }));
      assert.match(response(answer)["error"] ?? "", /^(consent|interaction)_required$/);
      response(await walk(server, browser, client.authorization(), user));
      assert.ok(response(await browser.open(client.authorization({ prompt: "none" })))["code"]);
      const more = await browser.open(
        client.authorization({ prompt: "none", scope: "openid email" }),
      );
      assert.match(response(more)["error"] ?? "", /^(consent|interaction)_required$/);
    });

    it("of one person says nothing about another, nor about another client", async () => {
      const client = await register();
      await walk(server, await signedIn(), client.authorization(), user);
      const someoneElse = await aUser(server);
      const browser = new WebBrowser(server);
      const page = await walk(server, browser, client.authorization(), {
        ...someoneElse,
        until: "consent",
      });
      assert.equal(page.page, "consent");
      const other = await walk(server, await signedIn(), (await register()).authorization());
      assert.equal(other.page, "consent");
    });

    it("is asked again when the client asks for it: prompt=consent", async () => {
      const client = await register();
      const browser = await signedIn();
      response(await walk(server, browser, client.authorization(), user));
      assert.equal(
        (await walk(server, browser, client.authorization({ prompt: "consent" }))).page,
        "consent",
      );
    });

    it("is asked of native apps each time, because any program can claim their address (RFC 8252 §8.6)", async () => {
      const native = await register({
        application_type: "native",
        token_endpoint_auth_method: "none",
        redirect_uris: [
          "com.example.app:/callback",
          "http://127.0.0.1/callback",
          "https://app.example/claimed",
        ],
      });
      const browser = await signedIn();
      for (const redirectUri of ["com.example.app:/callback", "http://127.0.0.1:51234/callback"]) {
        const changes = { redirect_uri: redirectUri };
        response(await walk(server, browser, native.authorization(changes), user));
        assert.equal((await walk(server, browser, native.authorization(changes))).page, "consent");
        const silent = await browser.open(native.authorization({ ...changes, prompt: "none" }));
        assert.equal(response(silent)["error"], "interaction_required");
      }
      const claimed = { redirect_uri: "https://app.example/claimed" };
      assert.ok(response(await browser.open(native.authorization(claimed)))["code"]);
    });

    it("releases what was allowed and nothing else, in tokens and at userinfo", async () => {
      const client = await register();
      const browser = await signedIn();
      const scope = "openid email profile";
      const answer = await walk(server, browser, client.authorization({ scope }), {
        ...user,
        scopes: ["profile"],
      });
      const tokens = json(await client.redeem(response(answer)["code"] ?? ""));
      assert.equal(tokens["scope"], "openid profile");
      const info = json(await client.userinfo(String(tokens["access_token"])));
      assert.equal(info["name"], "Ada Lovelace");
      assert.equal(info["email"], undefined);
      assert.equal(decodeJwt(String(tokens["id_token"]))["email"], undefined);
      const wider = await client.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
        scope,
      });
      assert.equal(errorOf(wider), "invalid_scope");
      const again = await browser.open(client.authorization({ scope }));
      const second = json(await client.redeem(response(again)["code"] ?? ""));
      assert.equal(second["scope"], "openid profile", "a no is remembered like a yes");
    });

    it("cannot be widened by the form: a scope that was not asked for is not granted", async () => {
      const client = await register();
      const browser = await signedIn();
      const answer = await walk(server, browser, client.authorization(), {
        ...user,
        scopes: ["email", "offline_access", "admin"],
      });
      assert.equal(json(await client.redeem(response(answer)["code"] ?? ""))["scope"], "openid");
      const later = await walk(server, browser, client.authorization({ scope: "openid email" }));
      assert.equal(later.page, "consent", "nor later, when it is asked for");
    });

    it("cannot be given by whoever has not signed in", async () => {
      const browser = new WebBrowser(server);
      const path = await begin(browser);
      const answer = await browser.submit(`${path}/consent`, {
        decision: "allow",
        scope: "openid",
      });
      assert.equal(new URL(answer.location ?? "").pathname, path);
      const named = await browser.submit(path, { username: user.email });
      assert.match(named.location ?? "", /\/password$/);
      const skipped = await browser.submit(`${path}/consent`, {
        decision: "allow",
        scope: "openid",
      });
      assert.match(skipped.location ?? "", /\/password$/);
    });

    it("denied is access_denied, leaves no code, and is not remembered as a yes", async () => {
      const client = await register();
      const browser = await signedIn();
      const page = await walk(server, browser, client.authorization());
      const { location = "" } = await browser.submit(page.url.href, { decision: "deny" });
      const answer = response(await browser.open(location));
      assert.equal(answer["error"], "access_denied");
      assert.equal(answer["code"], undefined);
      assert.equal(answer["iss"], server.issuer);
      assert.equal((await walk(server, browser, client.authorization())).page, "consent");
    });

    it("outlives signing out", async () => {
      const client = await register();
      const browser = await signedIn();
      response(await walk(server, browser, client.authorization(), user));
      await signOut(browser);
      const page = await walk(server, browser, client.authorization());
      assert.equal(page.page, "login");
      const answer = await walk(server, browser, client.authorization(), {
        ...user,
        until: "consent",
      });
      assert.ok(response(answer)["code"], "not asked again");
    });
  });

  describe("T-13: how recent, and who", () => {
    const hourAgo = async (browser: WebBrowser) => {
      const before = await claimsOf(
        await browser.open(firstParty.authorization({ max_age: "3000" })),
      );
      await server.database
        .knex("sessions")
        .where({ user_id: user.id })
        .update({ logged_in_at: new Date((Number(before["auth_time"]) - 3600) * 1000) });
    };

    it("max_age: an older sign-in is not enough, and auth_time tells the truth", async () => {
      const browser = await signedIn();
      await hourAgo(browser);
      const silent = await browser.open(
        firstParty.authorization({ max_age: "60", prompt: "none" }),
      );
      assert.equal(response(silent)["error"], "login_required");
      const unasked = await claimsOf(
        await browser.open(firstParty.authorization({ max_age: "7200" })),
      );
      assert.ok(Date.now() / 1000 - Number(unasked["auth_time"]) >= 3600);
      const page = await walk(server, browser, firstParty.authorization({ max_age: "60" }));
      assert.equal(page.page, "password");
      const claims = await claimsOf(
        await walk(server, browser, firstParty.authorization({ max_age: "60" }), user),
      );
      assert.ok(Date.now() / 1000 - Number(claims["auth_time"]) < 30);
      assert.equal(claims.sub, user.id);
    });

    it("max_age: the default of a client counts like one in the request", async () => {
      const strict = await register({ first_party: true, default_max_age: 60 });
      const browser = await signedIn();
      await hourAgo(browser);
      assert.equal((await walk(server, browser, strict.authorization())).page, "password");
    });

    it("prompt=login: asks for the password though somebody is signed in, and takes no other", async () => {
      const browser = await signedIn();
      const page = await walk(server, browser, firstParty.authorization({ prompt: "login" }));
      assert.equal(page.page, "password");
      const wrong = await browser.submit(page.url.href, { password: "wrong wrong wrong" });
      assert.equal(wrong.status, 401);
      const { location: resume = "" } = await browser.submit(page.url.href, {
        password: "correct horse battery staple",
      });
      assert.ok(response(await browser.open(resume))["code"]);
    });

    it("prompt=login: nobody gets past it by going back to where it leads", async () => {
      const browser = await signedIn();
      const { location = "" } = await browser.open(firstParty.authorization({ prompt: "login" }));
      const back = location.replace("/interaction/", "/auth/");
      for (const path of [back, back, browser.cookie("lintel_resume") ?? ""]) {
        const answer = await browser.open(path.startsWith("http") ? path : `/auth/${path}`);
        assert.doesNotMatch(answer.location ?? "", /code=/);
      }
    });

    it("cancelled: the client hears access_denied, and the session is what it was", async () => {
      const browser = await signedIn();
      const before = await claimsOf(
        await browser.open(firstParty.authorization({ max_age: "3000" })),
      );
      const path = await begin(browser, { prompt: "login" }, firstParty);
      const { location = "" } = await browser.submit(`${path}/cancel`, {});
      const answer = response(await browser.open(location));
      assert.equal(answer["error"], "access_denied");
      assert.equal(answer["code"], undefined);
      const after = await claimsOf(
        await browser.open(firstParty.authorization({ max_age: "3000" })),
      );
      assert.equal(after.sub, before.sub);
      assert.equal(after["auth_time"], before["auth_time"], "nothing became fresher");
      assert.equal(after["acr"], before["acr"]);
    });

    it("login_hint: fills in the field, and signs nobody in", async () => {
      const browser = new WebBrowser(server);
      const hint = `"><b>${user.email}`;
      const page = await walk(server, browser, firstParty.authorization({ login_hint: hint }));
      assert.equal(page.page, "login");
      assert.ok(page.text.includes(user.email));
      assert.ok(!page.text.includes('"><b>'));
      const silent = await browser.open(
        firstParty.authorization({ login_hint: user.email, prompt: "none" }),
      );
      assert.equal(response(silent)["error"], "login_required");
    });

    it("id_token_hint: of somebody else is login_required, and asks who it is otherwise", async () => {
      const other = await aUser(server);
      const elsewhere = new WebBrowser(server);
      const answer = await walk(server, elsewhere, firstParty.authorization(), other);
      const hint = String(
        json(await firstParty.redeem(response(answer)["code"] ?? ""))["id_token"],
      );
      const browser = await signedIn();
      const changes = { id_token_hint: hint };
      const silent = await browser.open(firstParty.authorization({ ...changes, prompt: "none" }));
      assert.equal(response(silent)["error"], "login_required");
      const asked = await walk(server, browser, firstParty.authorization(changes));
      assert.match(asked.page ?? "", /^(login|password)$/);
      const own = await elsewhere.open(firstParty.authorization({ ...changes, prompt: "none" }));
      assert.ok(response(own)["code"]);
    });

    it("somebody else who signs in in the same browser gets their own session, not the first one’s", async () => {
      const other = await aUser(server);
      const browser = await signedIn();
      const old = browser.copy();
      const path = await begin(browser, { prompt: "login" }, firstParty);
      const { location = "" } = await browser.submit(path, {
        username: other.email,
        password: "correct horse battery staple",
      });
      const answer = await walk(server, browser, location);
      assert.equal((await claimsOf(answer)).sub, other.id);
      const silent = await browser.open(firstParty.authorization({ prompt: "none" }));
      assert.equal((await claimsOf(silent)).sub, other.id);
      // The first one's waits beside it: its cookie is as good as before.
      const first = await old.open(firstParty.authorization({ prompt: "none" }));
      assert.notEqual((await claimsOf(first)).sub, other.id);
    });
  });

  /** Through the page, as a person would. */
  async function signOut(browser: WebBrowser, query = ""): Promise<Answer> {
    const page = await browser.open(`/session/end${query}`);
    const [, xsrf = ""] = /name="xsrf" value="([^"]+)"/.exec(page.text) ?? [];
    return browser.submit("/session/end/confirm", { xsrf, logout: "yes" });
  }

  describe("T-15: signing out (RP-Initiated Logout 1.0)", () => {
    const isSignedIn = async (browser: WebBrowser) =>
      response(await browser.open(firstParty.authorization({ prompt: "none" })))["code"] !==
      undefined;

    async function tokensOf(browser: WebBrowser): Promise<Record<string, string>> {
      const answer = await browser.open(firstParty.authorization());
      return json(await firstParty.redeem(response(answer)["code"] ?? "")) as Record<
        string,
        string
      >;
    }

    it("a GET alone ends nothing, with a hint or without", async () => {
      const browser = await signedIn();
      const { id_token: hint = "" } = await tokensOf(browser);
      const own = "https://rp.example/";
      for (const query of [
        {},
        { id_token_hint: hint },
        { id_token_hint: hint, post_logout_redirect_uri: own },
        { client_id: firstParty.credentials.clientId, logout: "yes" },
      ]) {
        const answer = await browser.open(`/session/end?${new URLSearchParams(query)}`);
        assert.equal(answer.page, "logout");
        assert.equal(await isSignedIn(browser), true);
      }
      await browser.open("/session/end/confirm?logout=yes");
      await browser.open("/session/end/success");
      assert.equal(await isSignedIn(browser), true);
    });

    it("an address that is not registered is refused, and nothing ends", async () => {
      const browser = await signedIn();
      const { id_token: hint = "" } = await tokensOf(browser);
      for (const address of [
        "https://evil.example/",
        "https://rp.example",
        "https://rp.example/?x",
        "https://rp.example/callback",
      ]) {
        for (const who of [
          { id_token_hint: hint },
          { client_id: firstParty.credentials.clientId },
        ]) {
          const query = new URLSearchParams({ ...who, post_logout_redirect_uri: address });
          const answer = await browser.open(`/session/end?${query}`);
          assert.equal(answer.status, 400);
          assert.equal(answer.location, undefined);
          assert.equal(errorOf(answer), "invalid_request");
        }
      }
      assert.equal(await isSignedIn(browser), true);
    });

    it("a hint that is forged, of another client or no ID token is refused", async () => {
      const browser = await signedIn();
      const { id_token: hint = "", access_token: token = "" } = await tokensOf(browser);
      const [, payload = ""] = hint.split(".");
      const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${payload}.`;
      const tampered = hint.slice(0, -8) + "AAAAAAAA";
      for (const value of [none, tampered, token, "x"]) {
        const answer = await browser.open(
          `/session/end?${new URLSearchParams({ id_token_hint: value })}`,
        );
        assert.equal(answer.status, 400, value);
      }
      const query = new URLSearchParams({
        id_token_hint: hint,
        client_id: app.credentials.clientId,
      });
      assert.equal((await browser.open(`/session/end?${query}`)).status, 400);
      assert.equal(await isSignedIn(browser), true);
    });

    it("another site’s form is 403, one without our secret is refused, and nothing ends", async () => {
      const browser = await signedIn();
      const page = await browser.open("/session/end");
      const [, xsrf = ""] = /name="xsrf" value="([^"]+)"/.exec(page.text) ?? [];
      assert.notEqual(xsrf, "");
      const foreign = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
      const answer = await browser.submit("/session/end/confirm", { xsrf, logout: "yes" }, foreign);
      assert.equal(answer.status, 403);
      for (const guess of ["", "x", `${xsrf}x`, undefined]) {
        const guessed = await browser.submit("/session/end/confirm", {
          xsrf: guess,
          logout: "yes",
        });
        assert.equal(guessed.status, 400);
      }
      assert.equal(await isSignedIn(browser), true);
      const other = await signedIn();
      const theirs = await other.submit("/session/end/confirm", { xsrf, logout: "yes" });
      assert.equal(theirs.status, 400, "the secret is of one session");
      assert.equal(await isSignedIn(other), true);
    });

    it("declined: the person stays signed in, and only the asking client’s tokens end", async () => {
      const browser = await signedIn();
      const asking = await register({ first_party: true });
      const answer = await browser.open(asking.authorization());
      const theirs = json(await asking.redeem(response(answer)["code"] ?? ""));
      const ours = await tokensOf(browser);
      const page = await browser.open(`/session/end?client_id=${asking.credentials.clientId}`);
      const [, xsrf = ""] = /name="xsrf" value="([^"]+)"/.exec(page.text) ?? [];
      assert.equal((await browser.submit("/session/end/confirm", { xsrf })).status, 303);
      assert.equal(await isSignedIn(browser), true);
      assert.equal((await asking.userinfo(String(theirs["access_token"]))).status, 401);
      assert.equal((await firstParty.userinfo(ours["access_token"] ?? "")).status, 200);
    });

    it("confirmed: session, access and refresh token end; and nothing of another browser", async () => {
      const browser = await signedIn();
      const elsewhere = await signedIn();
      const [tokens, others] = [await tokensOf(browser), await tokensOf(elsewhere)];
      const copy = browser.copy();
      const query = new URLSearchParams({
        id_token_hint: tokens["id_token"] ?? "",
        post_logout_redirect_uri: "https://rp.example/",
        state: "kept",
      });
      const answer = await signOut(browser, `?${query}`);
      assert.equal(answer.location, "https://rp.example/?state=kept");
      for (const visitor of [browser, copy]) assert.equal(await isSignedIn(visitor), false);
      assert.equal((await firstParty.userinfo(tokens["access_token"] ?? "")).status, 401);
      const refreshed = await firstParty.token({
        grant_type: "refresh_token",
        refresh_token: tokens["refresh_token"] ?? "",
      });
      assert.equal(errorOf(refreshed), "invalid_grant");
      assert.equal(await isSignedIn(elsewhere), true);
      assert.equal((await firstParty.userinfo(others["access_token"] ?? "")).status, 200);
    });
  });
});
