import { decodeJwt } from "jose";
import assert from "node:assert/strict";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import {
  challengeOf,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  VERIFIER,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
  type Person,
} from "../support/rp.ts";

describe("authorization requests", () => {
  let server: TestServer;
  let user: Person;
  let web: RelyingParty;
  let native: RelyingParty;
  /** Signed in, and asked nothing by `web`. */
  let browser: WebBrowser;

  before(async () => {
    server = await aServer();
    user = await aUser(server);
    web = new RelyingParty(
      server,
      await aClient(server, {
        first_party: true,
        redirect_uris: ["https://rp.example/callback", "https://rp.example/Other/%63?a=b"],
      }),
    );
    native = new RelyingParty(
      server,
      await aClient(server, {
        first_party: true,
        application_type: "native",
        token_endpoint_auth_method: "none",
        redirect_uris: [
          "http://127.0.0.1/callback",
          "http://[::1]/callback",
          "com.example.app:/callback",
        ],
      }),
    );
    browser = new WebBrowser(server);
    await walk(server, browser, web.authorization(), user);
  });
  after(async () => {
    await server?.stop();
  });

  const ask = (changes: Fields = {}, app = web) => browser.open(app.authorization(changes));

  /** A page of ours that leads nowhere: the address to go to cannot be trusted. */
  function assertStays(answer: Answer, why: string): void {
    assert.equal(answer.status, 400, why);
    assert.equal(answer.location, undefined, why);
    assert.match(String(answer.headers["content-type"]), /^text\/html/, why);
    assert.equal(answer.page, "error", why);
    assert.doesNotMatch(answer.text, /http-equiv="?refresh/i, why);
  }

  describe("T-01: redirect URIs are compared character by character", () => {
    it("lets the registered ones pass", async () => {
      for (const uri of ["https://rp.example/callback", "https://rp.example/Other/%63?a=b"]) {
        const { location = "" } = await ask({ redirect_uri: uri });
        assert.ok(location.startsWith(uri), location);
      }
    });

    const variants = [
      "https://rp.example/callback/",
      "https://rp.example/callback?",
      "https://rp.example/callback?x=1",
      "https://rp.example/callback#",
      "https://rp.example/callback#x",
      "https://rp.example/Callback",
      "https://RP.example/callback",
      "HTTPS://rp.example/callback",
      "https://rp.example:443/callback",
      "https://rp.example:8443/callback",
      "http://rp.example/callback",
      "https://rp.example/./callback",
      "https://rp.example/x/../callback",
      "https://rp.example//callback",
      "https://rp.example/%63allback",
      "https://rp.example/callback%00",
      "https://rp.example/callback%20",
      "https://rp.example/callback ",
      " https://rp.example/callback",
      "https://rp.example/callback\t",
      "https://rp.example/call\nback",
      "https://rp.example/callback\u0000",
      "https://rp.example/callback;x",
      "https://rp.example/callback/../../evil",
      "https://rp.example\\callback",
      "https:\\\\rp.example\\callback",
      "https:/rp.example/callback",
      "https:rp.example/callback",
      "//rp.example/callback",
      "/callback",
      "callback",
      "rp.example/callback",
      "https://rp.example.evil.example/callback",
      "https://evil.example/callback",
      "https://rp.example@evil.example/callback",
      "https://user@rp.example/callback",
      "https://evil.example/https://rp.example/callback",
      "https://rp.example./callback",
      "https://rp\u3002example/callback",
      "https://rp.example\u2024/callback",
      "https://xrp.example/callback",
      "https://rp.example/Other/c?a=b",
      "https://rp.example/Other/%63",
      "https://rp.example/Other/%63?a=b&c=d",
      "https://rp.example/Other/%63?A=b",
      "https://rp.example/*",
      "javascript:alert(1)//rp.example/callback",
      "data:text/html,https://rp.example/callback",
      "",
    ];
    for (const uri of variants) {
      it(`shows a page and redirects nowhere for ${JSON.stringify(uri)}`, async () => {
        assertStays(await ask({ redirect_uri: uri }), uri);
        const pushed = await web.post("/request", web.parameters({ redirect_uri: uri }));
        assert.equal(pushed.status, 400, "nor when it is pushed (RFC 9126 §2.3)");
      });
    }

    for (const uri of [
      "http://127.0.0.1:51234/callback",
      "http://127.0.0.1:1/callback",
      "http://[::1]:51234/callback",
      "com.example.app:/callback",
    ]) {
      it(`lets a native app listen on any port: ${uri} (RFC 8252 §7.3)`, async () => {
        const answer = await walk(
          server,
          browser,
          native.authorization({ redirect_uri: uri }),
          user,
        );
        assert.ok(answer.location?.startsWith(`${uri}?code=`), answer.text);
      });
    }

    for (const uri of [
      "http://127.0.0.1:51234/other",
      "http://127.0.0.1:51234/callback/",
      "http://127.0.0.1:51234/callback?x",
      "http://127.0.0.2:51234/callback",
      "http://localhost:51234/callback",
      "https://127.0.0.1:51234/callback",
      "http://127.0.0.1.evil.example:51234/callback",
      "http://user@127.0.0.1:51234/callback",
      "com.example.app:/callback/",
      "com.example.app://callback",
      "com.example.app:/other",
      "COM.example.app:/callback",
      "com.example.app2:/callback",
    ]) {
      it(`but nothing else may vary for a native app: ${uri}`, async () => {
        assertStays(await ask({ redirect_uri: uri }, native), uri);
      });
    }

    it("gives a web app no other port on loopback", async () => {
      const local = new RelyingParty(
        server,
        await aClient(server, {
          redirect_uris: ["http://127.0.0.1:4000/callback"],
          first_party: true,
        }),
      );
      assert.ok((await ask({}, local)).location);
      const answer = await ask({ redirect_uri: "http://127.0.0.1:4001/callback" }, local);
      assertStays(answer, "another port");
    });
  });

  describe("T-02: no error is redirected before the address is trusted", () => {
    const evil = "https://evil.example/callback";
    for (const [name, changes] of Object.entries<Fields>({
      "an unknown client": { client_id: "nobody" },
      "no client": { client_id: undefined },
      "an empty client": { client_id: "" },
      "a foreign address and no PKCE": { redirect_uri: evil, code_challenge: undefined },
      "a foreign address and an unknown response type": { redirect_uri: evil, response_type: "x" },
      "a foreign address and no response type": { redirect_uri: evil, response_type: undefined },
      "a foreign address and an unknown response mode": { redirect_uri: evil, response_mode: "x" },
      "a foreign address and a bad scope": { redirect_uri: evil, scope: "nonsense" },
      "a foreign address and a request object": { redirect_uri: evil, request: "e30.e30." },
      "a foreign address and a bad prompt": { redirect_uri: evil, prompt: "none login" },
      "a foreign address and a bad hint": { redirect_uri: evil, id_token_hint: "x" },
      "a foreign address and a bad max_age": { redirect_uri: evil, max_age: "-1" },
      "a foreign address, twice": { redirect_uri: [evil, evil] },
      "the right address and a foreign one": {
        redirect_uri: ["https://rp.example/callback", evil],
      },
    })) {
      it(`stays here for ${name}`, async () => {
        assertStays(await ask(changes), name);
        assertStays(
          await new WebBrowser(server).open(web.authorization(changes)),
          `${name}, nobody`,
        );
      });
    }

    it("shows what it was sent as text and nothing else", async () => {
      const payload = '"><script>alert(1)</script>';
      for (const name of ["state", "client_id", "redirect_uri", "scope", "response_type"]) {
        const changes = { redirect_uri: evil, client_id: "nobody", [name]: payload };
        const answer = await ask(changes);
        assert.equal(answer.status, 400);
        assert.ok(!answer.text.includes("<script>alert"), name);
      }
    });
  });

  describe("T-03: prompt=none", () => {
    it("skips no check of the address, with or without a session", async () => {
      for (const visitor of [browser, new WebBrowser(server)]) {
        const answer = await visitor.open(
          web.authorization({ prompt: "none", redirect_uri: "https://evil.example/" }),
        );
        assertStays(answer, "prompt=none");
      }
    });

    it("no script of a page knows where redirects go", async () => {
      const page = await walk(server, new WebBrowser(server), web.authorization());
      const [, script = ""] = /<script[^>]*src="([^"]+)"/.exec(page.text) ?? [];
      const { text, status } = await send(server, { path: script });
      assert.equal(status, 200);
      assert.doesNotMatch(
        text,
        /redirect_uri|location\.(href|assign|replace)\s*[=(]\s*[^'"]*(search|query|param)/,
      );
    });
  });

  describe("T-04: PKCE (RFC 7636, RFC 9700 §2.1.1)", () => {
    const challenges: Record<string, Fields> = {
      "none at all": { code_challenge: undefined, code_challenge_method: undefined },
      "a method without a challenge": { code_challenge: undefined },
      "an empty one": { code_challenge: "" },
      "one without a method, which means plain": { code_challenge_method: undefined },
      plain: { code_challenge: VERIFIER, code_challenge_method: "plain" },
      "an unknown method": { code_challenge_method: "S512" },
      "a method in lower case": { code_challenge_method: "s256" },
      "one of 42 characters": { code_challenge: "a".repeat(42) },
      "one of 129 characters": { code_challenge: "a".repeat(129) },
      "one with a character that is not allowed": { code_challenge: `${"a".repeat(42)}+` },
    };
    for (const [name, changes] of Object.entries(challenges)) {
      it(`issues no code for a challenge that is ${name}`, async () => {
        for (const app of [web, native]) {
          const answer = await ask(changes, app);
          assert.equal(response(answer)["error"], "invalid_request");
          assert.equal(response(answer)["code"], undefined);
        }
      });
    }

    const verifiers: Record<string, string | undefined> = {
      "is missing": undefined,
      "is empty": "",
      "is another": "b".repeat(43),
      "is the challenge": challengeOf(VERIFIER),
      "has 42 characters": "a".repeat(42),
      "has 129 characters": "a".repeat(129),
      "has a character that is not allowed": `${"a".repeat(42)}+`,
      "differs in one character": `${VERIFIER.slice(0, -1)}${VERIFIER.endsWith("A") ? "E" : "A"}`,
      "differs in case": VERIFIER.toUpperCase(),
      "has a space behind": `${VERIFIER} `,
    };
    for (const [name, verifier] of Object.entries(verifiers)) {
      it(`redeems no code with a verifier that ${name}`, async () => {
        const { code = "" } = response(await ask());
        const answer = await web.redeem(code, { code_verifier: verifier });
        assert.equal(answer.status, 400);
        assert.match(errorOf(answer) ?? "", /^invalid_(grant|request)$/);
      });
    }

    it("asks public and confidential clients for the verifier alike", async () => {
      for (const app of [web, native]) {
        const answer = await walk(server, browser, app.authorization(), user);
        const { code = "" } = response(answer);
        assert.equal((await app.redeem(code, { code_verifier: undefined })).status, 400);
        assert.equal((await app.redeem(code)).status, 200);
      }
    });

    it("a pushed request cannot do without either", async () => {
      for (const changes of Object.values(challenges)) {
        const answer = await web.post("/request", web.parameters(changes));
        assert.equal(errorOf(answer), "invalid_request");
      }
    });
  });

  describe("T-05: iss, byte for byte (RFC 9207 §2)", () => {
    it("is in every answer by query", async () => {
      for (const changes of [
        {},
        { code_challenge: undefined },
        { response_type: "code token" },
        { max_age: "x" },
        { prompt: "none login" },
        { id_token_hint: "x" },
      ] satisfies Fields[]) {
        const { location = "" } = await ask(changes);
        assert.match(location, new RegExp(`[?&#]iss=${encodeURIComponent(server.issuer)}(&|$)`));
      }
      const { location = "" } = await new WebBrowser(server).open(
        web.authorization({ prompt: "none" }),
      );
      assert.match(location, /error=login_required.*iss=/);
    });

    it("is in every answer by form_post, and what is shown there is escaped", async () => {
      const state = '"><script>alert(1)</script>';
      for (const changes of [{}, { code_challenge: undefined }] satisfies Fields[]) {
        const answer = await ask({ response_mode: "form_post", state, ...changes });
        assert.ok(answer.text.includes(`name="iss" value="${server.issuer}"`), answer.text);
        assert.ok(!answer.text.includes("<script>alert"));
      }
    });
  });

  describe("T-07: parameter pollution", () => {
    for (const name of ["client_id", "redirect_uri"]) {
      it(`shows a page for ${name} given twice, even alike`, async () => {
        const value = String(web.parameters()[name]);
        assertStays(await ask({ [name]: [value, value] }), name);
        assertStays(await ask({ [name]: [value, "other"] }), name);
      });
    }

    for (const name of ["scope", "state", "response_type", "code_challenge", "nonce", "prompt"]) {
      it(`issues no code for ${name} given twice`, async () => {
        const answer = await ask({ [name]: ["openid", "openid"] });
        assert.equal(errorOf(answer), "invalid_request");
        assert.doesNotMatch(answer.location ?? "", /code=/);
      });
    }

    it("never takes brackets for lists or objects", async () => {
      assertStays(
        await ask({ client_id: undefined, "client_id[]": web.credentials.clientId }),
        "[]",
      );
      assertStays(
        await ask({ redirect_uri: undefined, "redirect_uri[0]": "https://rp.example/callback" }),
        "[0]",
      );
      const answer = await ask({
        "scope[x]": "email",
        __proto__: "x",
        "constructor[prototype]": "x",
      });
      assert.ok(response(answer)["code"], "what nobody knows is ignored (RFC 6749 §3.1)");
    });

    it("refuses a POST whose parameters are in its address as well", async () => {
      const fields = web.parameters();
      const answer = await browser.submit("/auth?redirect_uri=https://evil.example/", fields);
      assertStays(answer, "query and body");
      const { code = "" } = response(await ask());
      const grant = await send(server, {
        path: `/token?code=${code}`,
        fields: {
          grant_type: "authorization_code",
          code,
          code_verifier: VERIFIER,
          redirect_uri: web.credentials.redirectUri,
          client_id: web.credentials.clientId,
          client_secret: web.credentials.clientSecret,
        },
      });
      assert.equal(grant.status, 400);
    });

    it("refuses token requests with a parameter twice", async () => {
      const { code = "" } = response(await ask());
      const verifiers = [VERIFIER, VERIFIER];
      assert.equal((await web.redeem(code, { code_verifier: verifiers })).status, 400);
      assert.equal((await web.redeem(code, { code: [code, code] })).status, 400);
      assert.equal(
        (await web.redeem(code, { grant_type: ["authorization_code", "refresh_token"] })).status,
        400,
      );
      assert.equal((await web.redeem(code)).status, 200);
    });
  });

  describe("T-08: oversized parameters", () => {
    const long = "x".repeat(4_001);
    for (const name of ["state", "nonce", "scope", "ui_locales", "id_token_hint", "x-unknown"]) {
      it(`refuses ${name} with more than 4,000 characters`, async () => {
        assertStays(await ask({ [name]: long }), name);
      });
    }

    it("refuses a login_hint with more than 255 characters", async () => {
      assertStays(await ask({ login_hint: "x".repeat(256) }), "login_hint");
      assert.ok(response(await ask({ login_hint: "x".repeat(255) }))["code"]);
    });

    it("accepts a state of 4,000 characters, unchanged", async () => {
      assert.equal(response(await ask({ state: "x".repeat(4_000) }))["state"], "x".repeat(4_000));
    });

    it("refuses a request line of more than 8 kB", async () => {
      const many = Object.fromEntries(["a", "b", "c"].map((name) => [name, "x".repeat(3_000)]));
      assertStays(await ask(many), "request line");
      const path = await browser.open(`/${"x".repeat(8_100)}`);
      assert.equal(path.status, 400);
    });

    it("refuses the same in a body that is pushed (RFC 9126)", async () => {
      for (const changes of [{ state: long }, { login_hint: "x".repeat(256) }]) {
        const pushed = await web.post("/request", web.parameters(changes));
        assert.equal(errorOf(pushed), "invalid_request");
      }
    });
  });

  describe("T-09: response modes", () => {
    for (const mode of ["fragment", "fragment.jwt", "web_message", "x", "QUERY"]) {
      it(`${mode} brings no code`, async () => {
        const answer = await ask({ response_mode: mode });
        const [, signed] = /[#&]response=([^&]+)/.exec(answer.location ?? "") ?? [];
        const said = signed === undefined ? "" : JSON.stringify(decodeJwt(signed));
        assert.match(`${answer.location} ${answer.text} ${said}`, /error=|error-code|"error":/);
        assert.doesNotMatch(said, /"code":/);
        assert.doesNotMatch(answer.location ?? "", /[?#&]code=/);
      });
    }

    it("web_message cannot be had: every page refuses to be framed", async () => {
      const answer = await ask({ response_mode: "web_message" });
      assert.equal(answer.headers["x-frame-options"], "DENY");
    });
  });

  describe("T-14: no address of ours leads to an address of somebody else’s choice", () => {
    const targets = [
      "//evil.example",
      "/\\evil.example",
      "/%2f%2fevil.example",
      "https:evil.example",
      "https://evil.example",
      "\t//evil.example",
      "@evil.example",
      ".evil.example",
      "javascript:alert(1)",
    ];

    for (const target of targets) {
      it(`not ${JSON.stringify(target)}, under any name that is used for it`, async () => {
        const query = new URLSearchParams(
          [
            "return_to",
            "returnTo",
            "redirect",
            "redirect_uri",
            "next",
            "url",
            "continue",
            "RelayState",
          ].map((name): [string, string] => [name, target]),
        );
        const signIn = (await new WebBrowser(server).open(web.authorization())).location ?? "";
        for (const path of [
          "/",
          "/session/end",
          "/session/end/success",
          "/nowhere",
          signIn,
          "/setup/x",
        ]) {
          const answer = await browser.open(`${path}?${query}`);
          assert.doesNotMatch(answer.location ?? "", /evil|javascript/);
        }
        const referred = await browser.open("/nowhere", {
          referer: `https://evil.example/${target}`,
        });
        assert.equal(referred.location, undefined);
      });

      it(`not ${JSON.stringify(target)} after signing out`, async () => {
        const { clientId } = web.credentials;
        const named = new URLSearchParams({
          client_id: clientId,
          post_logout_redirect_uri: target,
        });
        assertStays(await browser.open(`/session/end?${named}`), target);
        const visitor = new WebBrowser(server);
        const nameless = await visitor.open(
          `/session/end?${new URLSearchParams({ post_logout_redirect_uri: target })}`,
        );
        assert.equal(nameless.status, 200, "without a client it is ignored");
        const [, xsrf = ""] = /name="xsrf" value="([^"]+)"/.exec(nameless.text) ?? [];
        const done = await visitor.submit("/session/end/confirm", { xsrf, logout: "yes" });
        assert.equal(done.location, `${server.issuer}/session/end/success`);
      });
    }

    it("a path that looks like a host is not linked to", async () => {
      for (const path of [
        "//evil.example",
        "//evil.example/x",
        "/%5Cevil.example",
        "///evil.example",
      ]) {
        const answer = await browser.open(`${server.issuer}${path}`);
        assert.ok(answer.status >= 400);
        assert.doesNotMatch(answer.text, /(href|action|src)="(https?:)?[/\\]{2,}evil/, path);
        assert.equal(answer.location, undefined);
      }
    });
  });

  it("T-34: keeps tokens out of addresses, and answers out of caches", async () => {
    const authorization = await ask();
    const answer = await web.redeem(response(authorization)["code"] ?? "");
    const { access_token: token } = json(answer);
    const login = await walk(server, new WebBrowser(server), web.authorization());
    const introspection = await web.post("/token/introspection", { token: String(token) });
    const userinfo = await web.userinfo(String(token));
    const logout = await browser.open("/session/end");
    for (const response of [authorization, answer, login, introspection, userinfo, logout]) {
      assert.match(String(response.headers["cache-control"]), /no-store/, response.url.pathname);
      assert.equal(response.headers["referrer-policy"], "same-origin");
    }
    const inAddress = await send(server, { path: `/me?access_token=${String(token)}` });
    assert.equal(inAddress.status, 400);
    assert.doesNotMatch(server.logged(), new RegExp(String(token)));
  });
});
