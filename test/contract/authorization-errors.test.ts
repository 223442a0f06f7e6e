import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { Session } from "../../src/models/session.ts";
import { aHouse, type House } from "../support/presets.ts";
import {
  errorOf,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aUser } from "../support/server.ts";

const CALLBACK = "https://rp.example/callback";

/** What becomes of authorization requests that are wrong, and of those that only look so. */
describe("authorization errors", () => {
  let house: House;
  let app: RelyingParty;
  let native: RelyingParty;
  let hybrid: RelyingParty;
  /** Nobody is signed in here. */
  let stranger: WebBrowser;

  before(async () => {
    house = await aHouse();
    app = await house.client({ redirect_uris: [CALLBACK, "https://rp.example/with?a=b"] });
    native = await house.client({
      application_type: "native",
      token_endpoint_auth_method: "none",
      redirect_uris: ["http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/cb"],
    });
    hybrid = await house.client(
      {
        response_types: ["code", "code id_token", "id_token"],
        grant_types: ["authorization_code", "implicit"],
      },
      "conformance",
    );
    stranger = new WebBrowser(house.server);
  });
  after(() => house.server.stop());

  const ask = (changes: Fields = {}, as = app) => house.ask(as, changes);
  const found = ({ location = "" }: Answer) =>
    new URLSearchParams(new URL(location).hash.slice(1) || new URL(location).search);

  function staysHere(answer: Answer): void {
    assert.equal(answer.status, 400);
    assert.equal(answer.location, undefined);
    assert.equal(answer.page, "error");
  }

  function goesBack(answer: Answer, error: string): void {
    assert.ok(answer.location?.startsWith(CALLBACK), `${answer.status} ${answer.location}`);
    assert.equal(found(answer).get("error"), error, answer.location);
    assert.equal(found(answer).get("code"), null);
  }

  describe("without an address to trust", () => {
    const wrong: Record<string, [Fields, string]> = {
      "no client_id": [{ client_id: undefined }, "RFC 6749 §4.1.2.1"],
      "a client_id that is nobody's": [{ client_id: "nobody" }, "RFC 6749 §4.1.2.1"],
      "no redirect_uri": [{ redirect_uri: undefined }, "OIDC Core §3.1.2.1"],
      "an empty redirect_uri": [{ redirect_uri: "" }, "RFC 6749 §3.1"],
      "an address that is not registered": [
        { redirect_uri: "https://evil.example/" },
        "RFC 6749 §3.1.2.4",
      ],
      "an address with another path": [{ redirect_uri: `${CALLBACK}/x` }, "RFC 9700 §4.1.3"],
      "an address with a query more": [{ redirect_uri: `${CALLBACK}?x=1` }, "RFC 9700 §4.1.3"],
      "an address with a query less": [
        { redirect_uri: "https://rp.example/with" },
        "RFC 9700 §4.1.3",
      ],
      "an address with a fragment": [{ redirect_uri: `${CALLBACK}#x` }, "RFC 6749 §3.1.2"],
      "an address with another scheme": [
        { redirect_uri: "http://rp.example/callback" },
        "RFC 9700 §4.1.3",
      ],
      "an address on another port": [
        { redirect_uri: "https://rp.example:8443/callback" },
        "RFC 9700 §4.1.3",
      ],
      "an address in other letters": [
        { redirect_uri: "https://RP.example/callback" },
        "RFC 3986 §6.2.1",
      ],
      "an address on a host below": [
        { redirect_uri: "https://x.rp.example/callback" },
        "RFC 9700 §4.1.3",
      ],
      "an address that is relative": [{ redirect_uri: "/callback" }, "RFC 6749 §3.1.2"],
      "the address twice": [{ redirect_uri: [CALLBACK, CALLBACK] }, "RFC 6749 §3.1"],
      "the client_id twice": [{ client_id: ["nobody", "somebody"] }, "RFC 6749 §3.1"],
    };
    for (const [name, [changes, clause]] of Object.entries(wrong))
      it(`shows a page, and redirects nowhere, for ${name} (${clause})`, async () => {
        staysHere(await ask(changes));
      });

    it("does not redirect an error of another parameter either (RFC 9700 §4.11.2)", async () => {
      staysHere(await ask({ redirect_uri: "https://evil.example/", scope: "\u00e4" }));
    });

    it("does not let prompt=none leave, with nobody signed in (RFC 9700 §4.11.2)", async () => {
      const changes = { redirect_uri: "https://evil.example/", prompt: "none" };
      staysHere(await stranger.open(app.authorization(changes)));
    });

    it("takes the address of another client for a stranger's (RFC 6749 §3.1.2.3)", async () => {
      const address = "https://other.example/callback";
      await house.client({ redirect_uris: [address] });
      staysHere(await ask({ redirect_uri: address }));
    });
  });

  describe("addresses that are right", () => {
    it("keep the query that they were registered with (RFC 6749 §3.1.2)", async () => {
      const { location = "" } = await ask({ redirect_uri: "https://rp.example/with?a=b" });
      assert.match(location, /^https:\/\/rp\.example\/with\?a=b&code=/);
    });

    it("keep it in errors too (RFC 6749 §3.1.2)", async () => {
      const { location = "" } = await ask({
        redirect_uri: "https://rp.example/with?a=b",
        prompt: "nonsense",
      });
      assert.match(location, /^https:\/\/rp\.example\/with\?a=b&error=/);
    });

    for (const uri of ["http://127.0.0.1:51004/cb", "http://[::1]:61023/cb"])
      it(`may have any port where a native app listens: ${uri} (RFC 8252 §7.3)`, async () => {
        const { location = "" } = await ask({ redirect_uri: uri }, native);
        assert.ok(location.startsWith(`${uri}?code=`), location);
      });

    it("may have a scheme of the native app's own (RFC 8252 §7.1)", async () => {
      const { location = "" } = await ask({ redirect_uri: "com.example.app:/cb" }, native);
      assert.ok(location.startsWith("com.example.app:/cb?code="), location);
    });

    it("differ in nothing but the port on loopback (RFC 8252 §7.3, RFC 9700 §2.1)", async () => {
      staysHere(await ask({ redirect_uri: "http://127.0.0.1:51004/other" }, native));
    });

    it("keep their port where a web app is on loopback (RFC 9700 §4.1.3)", async () => {
      const local = await house.client({ redirect_uris: ["http://127.0.0.1:4000/cb"] });
      staysHere(await ask({ redirect_uri: "http://127.0.0.1:4001/cb" }, local));
    });

    it("have no other port for a native app's own scheme or another host (RFC 8252 §8.4)", async () => {
      staysHere(await ask({ redirect_uri: "http://localhost:51004/cb" }, native));
      staysHere(await ask({ redirect_uri: "com.example.app://x:1/cb" }, native));
    });
  });

  describe("that go back to the client", () => {
    const wrong: Record<string, [Fields, string, string]> = {
      "no response_type": [{ response_type: undefined }, "invalid_request", "RFC 6749 §3.1.1"],
      "an empty response_type": [{ response_type: "" }, "invalid_request", "RFC 6749 §3.1"],
      "a response_type that nobody knows": [
        { response_type: "ticket" },
        "unsupported_response_type",
        "RFC 6749 §3.1.1",
      ],
      "a response_type that is not offered": [
        { response_type: "token" },
        "unsupported_response_type",
        "RFC 6749 §4.1.2.1",
      ],
      "a response_mode that nobody knows": [
        { response_mode: "pigeon" },
        "unsupported_response_mode",
        "OAuth Multiple Response Types §2.1",
      ],
      "a scope with characters that none has": [
        { scope: 'openid "email"' },
        "invalid_scope",
        "RFC 6749 §3.3",
      ],
      "prompt=none beside another": [
        { prompt: "none login" },
        "invalid_request",
        "OIDC Core §3.1.2.1",
      ],
      "a prompt that nobody knows": [
        { prompt: "nonsense" },
        "invalid_request",
        "OIDC Core §3.1.2.6",
      ],
      "a max_age that is no number": [{ max_age: "soon" }, "invalid_request", "OIDC Core §3.1.2.1"],
      "a max_age below zero": [{ max_age: "-1" }, "invalid_request", "OIDC Core §3.1.2.1"],
      "an id_token_hint that is none": [
        { id_token_hint: "e30.e30.x" },
        "invalid_request",
        "OIDC Core §3.1.2.2",
      ],
      "claims that are no JSON": [{ claims: "{" }, "invalid_request", "OIDC Core §5.5"],
      "claims that are a list": [{ claims: "[]" }, "invalid_request", "OIDC Core §5.5"],
      "claims whose member is no object": [
        { claims: '{"userinfo":1}' },
        "invalid_request",
        "OIDC Core §5.5",
      ],
      "a request_uri of the client's": [
        { request_uri: "https://rp.example/request.jwt" },
        "invalid_request_uri",
        "OIDC Core §6.2, §3.1.2.6",
      ],
      "the parameter registration": [
        { registration: "{}" },
        "registration_not_supported",
        "OIDC Core §7.2.1, §3.1.2.6",
      ],
      "a request object that is no JWT": [
        { request: "nonsense" },
        "invalid_request_object",
        "OIDC Core §3.1.2.6",
      ],
      "no code_challenge": [
        { code_challenge: undefined, code_challenge_method: undefined },
        "invalid_request",
        "RFC 7636 §4.4.1",
      ],
    };
    for (const [name, [changes, error, clause]] of Object.entries(wrong))
      it(`say ${error} for ${name} (${clause})`, async () => {
        goesBack(await ask(changes), error);
      });

    for (const name of ["scope", "state", "nonce", "response_type", "prompt", "code_challenge"])
      it(`say invalid_request for ${name} given twice (RFC 6749 §3.1)`, async () => {
        const value = String(app.parameters()[name] ?? "login");
        goesBack(await ask({ [name]: [value, value] }), "invalid_request");
      });

    it("say invalid_request_object for a request object that is not signed (RFC 9101 §10.1)", async () => {
      const { clientId } = app.credentials;
      const body = Buffer.from(JSON.stringify({ client_id: clientId })).toString("base64url");
      const header = Buffer.from('{"alg":"none"}').toString("base64url");
      goesBack(await ask({ request: `${header}.${body}.` }), "invalid_request_object");
    });

    it("say invalid_request_object for one signed with no key of the client's (RFC 9101 §6.2)", async () => {
      const { clientId } = app.credentials;
      const jwt = await new SignJWT({ client_id: clientId })
        .setProtectedHeader({ alg: "HS256" })
        .setIssuer(clientId)
        .setAudience(house.server.issuer)
        .sign(Buffer.alloc(32));
      goesBack(await ask({ request: jwt }), "invalid_request_object");
    });

    it("say unauthorized_client for a response type that the client did not register (RFC 6749 §4.1.2.1)", async () => {
      const answer = await house.ask(
        hybrid,
        { response_type: "code id_token token" },
        "conformance",
      );
      assert.equal(found(answer).get("error"), "unauthorized_client", answer.location);
    });

    it("say login_required with prompt=none where nobody is signed in (OIDC Core §3.1.2.6)", async () => {
      goesBack(await stranger.open(app.authorization({ prompt: "none" })), "login_required");
    });

    it("say login_required with prompt=none for a sign-in that is too old (OIDC Core §3.1.2.3)", async () => {
      const other = await aUser(house.server);
      const browser = new WebBrowser(house.server);
      await walk(house.server, browser, app.authorization(), other);
      const changes = { prompt: "none", max_age: "60" };
      assert.ok(response(await browser.open(app.authorization(changes)))["code"]);
      await Session.query(house.server.database.knex)
        .where({ userId: other.id })
        .patch({ loggedInAt: new Date(Date.now() - 120_000) });
      goesBack(await browser.open(app.authorization(changes)), "login_required");
    });

    it("say consent_required with prompt=none where somebody has to be asked (OIDC Core §3.1.2.6)", async () => {
      const asking = await house.client({ first_party: false });
      goesBack(await ask({ prompt: "none" }, asking), "consent_required");
    });

    it("say access_denied when the person declines (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.4)", async () => {
      const asking = await house.client({ first_party: false });
      const browser = (await house.browser()).copy();
      let page = await browser.open(asking.authorization());
      while (page.location !== undefined) page = await browser.open(page.location);
      assert.equal(page.page, "consent");
      let answer = await browser.submit(page.url.href, { decision: "deny" });
      while (answer.location?.startsWith(house.server.issuer) === true)
        answer = await browser.open(answer.location);
      goesBack(answer, "access_denied");
    });

    it("come in the fragment where the answer would (OAuth Multiple Response Types §2, §5)", async () => {
      const answer = await house.ask(
        hybrid,
        { response_type: "code id_token", prompt: "nonsense" },
        "conformance",
      );
      const { search, hash } = new URL(answer.location ?? "");
      assert.equal(search, "");
      assert.match(hash, /error=invalid_request/);
    });

    it("come in a form where the client asked for one (OAuth Form Post §2)", async () => {
      const answer = await ask({ response_mode: "form_post", prompt: "nonsense" });
      assert.equal(answer.status, 400);
      assert.match(answer.text, /name="error" value="invalid_request"/);
      assert.match(answer.text, new RegExp(`action="${CALLBACK}"`));
    });

    it("refuse an answer in the query to a response type of tokens (OAuth Multiple Response Types §3)", async () => {
      const answer = await house.ask(
        hybrid,
        { response_type: "code id_token", response_mode: "query" },
        "conformance",
      );
      assert.equal(found(answer).get("error"), "invalid_request");
      assert.equal(found(answer).get("id_token"), null);
    });

    it("demand a nonce where an ID token comes by the browser (OIDC Core §3.2.2.1)", async () => {
      const changes = { response_type: "id_token", nonce: undefined };
      const answer = await house.ask(hybrid, changes, "conformance");
      assert.equal(found(answer).get("error"), "invalid_request");
    });

    it("demand a nonce in the hybrid flow (OIDC Core §3.3.2.11)", async () => {
      const changes = { response_type: "code id_token", nonce: undefined };
      const answer = await house.ask(hybrid, changes, "conformance");
      assert.equal(found(answer).get("error"), "invalid_request");
    });

    it("demand the scope openid where an ID token is asked for (OIDC Core §3.1.2.1)", async () => {
      const changes = { response_type: "code id_token", scope: "email" };
      const answer = await house.ask(hybrid, changes, "conformance");
      assert.equal(found(answer).get("error"), "invalid_request");
    });
  });

  describe("in what they carry", () => {
    const errors: Fields[] = [
      { prompt: "nonsense" },
      { response_type: "ticket" },
      { scope: "\u00e4" },
      { max_age: '\u00fc"\\' },
      { claims: '{"\u00e4":1}' },
      { response_mode: "\u00e4" },
      { code_challenge: "\u00e4".repeat(43) },
    ];

    it("is a description in the characters that one may have (RFC 6749 §4.1.2.1)", async () => {
      for (const changes of errors) {
        const answer = found(await ask(changes));
        assert.match(answer.get("error") ?? "", /^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/);
        assert.match(answer.get("error_description") ?? "x", /^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/);
      }
    });

    it("is iss, the same as in discovery (RFC 9207 §2)", async () => {
      for (const changes of errors)
        assert.equal(found(await ask(changes)).get("iss"), house.server.issuer);
    });

    it("is iss in answers that are right, too (RFC 9207 §2)", async () => {
      assert.equal(response(await ask())["iss"], house.server.issuer);
    });

    it("is iss of an issuer with a path, in the fragment (RFC 9207 §2)", async () => {
      const answer = await house.ask(hybrid, { response_type: "code id_token" }, "conformance");
      assert.equal(found(answer).get("iss"), house.issuers.conformance.issuer);
    });

    for (const [name, state] of Object.entries({
      "reserved characters": "a b+c&d=e%20f#g?h/;,",
      "text beyond ASCII": "\u00fc\u4e2d\u{1F600}",
      markup: '"><script>alert(1)</script>',
      JSON: '{"a":["b"]}',
    })) {
      it(`is the very state, with ${name} (RFC 6749 §4.1.2)`, async () => {
        assert.equal(found(await ask({ state })).get("state"), state);
      });

      it(`is the very state of an error, with ${name} (RFC 6749 §4.1.2.1)`, async () => {
        assert.equal(found(await ask({ state, prompt: "nonsense" })).get("state"), state);
      });
    }

    it("is no state where none was sent (RFC 6749 §4.1.2)", async () => {
      assert.equal(found(await ask({ state: undefined })).has("state"), false);
    });

    it("is no state where an empty one was sent (RFC 6749 §3.1)", async () => {
      assert.equal(found(await ask({ state: "" })).has("state"), false);
    });

    it("is no token and no code beside the error (RFC 6749 §4.1.2.1)", async () => {
      for (const changes of errors)
        for (const name of ["code", "access_token", "id_token"])
          assert.equal(found(await ask(changes)).has(name), false);
    });

    it("is kept by no cache and told to no other site (RFC 9700 §4.2.4)", async () => {
      const answer = await ask();
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
      assert.match(String(answer.headers["referrer-policy"]), /no-referrer|same-origin/);
    });

    it("is no redirect that repeats a form, 307 (RFC 9700 §4.12)", async () => {
      for (const changes of [{}, { prompt: "nonsense" }])
        assert.match(String((await ask(changes)).status), /^30[23]$/);
    });
  });

  describe("that are none", () => {
    it("ignore a parameter that nobody knows (RFC 6749 §3.1, OIDC Core §3.1.2.1)", async () => {
      assert.ok(response(await ask({ x_unknown: "1", resource_hint: "y" }))["code"]);
    });

    it("ignore a parameter that nobody knows even twice (RFC 6749 §3.1)", async () => {
      assert.ok(response(await ask({ x_unknown: ["1", "2"] }))["code"]);
    });

    for (const name of [
      "max_age",
      "prompt",
      "id_token_hint",
      "claims",
      "response_mode",
      "login_hint",
    ])
      it(`take an empty ${name} for none (RFC 6749 §3.1)`, async () => {
        const browser = await house.browser();
        let answer = await browser.open(app.authorization({ [name]: "" }));
        while (answer.location?.startsWith(house.server.issuer) === true)
          answer = await browser.open(answer.location);
        assert.ok(response(answer)["code"], answer.location);
      });

    for (const [name, value] of Object.entries({
      display: "touch",
      ui_locales: "xx-YY de",
      claims_locales: "fr",
      acr_values: "urn:example:gold",
    }))
      it(`are not made of ${name}=${value}, which is a wish (OIDC Core §3.1.2.1)`, async () => {
        assert.ok(response(await ask({ [name]: value }))["code"]);
      });

    it("ignore a scope that nobody knows (OIDC Core §3.1.2.1)", async () => {
      assert.ok(response(await ask({ scope: "openid tea" }))["code"]);
    });

    it("ignore a claim that nobody knows (OIDC Core §5.5.1)", async () => {
      const claims = JSON.stringify({ id_token: { tea: { essential: true } } });
      assert.ok(response(await ask({ claims }))["code"]);
    });

    it("take a request without openid for OAuth's (OIDC Core §3.1.2.1)", async () => {
      const code = response(await ask({ scope: undefined, nonce: undefined }))["code"] ?? "";
      assert.ok(!("id_token" in JSON.parse((await app.redeem(code)).text)));
    });

    it("are answered to GET and to POST (RFC 6749 §3.1, OIDC Core §3.1.2.1)", async () => {
      const posted = await send(house.server, { path: "/auth", fields: app.parameters() });
      const answer = await (await house.browser()).open(posted.location ?? "");
      assert.ok(response(answer)["code"]);
    });

    it("ask somebody again with prompt=login, whoever is signed in (OIDC Core §3.1.2.3)", async () => {
      const browser = (await house.browser()).copy();
      let page = await browser.open(app.authorization({ prompt: "login" }));
      while (page.location !== undefined) page = await browser.open(page.location);
      assert.match(page.page ?? "", /login|password/);
    });

    it("ask somebody again with max_age=0, whoever is signed in (OIDC Core §3.1.2.3)", async () => {
      const browser = (await house.browser()).copy();
      let page = await browser.open(app.authorization({ max_age: "0" }));
      while (page.location !== undefined) page = await browser.open(page.location);
      assert.match(page.page ?? "", /login|password/);
    });

    it("ask for consent again with prompt=consent (OIDC Core §3.1.2.4)", async () => {
      const asking = await house.client({ first_party: false });
      await house.codeOf(asking);
      const browser = await house.browser();
      let page = await browser.open(asking.authorization({ prompt: "consent" }));
      while (page.location !== undefined) page = await browser.open(page.location);
      assert.equal(page.page, "consent");
    });
  });

  it("an error page says what is wrong in characters only (OIDC Core §3.1.2.6)", async () => {
    const answer = await ask({ client_id: "<b>x</b>" });
    assert.ok(!answer.text.includes("<b>x"));
    assert.equal(errorOf(answer), "invalid_client");
  });
});
