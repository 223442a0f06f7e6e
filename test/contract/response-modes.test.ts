import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { errorOf, json, RelyingParty, send, walk, WebBrowser } from "../support/rp.ts";
import type { Answer, Fields } from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";

/** OAuth 2.0 Multiple Response Type Encoding Practices and OAuth 2.0 Form Post Response Mode. */
describe("response modes", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let openBrowser: WebBrowser;
  let app: RelyingParty;
  let hybrid: RelyingParty;
  const REDIRECT = "https://rp.example/callback?tenant=1&lang=de";

  before(async () => {
    server = await aServerWith({ open: "conformance" });
    open = issuerAt(server, "open");
    user = await aUser(server);
    browser = new WebBrowser(server);
    openBrowser = new WebBrowser(open);
    app = await register({ redirect_uris: [REDIRECT] });
    const metadata = {
      first_party: true,
      redirect_uris: [REDIRECT],
      response_types: ["code", "id_token", "id_token token", "code id_token", "none"],
      grant_types: ["authorization_code", "implicit"],
    };
    hybrid = new RelyingParty(open, await aClient(server, metadata, "open"));
    await walk(server, browser, app.authorization(), user);
    await walk(open, openBrowser, hybrid.authorization(), user);
  });
  after(() => server.stop());

  const register = async (metadata = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));
  const ask = async (changes: Fields = {}) => browser.open(app.authorization(changes));
  const openAsk = async (changes: Fields = {}) => openBrowser.open(hybrid.authorization(changes));
  const queryOf = ({ location }: Answer) => new URL(location ?? "").searchParams;
  const fragmentOf = ({ location }: Answer) =>
    new URLSearchParams(new URL(location ?? "").hash.slice(1));

  describe("query", () => {
    it("is what a code comes by unless something else is asked for (Multiple Response Types §2.1, §5)", async () => {
      const answer = await ask();
      assert.ok(queryOf(answer).get("code"));
      assert.equal(new URL(answer.location ?? "").hash, "");
    });

    it("is what an error comes by then, too (Multiple Response Types §2.1)", async () => {
      assert.equal(queryOf(await ask({ prompt: "magic" })).get("error"), "invalid_request");
    });

    it("adds to the query that the address has (RFC 6749 §3.1.2)", async () => {
      const query = queryOf(await ask());
      assert.deepEqual([query.get("tenant"), query.get("lang")], ["1", "de"]);
    });

    it("encodes what the client said (RFC 6749 §4.1.2)", async () => {
      const state = "a b&c=d#e%20+ü\"'<>";
      assert.equal(queryOf(await ask({ state })).get("state"), state);
    });

    it("says nothing of a state that nobody said (RFC 6749 §4.1.2)", async () => {
      assert.equal(queryOf(await ask({ state: undefined })).has("state"), false);
    });

    it("says who answers (RFC 9207 §2)", async () => {
      assert.equal(queryOf(await ask()).get("iss"), server.issuer);
    });

    it("redirects so that a browser asks with GET (RFC 9700 §4.12)", async () => {
      assert.equal((await ask()).status, 303);
    });

    it("is kept by no cache (RFC 6749 §4.1.2, RFC 9700 §4.3.1)", async () => {
      assert.match((await ask()).headers["cache-control"] ?? "", /no-store/);
    });
  });

  describe("fragment", () => {
    it("carries no code at the production preset (ASVS §10.4.12)", async () => {
      const answer = await ask({ response_mode: "fragment" });
      assert.doesNotMatch(answer.location ?? "", /code=/);
      assert.equal(fragmentOf(answer).get("error"), "invalid_request");
    });

    it("is not offered at the production preset (OIDC Discovery §3)", async () => {
      const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
      const modes = metadata["response_modes_supported"] as string[];
      assert.deepEqual(
        modes.filter((mode) => mode.startsWith("fragment")),
        [],
      );
    });

    it("carries a code at the conformance preset, when asked to (Multiple Response Types §2.1)", async () => {
      const answer = await openAsk({ response_mode: "fragment" });
      assert.ok(fragmentOf(answer).get("code"));
      assert.equal(queryOf(answer).has("code"), false);
    });

    it("leaves the query of the address as it is (Multiple Response Types §2.1)", async () => {
      const query = queryOf(await openAsk({ response_type: "id_token" }));
      assert.deepEqual([...query.keys()], ["tenant", "lang"]);
    });

    it("carries errors where it would carry tokens (Multiple Response Types §5)", async () => {
      const answer = await openAsk({ response_type: "id_token", prompt: "magic" });
      assert.equal(fragmentOf(answer).get("error"), "invalid_request");
      assert.equal(queryOf(answer).has("error"), false);
    });
  });

  describe("none", () => {
    it("answers in the query, with the state and no credential (Multiple Response Types §4)", async () => {
      const query = queryOf(await openAsk({ response_type: "none", state: "s" }));
      assert.equal(query.get("state"), "s");
      for (const name of ["code", "access_token", "id_token", "error"])
        assert.equal(query.has(name), false, name);
    });
  });

  describe("form_post", () => {
    const NASTY = `"><script>alert('x')</script>&amp;`;
    const post = async (changes: Fields = {}) => ask({ response_mode: "form_post", ...changes });

    it("answers a page (Form Post §2)", async () => {
      const { status, headers } = await post();
      assert.equal(status, 200);
      assert.match(headers["content-type"] ?? "", /^text\/html/);
    });

    it("posts (Form Post §2)", async () => {
      assert.match((await post()).text, /<form method="post"/i);
    });

    it("posts to the address of the client, quoted as HTML (Form Post §2)", async () => {
      const action = /action="([^"]*)"/.exec((await post()).text)?.[1];
      assert.equal(action, REDIRECT.replaceAll("&", "&amp;"));
    });

    it("posts as a form is posted (Form Post §2)", async () => {
      const { text } = await post();
      assert.doesNotMatch(text, /enctype=(?!"application\/x-www-form-urlencoded")/);
    });

    it("posts a code that works (Form Post §2)", async () => {
      const code = fieldOf(await post(), "code");
      assert.equal((await app.redeem(code ?? "")).status, 200);
    });

    for (const [name, value] of [
      ["state", () => "a-state"],
      ["iss", () => server.issuer],
    ] as const)
      it(`posts ${name} beside it (Form Post §2, RFC 9207 §2)`, async () => {
        assert.equal(fieldOf(await post(), name), value());
      });

    it("posts hidden fields only (Form Post §2)", async () => {
      const { text } = await post();
      for (const [input] of text.matchAll(/<input[^>]*>/g)) assert.match(input, /type="hidden"/);
    });

    it("quotes what the client said as HTML (Form Post §4)", async () => {
      const { text } = await post({ state: NASTY });
      assert.ok(!text.includes("<script>alert"));
      assert.equal(fieldOf({ text }, "state"), NASTY);
    });

    it("quotes what the client said in an error, too (Form Post §4)", async () => {
      const { text } = await post({ state: NASTY, prompt: "magic" });
      assert.ok(!text.includes("<script>alert"));
      assert.equal(fieldOf({ text }, "state"), NASTY);
    });

    it("posts errors, too (Form Post §2)", async () => {
      const answer = await post({ prompt: "magic" });
      assert.equal(fieldOf(answer, "error"), "invalid_request");
      assert.equal(answer.location, undefined);
    });

    it("is kept by no cache (Form Post §2)", async () => {
      assert.match((await post()).headers["cache-control"] ?? "", /no-store/);
    });

    it("posts by itself, with a script that the policy knows (Form Post §2)", async () => {
      const { text, headers } = await post();
      const [, script = ""] = /<script>([\s\S]*?)<\/script>/.exec(text) ?? [];
      const digest = createHash("sha256").update(script).digest("base64");
      assert.ok(String(headers["content-security-policy"]).includes(`'sha256-${digest}'`));
    });

    it("lets a person post it where scripts are off (Form Post §2)", async () => {
      const [, without = ""] = /<noscript>([\s\S]*?)<\/noscript>/.exec((await post()).text) ?? [];
      assert.match(without, /<button[^>]*type="submit"/);
    });

    it("may post to the client, as no policy of the page forbids (Form Post §2)", async () => {
      const policy = String((await post()).headers["content-security-policy"]);
      assert.doesNotMatch(policy, /form-action/);
    });

    it("is shown in no frame (RFC 9700 §4.16)", async () => {
      const { headers } = await post();
      assert.match(String(headers["content-security-policy"]), /frame-ancestors 'none'/);
      assert.equal(headers["x-frame-options"], "DENY");
    });

    for (const type of ["id_token", "code id_token"])
      it(`posts ${type} at the conformance preset (Form Post §2)`, async () => {
        const answer = await openAsk({ response_mode: "form_post", response_type: type });
        for (const name of type.split(" ")) assert.ok(fieldOf(answer, name), name);
      });
  });

  it("that nobody knows are refused (Multiple Response Types §2.1)", async () => {
    assert.equal(
      errorOf(await ask({ response_mode: "carrier_pigeon" })),
      "unsupported_response_mode",
    );
  });

  it("that the client did not register are refused (OIDC Registration §2)", async () => {
    const rp = await register({ response_modes: ["query"] });
    const answer = await browser.open(rp.authorization({ response_mode: "form_post" }));
    assert.equal(fieldOf(answer, "error"), "invalid_request");
    assert.equal(fieldOf(answer, "code"), undefined);
  });

  /** The value of a field of the form, as a browser reads it. */
  function fieldOf({ text }: Pick<Answer, "text">, name: string): string | undefined {
    const value = new RegExp(`name="${name}" value="([^"]*)"`).exec(text)?.[1];
    return value
      ?.replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">")
      .replaceAll("&quot;", '"')
      .replaceAll("&#39;", "'")
      .replaceAll("&amp;", "&");
  }
});
