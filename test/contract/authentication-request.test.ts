import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { decodeJwt, generateKeyPair, SignJWT } from "jose";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";

const claims = (wanted: object) => ({ claims: JSON.stringify(wanted) });

/** What an authentication request may say, and what must follow from it (OIDC Core §3.1.2.1, §5.5). */
describe("authentication request", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let user: { id: string; email: string };
  let other: { id: string; email: string };
  let app: RelyingParty;

  before(async () => {
    server = await aServerWith({ open: "conformance" });
    open = issuerAt(server, "open");
    user = await aUser(server);
    other = await aUser(server);
    app = await register();
  });
  after(() => server.stop());

  const register = async (metadata: Record<string, unknown> = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));

  const ask = (browser: WebBrowser, changes: Fields = {}, rp = app) =>
    browser.open(rp.authorization(changes));

  async function idTokenOf(answer: Answer, rp = app) {
    const tokens = json(await rp.redeem(response(answer)["code"] ?? ""));
    const raw = String(tokens["id_token"]);
    return { raw, ...(decodeJwt(raw) as Record<string, unknown>) } as Record<string, unknown> & {
      raw: string;
      sub: string;
    };
  }

  async function signedIn(person = user, changes: Fields = {}, rp = app) {
    const browser = new WebBrowser(server);
    const answer = await walk(server, browser, rp.authorization(changes), person);
    return { browser, idToken: await idTokenOf(answer, rp) };
  }

  /** Where the person is asked to sign in. */
  async function asksToSignIn(browser: WebBrowser, changes: Fields) {
    const page = await walk(server, browser, app.authorization(changes));
    assert.match(page.page ?? page.location ?? "", /^(login|password)$/);
    return page;
  }

  describe("response_type and scope", () => {
    it("answers invalid_request without response_type (RFC 6749 §4.1.2.1)", async () => {
      assert.equal(
        errorOf(await ask(new WebBrowser(server), { response_type: undefined })),
        "invalid_request",
      );
    });

    it("answers unsupported_response_type to one that it does not know (RFC 6749 §4.1.2.1)", async () => {
      const answer = await ask(new WebBrowser(server), { response_type: "other" });
      assert.equal(errorOf(answer), "unsupported_response_type");
    });

    it("answers with an error that has state, exactly as it was sent (RFC 6749 §4.1.2.1)", async () => {
      const state = "a b+c%20d&e=f \u00fc \u{1F600}";
      const answer = await ask(new WebBrowser(server), { prompt: "none", state });
      assert.equal(response(answer)["state"], state);
    });

    it("returns state exactly as it was sent, and none where none was (OIDC Core §3.1.2.5)", async () => {
      const { browser } = await signedIn();
      const state = "a b+c%20d&e=f \u00fc \u{1F600}";
      assert.equal(response(await ask(browser, { state }))["state"], state);
      assert.ok(!("state" in response(await ask(browser, { state: undefined }))));
    });

    it("gives no ID token without the scope openid (OIDC Core §3.1.2.1)", async () => {
      const { browser } = await signedIn();
      const answer = await ask(browser, { scope: "profile", nonce: undefined });
      const { code } = response(answer);
      if (code !== undefined) assert.equal(json(await app.redeem(code))["id_token"], undefined);
      else assert.match(errorOf(answer) ?? "", /^invalid_/);
    });

    it("ignores scopes that it does not know (OIDC Core §3.1.2.1)", async () => {
      const { browser } = await signedIn();
      assert.ok(response(await ask(browser, { scope: "openid something_else" }))["code"]);
    });

    it("ignores parameters that it does not know (OIDC Core §3.1.2.1)", async () => {
      const { browser } = await signedIn();
      assert.ok(response(await ask(browser, { extra: "foobar", "x-y": "1" }))["code"]);
    });

    it("treats a parameter without a value as left out (RFC 6749 §3.1)", async () => {
      const { browser } = await signedIn();
      const answer = await ask(browser, { max_age: "", prompt: "", acr_values: "", claims: "" });
      assert.ok(response(answer)["code"]);
    });
  });

  describe("nonce", () => {
    it("is in the ID token, unmodified (OIDC Core §3.1.3.7)", async () => {
      const nonce = "n-0S6_WzA2Mj \u00fc %20";
      const { idToken } = await signedIn(user, { nonce });
      assert.equal(idToken["nonce"], nonce);
    });

    it("may be left out in the code flow, and then is not in the ID token (OIDC Core §3.1.2.1)", async () => {
      const { idToken } = await signedIn(user, { nonce: undefined });
      assert.equal(idToken["nonce"], undefined);
    });

    for (const type of ["id_token", "id_token token", "code id_token", "code id_token token"])
      it(`must be there for ${type} (OIDC Core §3.2.2.1, §3.3.2.11)`, async () => {
        const rp = new RelyingParty(
          open,
          await aClient(
            server,
            {
              response_types: [type, "code"],
              grant_types: ["authorization_code", "implicit"],
              first_party: true,
            },
            "open",
          ),
        );
        const path = rp.authorization({ response_type: type, nonce: undefined });
        const { location = "" } = await new WebBrowser(open).open(path);
        const fragment = new URLSearchParams(new URL(location).hash.slice(1));
        assert.equal(fragment.get("error"), "invalid_request");
      });
  });

  describe("prompt", () => {
    it("none answers login_required where nobody is signed in, and shows nothing (OIDC Core §3.1.2.1)", async () => {
      const answer = await ask(new WebBrowser(server), { prompt: "none" });
      assert.equal(errorOf(answer), "login_required");
      assert.ok(answer.location?.startsWith(app.credentials.redirectUri));
    });

    it("none answers without asking where all is known (OIDC Core §3.1.2.1)", async () => {
      const { browser, idToken } = await signedIn();
      const again = await idTokenOf(await ask(browser, { prompt: "none" }));
      assert.equal(again.sub, idToken.sub);
    });

    it("none answers consent_required where consent is missing (OIDC Core §3.1.2.1, §3.1.2.6)", async () => {
      const { browser } = await signedIn();
      const rp = await register({ first_party: false });
      const answer = await ask(browser, { prompt: "none" }, rp);
      assert.match(errorOf(answer) ?? "", /^(consent|interaction)_required$/);
    });

    for (const prompt of ["none login", "consent none", "none select_account"])
      it(`answers an error to "${prompt}" (OIDC Core §3.1.2.1)`, async () => {
        const { browser } = await signedIn();
        assert.equal(errorOf(await ask(browser, { prompt })), "invalid_request");
      });

    it("login asks somebody who is signed in again, and says when that was (OIDC Core §3.1.2.1)", async () => {
      const { browser, idToken } = await signedIn(user, { max_age: "1000" });
      await delay(1_100);
      const before = Number(idToken["auth_time"]);
      const page = await walk(server, browser, app.authorization({ prompt: "login" }));
      assert.match(page.page ?? "", /^(login|password)$/);
      const path = app.authorization({ prompt: "login", max_age: "1000" });
      const again = await idTokenOf(await walk(server, browser, path, user));
      assert.ok(Number(again["auth_time"]) > before);
      assert.equal(again.sub, idToken.sub);
    });

    it("consent asks though everything was allowed before (OIDC Core §3.1.2.1)", async () => {
      const rp = await register({ first_party: false });
      const { browser } = await signedIn(user, {}, rp);
      assert.ok(response(await ask(browser, {}, rp))["code"], "not asked by itself");
      const path = rp.authorization({ prompt: "consent" });
      const page = await walk(server, browser, path, { ...user, until: "consent" });
      assert.equal(page.page, "consent");
    });

    it("login and consent together ask for both (OIDC Core §3.1.2.1)", async () => {
      const rp = await register({ first_party: false });
      const { browser } = await signedIn(user, {}, rp);
      const path = rp.authorization({ prompt: "consent login" });
      assert.match((await walk(server, browser, path)).page ?? "", /^(login|password)$/);
      const page = await walk(server, browser, path, { ...user, until: "consent" });
      assert.equal(page.page, "consent");
    });

    it("answers an error to one that it does not know (OIDC Core §3.1.2.1)", async () => {
      const { browser } = await signedIn();
      assert.equal(errorOf(await ask(browser, { prompt: "dance" })), "invalid_request");
    });
  });

  describe("max_age", () => {
    it("asks again when the sign-in is older (OIDC Core §3.1.2.1)", async () => {
      const { browser, idToken } = await signedIn(user, { max_age: "1000" });
      await delay(2_100);
      await asksToSignIn(browser, { max_age: "1" });
      const path = app.authorization({ max_age: "1" });
      const again = await idTokenOf(await walk(server, browser, path, user));
      assert.ok(Number(again["auth_time"]) >= Number(idToken["auth_time"]) + 2);
    });

    it("does not ask again when it is not, and says when it was (OIDC Core §3.1.2.1)", async () => {
      const { browser, idToken } = await signedIn(user, { max_age: "1000" });
      const again = await idTokenOf(await ask(browser, { max_age: "1000" }));
      assert.equal(again["auth_time"], idToken["auth_time"]);
    });

    it("must have auth_time in the ID token as its consequence (OIDC Core §2, §3.1.2.1)", async () => {
      const { idToken } = await signedIn(user, { max_age: "1000" });
      assert.equal(typeof idToken["auth_time"], "number");
      assert.ok(Math.abs(Number(idToken["auth_time"]) - Date.now() / 1000) < 10);
    });

    it("0 is prompt=login (OIDC Core §3.1.2.1)", async () => {
      const { browser } = await signedIn();
      await asksToSignIn(browser, { max_age: "0" });
    });

    it("0 with prompt=none cannot be answered (OIDC Core §3.1.2.1)", async () => {
      const { browser } = await signedIn();
      const answer = await ask(browser, { max_age: "0", prompt: "none" });
      assert.match(errorOf(answer) ?? "", /^(login_required|invalid_request)$/);
    });

    it("with prompt=none answers login_required when the sign-in is older (OIDC Core §3.1.2.1)", async () => {
      const { browser } = await signedIn();
      await delay(2_100);
      assert.equal(errorOf(await ask(browser, { max_age: "1", prompt: "none" })), "login_required");
    });

    for (const age of ["-1", "1.5", "x", "1e3000", "0x"])
      it(`answers invalid_request to ${age} (OIDC Core §3.1.2.1)`, async () => {
        const { browser } = await signedIn();
        assert.equal(errorOf(await ask(browser, { max_age: age })), "invalid_request");
      });

    it("is what the client registered where the request says nothing (OIDC Registration §2)", async () => {
      const rp = await register({ default_max_age: 1 });
      const { browser, idToken } = await signedIn(user, {}, rp);
      assert.equal(typeof idToken["auth_time"], "number");
      await delay(2_100);
      assert.equal(errorOf(await ask(browser, { prompt: "none" }, rp)), "login_required");
    });

    it("is not what the client registered where the request says something (OIDC Registration §2)", async () => {
      const rp = await register({ default_max_age: 1 });
      const { browser } = await signedIn(user, {}, rp);
      await delay(2_100);
      const answer = await ask(browser, { prompt: "none", max_age: "1000" }, rp);
      assert.ok(response(answer)["code"]);
    });

    it("is not needed for auth_time where the client always wants it (OIDC Registration §2)", async () => {
      const rp = await register({ require_auth_time: true });
      const { idToken } = await signedIn(user, {}, rp);
      assert.equal(typeof idToken["auth_time"], "number");
    });
  });

  describe("ui_locales, claims_locales and display", () => {
    it("choose the language of the pages (OIDC Core §3.1.2.1)", async () => {
      const page = await walk(
        server,
        new WebBrowser(server),
        app.authorization({ ui_locales: "nl de-AT en" }),
      );
      assert.match(page.text, /<html lang="de"/);
    });

    for (const name of ["ui_locales", "claims_locales"])
      it(`cause no error where ${name} is not supported (OIDC Core §3.1.2.1, §5.2)`, async () => {
        const { browser } = await signedIn();
        for (const value of ["tlh", "x", "fr-CA  fr", "%%"])
          assert.ok(response(await ask(browser, { [name]: value, prompt: "none" }))["code"], value);
      });

    for (const display of ["page", "popup", "touch", "wap"])
      it(`causes no error: ${display} (OIDC Core §3.1.2.1)`, async () => {
        const { browser } = await signedIn();
        assert.ok(response(await ask(browser, { display, prompt: "none" }))["code"]);
      });
  });

  describe("login_hint", () => {
    it("is what the form holds at first, and nothing that runs (OIDC Core §3.1.2.1)", async () => {
      const hint = 'ada@example.com"><script>';
      const page = await walk(
        server,
        new WebBrowser(server),
        app.authorization({ login_hint: hint }),
      );
      assert.match(page.text, /value="ada@example\.com&#34;&gt;&lt;script&gt;"/);
    });

    it("signs nobody in (OIDC Core §3.1.2.1)", async () => {
      const answer = await ask(new WebBrowser(server), { login_hint: user.email, prompt: "none" });
      assert.equal(errorOf(answer), "login_required");
    });
  });

  describe("id_token_hint", () => {
    it("of whoever is signed in is answered without asking (OIDC Core §3.1.2.1)", async () => {
      const { browser, idToken } = await signedIn();
      const answer = await ask(browser, { id_token_hint: idToken.raw, prompt: "none" });
      assert.equal((await idTokenOf(answer)).sub, user.id);
    });

    it("of somebody else is answered login_required with prompt=none (OIDC Core §3.1.2.1, §3.1.2.2)", async () => {
      const { idToken } = await signedIn(other);
      const { browser } = await signedIn(user);
      const answer = await ask(browser, { id_token_hint: idToken.raw, prompt: "none" });
      assert.equal(errorOf(answer), "login_required");
    });

    it("of somebody else brings nobody's tokens but theirs (OIDC Core §3.1.2.2)", async () => {
      const { idToken } = await signedIn(other);
      const { browser } = await signedIn(user);
      const path = app.authorization({ id_token_hint: idToken.raw });
      const page = await walk(server, browser, path);
      assert.match(page.page ?? "", /^(login|password)$/);
    });

    it("is answered with an error where another person signs in after all (OIDC Core §3.1.2.2)", async () => {
      const { idToken } = await signedIn(other);
      const path = app.authorization({ id_token_hint: idToken.raw });
      const answer = await walk(server, new WebBrowser(server), path, user);
      assert.equal(errorOf(answer), "login_required");
    });

    it("is refused where we did not sign it, or where it is none (OIDC Core §3.1.2.2)", async () => {
      const { browser, idToken } = await signedIn();
      const { raw, ...payload } = idToken;
      const [header, body] = raw.split(".");
      for (const hint of ["x", "a.b.c", `${header}.${body}.`, await resign(payload)])
        assert.equal(errorOf(await ask(browser, { id_token_hint: hint })), "invalid_request", hint);
    });

    it("knows a person by the identifier that their sector has for them (OIDC Core §8.1)", async () => {
      const rp = await register({ subject_type: "pairwise" });
      const { browser, idToken } = await signedIn(user, {}, rp);
      assert.notEqual(idToken.sub, user.id);
      const answer = await ask(browser, { id_token_hint: idToken.raw, prompt: "none" }, rp);
      assert.ok(response(answer)["code"]);
    });

    async function resign(payload: object): Promise<string> {
      const { privateKey } = await generateKeyPair("ES256");
      return new SignJWT({ ...payload }).setProtectedHeader({ alg: "ES256" }).sign(privateKey);
    }
  });

  describe("acr_values and the claim acr", () => {
    it("say how somebody signed in where they are asked for (OIDC Core §2, §3.1.2.1)", async () => {
      const { idToken } = await signedIn(user, { acr_values: "1" });
      assert.equal(idToken["acr"], "1");
    });

    it("are voluntary: what cannot be had is no error, and the truth is said (OIDC Core §3.1.2.1)", async () => {
      const { idToken } = await signedIn(user, { acr_values: "urn:x:gold urn:x:silver" });
      assert.ok(idToken["acr"] === undefined || idToken["acr"] === "1");
      assert.equal(idToken.sub, user.id);
    });

    it("as a voluntary claim with values are no error either (OIDC Core §5.5.1)", async () => {
      const { idToken } = await signedIn(user, claims({ id_token: { acr: { values: ["gold"] } } }));
      assert.equal(idToken.sub, user.id);
    });

    for (const acr of [{ value: "1" }, { values: ["gold", "1"] }])
      it(`as an essential claim are met where they can be: ${JSON.stringify(acr)} (OIDC Core §5.5.1.1)`, async () => {
        const { idToken } = await signedIn(
          user,
          claims({ id_token: { acr: { essential: true, ...acr } } }),
        );
        assert.equal(idToken["acr"], "1");
      });

    for (const acr of [{ value: "gold" }, { values: ["gold", "silver"] }]) {
      const wanted = claims({ id_token: { acr: { essential: true, ...acr } } });
      const what = JSON.stringify(acr);
      it(`as an essential claim that cannot be met fail for whoever is signed in: ${what} (OIDC Core §5.5.1.1)`, async () => {
        const { browser } = await signedIn();
        const answer = await ask(browser, { ...wanted, prompt: "none" });
        assert.match(errorOf(answer) ?? "", /^(unmet_authentication_requirements|login_required)$/);
      });

      it(`as an essential claim that cannot be met end the sign-in with an error: ${what} (OIDC Core §5.5.1.1)`, async () => {
        const path = app.authorization(wanted);
        const answer = await walk(server, new WebBrowser(server), path, user);
        assert.equal(errorOf(answer), "unmet_authentication_requirements");
      });
    }

    it("are listed in discovery (OIDC Discovery §3)", async () => {
      const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
      assert.deepEqual(metadata["acr_values_supported"], ["1", "2", "3"]);
    });
  });

  describe("claims", () => {
    it("asks for single claims, which consent allows (OIDC Core §5.5)", async () => {
      const { idToken } = await signedIn(
        user,
        claims({ id_token: { email: { essential: true } } }),
      );
      assert.equal(idToken["email"], user.email);
    });

    it("asks for auth_time as an essential claim (OIDC Core §5.5.1)", async () => {
      const { idToken } = await signedIn(
        user,
        claims({ id_token: { auth_time: { essential: true } } }),
      );
      assert.equal(typeof idToken["auth_time"], "number");
    });

    it("ignores members and claims that it does not know (OIDC Core §5.5)", async () => {
      const wanted = { id_token: { unknown_claim: null }, elsewhere: { x: null } };
      const { idToken } = await signedIn(user, claims(wanted));
      assert.equal(idToken["unknown_claim"], undefined);
    });

    it("is no error where an essential claim cannot be had (OIDC Core §5.5.1)", async () => {
      const wanted = { userinfo: { phone_number: { essential: true } } };
      assert.equal((await signedIn(user, claims(wanted))).idToken.sub, user.id);
    });

    it("answers invalid_request to what is no JSON object (OIDC Core §5.5)", async () => {
      const { browser } = await signedIn();
      for (const value of ["x", "[]", '"x"', "1", '{"id_token":1}', '{"userinfo":[]}'])
        assert.equal(errorOf(await ask(browser, { claims: value })), "invalid_request", value);
    });

    it("with the sub of whoever is signed in is answered (OIDC Core §5.5.1)", async () => {
      const { browser } = await signedIn();
      const wanted = claims({ id_token: { sub: { value: user.id } } });
      assert.ok(response(await ask(browser, { ...wanted, prompt: "none" }))["code"]);
    });

    it("with the sub of somebody else is answered login_required with prompt=none (OIDC Core §3.1.2.2)", async () => {
      const { browser } = await signedIn();
      const wanted = claims({ id_token: { sub: { value: other.id } } });
      assert.equal(errorOf(await ask(browser, { ...wanted, prompt: "none" })), "login_required");
    });

    it("with the sub of somebody else brings nobody's tokens but theirs (OIDC Core §3.1.2.2)", async () => {
      const path = app.authorization(claims({ id_token: { sub: { value: other.id } } }));
      const answer = await walk(server, new WebBrowser(server), path, user);
      assert.equal(errorOf(answer), "login_required");
    });
  });
});
