import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { importJWK, type CryptoKey, type JWK } from "jose";
import type { Visit } from "../../src/conformance/browser.ts";
import { PLANS } from "../../src/conformance/plans.ts";
import { approvalToken, hookToken } from "../../src/conformance/routes.ts";
import { runPlan, type ModuleResult } from "../../src/conformance/run.ts";
import { createSafeFetch } from "../../src/lib/fetch.ts";
import { createLogger } from "../../src/lib/log.ts";
import { aCertificate, CN } from "../support/certificates.ts";
import { runCli, runProcess } from "../support/cli.ts";
import { aHttpsServer, LOCALHOST_PEM } from "../support/https.ts";
import { aKey, asserted, assertion, proof, type Claims, type Key } from "../support/keys.ts";
import { json, RelyingParty, response, send, WebBrowser } from "../support/rp.ts";
import { aClient, aServer, freePort, type TestServer } from "../support/server.ts";
import { visit } from "./suite-browser.ts";

const SUITE = "https://suite.example:8443";

/** What the suite is told, as far as the tests look at it. */
interface PlanConfig {
  readonly server: { discoveryUrl: string; login_hint: string };
  readonly client: Record<string, unknown>;
  readonly client2: Record<string, unknown>;
  readonly browser: readonly Visit[];
  readonly override: Readonly<Record<string, { browser: readonly Visit[] }>>;
  readonly resource?: { resourceUrl: string };
  readonly mtls?: { cert: string };
}

describe("the conformance kit", function () {
  this.timeout(60_000);
  let server: TestServer;
  let environment: Record<string, string>;

  before(async () => {
    const port = await freePort();
    const settings = {
      PORT: String(port),
      PRESET: "conformance",
      MORE_ISSUERS: `bank=fapi2@http://localhost:${port}/bank`,
      CONFORMANCE_SUITE_URL: `${SUITE}/`,
      ENCRYPTION_KEY: Buffer.from(Array.from({ length: 32 }, (_, n) => n * 7)).toString("base64"),
    };
    server = await aServer(settings);
    environment = { ...settings, DATABASE_URL: server.database.url };
  });
  after(() => server.stop());

  const lintel = (...args: string[]) => runCli(["conformance", ...args], environment);
  async function seeded(...args: string[]): Promise<PlanConfig> {
    const { code, out, err } = await lintel("seed", "--plan", ...args);
    assert.equal(code, 0, err);
    return JSON.parse(out) as PlanConfig;
  }

  async function aRegistered(metadata: Record<string, unknown> = {}): Promise<RelyingParty> {
    const answer = await send(server, {
      path: "/reg",
      body: JSON.stringify({
        client_name: "first conformance client",
        redirect_uris: [`${SUITE}/test/a/lintel/callback`],
        post_logout_redirect_uris: [`${SUITE}/test/a/lintel/post_logout_redirect`],
        ...metadata,
      }),
      headers: { "content-type": "application/json" },
    });
    assert.equal(answer.status, 201, answer.text);
    const { client_id: clientId, client_secret: clientSecret, redirect_uris: uris } = json(answer);
    const [redirectUri = ""] = uris as string[];
    return new RelyingParty(server, {
      clientId: String(clientId),
      clientSecret: String(clientSecret),
      redirectUri,
    });
  }

  describe("lintel conformance seed", () => {
    it("prepares every plan that it lists", async () => {
      const listed = JSON.parse((await lintel("plans", "--json")).out) as {
        plan: string;
        preset: string;
      }[];
      assert.deepEqual(
        listed.map(({ plan }) => plan),
        Object.keys(PLANS),
      );
      const some = listed.filter(({ preset }, index) => preset !== "fapi1" && index % 4 === 0);
      for (const { plan } of some) {
        const config = await seeded(plan);
        const discovery = new URL(config.server.discoveryUrl);
        assert.equal((await send(server, { path: discovery.pathname })).status, 200);
        assert.ok(config.browser.length >= 2);
      }
    });

    it("says which setting is missing for a plan, and which plans there are", async () => {
      const unknown = await lintel("seed", "--plan", "oidcc-nothing");
      assert.equal(unknown.code, 1);
      assert.match(unknown.err, /Known are: oidcc-config-certification-test-plan/);
      const { MORE_ISSUERS: _, ...alone } = environment;
      const args = ["conformance", "seed", "--plan", "fapi2-security-profile-final-test-plan"];
      const missing = await runCli(args, alone);
      assert.match(missing.err, /Set PRESET=fapi2, or add fapi2=fapi2@https/);
    });

    it("makes the clients of a plan that registers none", async () => {
      const config = await seeded("fapi2-message-signing-final-test-plan", "--alias", "mine");
      const { client_id: id, jwks } = config.client;
      assert.ok((jwks as { keys: { d: string }[] }).keys[0]?.d, "the suite signs with it");
      const shown = await runCli(["client", "show", String(id), "--json"], environment);
      const stored = JSON.parse(shown.out) as Record<string, unknown>;
      assert.deepEqual(stored["redirect_uris"], [
        `${SUITE}/test/a/mine/callback`,
        `${SUITE}/test/a/mine/callback?dummy1=lorem&dummy2=ipsum`,
      ]);
      assert.equal(stored["require_signed_request_object"], true);
      assert.doesNotMatch(shown.out, /"d":/, "we do not keep the private half");
      assert.equal(config.resource?.resourceUrl, `${server.issuer}/bank/conformance/accounts`);
    });

    it("makes clients that show certificates, and says how to make those", async () => {
      const plan = ["conformance", "seed", "--plan", "fapi1-advanced-final-test-plan"];
      const bank = {
        ...environment,
        MORE_ISSUERS: `old=fapi1@${server.issuer}/old`,
        TRUSTED_PROXIES: "1",
        MTLS_HEADER: "Client-Cert",
        MTLS_PROXIES: "127.0.0.0/8",
      };
      assert.match((await runCli(plan, bank)).err, /openssl req -x509/);
      const directory = mkdtempSync(join(tmpdir(), "lintel-kit-"));
      const shown = ["first", "second"].flatMap((name) => {
        const { cert, key } = aCertificate({ subject: [[[CN, name]]] });
        writeFileSync(join(directory, `${name}.pem`), cert);
        writeFileSync(join(directory, `${name}.key`), key);
        const file = join(directory, name);
        return ["--certificate", `${file}.pem`, "--key", `${file}.key`];
      });
      const mtls = ["--variant", "client_auth_type=mtls"];
      const { code, out, err } = await runCli([...plan, ...mtls, ...shown], bank);
      const ciba = ["conformance", "seed", "--plan", "fapi-ciba-id1-test-plan"];
      const pinged = await runCli([...ciba, "--variant", "ciba_mode=ping", ...shown], bank);
      rmSync(directory, { recursive: true });
      assert.equal(code, 0, err);
      assert.equal(pinged.code, 0, pinged.err);
      assert.match(pinged.out, /"automated_ciba_approval_url": "[^"]*action=\{action\}/);
      const config = JSON.parse(out) as PlanConfig;
      assert.match(config.mtls?.cert ?? "", /BEGIN CERTIFICATE/);
      const client = ["client", "show", String(config.client["client_id"]), "--json"];
      const stored = JSON.parse((await runCli(client, bank)).out) as Record<string, unknown>;
      assert.equal(stored["token_endpoint_auth_method"], "self_signed_tls_client_auth");
      assert.equal(stored["tls_client_certificate_bound_access_tokens"], true);
      assert.deepEqual(stored["response_types"], ["code id_token", "code"]);
    });

    it("makes clients with secrets where the variant says that they are static", async () => {
      const config = await seeded(
        "oidcc-basic-certification-test-plan",
        "--variant",
        "client_registration=static_client",
      );
      for (const client of [config.client, config.client2])
        assert.match(String(client["client_secret"]), /^ls_/);
    });
  });

  describe("its way through our pages", () => {
    let config: PlanConfig;
    before(async () => {
      config = await seeded("oidcc-basic-certification-test-plan");
    });

    const browserFor = (module: string) => config.override[module]?.browser ?? config.browser;
    const go = (browser: WebBrowser, module: string, path: string) =>
      visit(browser, new URL(server.issuer).origin, browserFor(module), path);

    it("signs in, agrees and comes back with a code, and everything the scopes promise", async () => {
      const app = await aRegistered();
      const browser = new WebBrowser(server);
      const scope = "openid profile email phone address";
      const { at } = await go(browser, "oidcc-server", app.authorization({ scope }));
      const code = new URL(at).searchParams.get("code") ?? "";
      const tokens = json(await app.redeem(code));
      const claims = json(await app.userinfo(String(tokens["access_token"])));
      const expected =
        "sub name given_name middle_name family_name nickname preferred_username profile picture website gender birthdate zoneinfo locale updated_at email email_verified phone_number phone_number_verified address";
      assert.deepEqual(Object.keys(claims).toSorted(), expected.split(" ").toSorted());
    });

    for (const [module, change] of [
      ["oidcc-prompt-login", { prompt: "login" }],
      ["oidcc-max-age-1", { max_age: "0" }],
    ] as const)
      it(`signs in twice, with a picture of the second page: ${module}`, async () => {
        const app = await aRegistered();
        const browser = new WebBrowser(server);
        await go(browser, module, app.authorization());
        const again = await go(browser, module, app.authorization(change));
        assert.match(again.at, /[?&]code=/);
        assert.ok(again.pictures.length > 0);
      });

    for (const [module, change] of [
      ["oidcc-ensure-registered-redirect-uri", { redirect_uri: `${SUITE}/other` }],
      ["oidcc-ensure-redirect-uri-in-authorization-request", { redirect_uri: undefined }],
      [
        "oidcc-redirect-uri-query-added",
        { redirect_uri: `${SUITE}/test/a/lintel/callback?foo=bar` },
      ],
      ["oidcc-redirect-uri-query-mismatch", { redirect_uri: `${SUITE}/test/a/lintel/callback?a` }],
    ] as const)
      it(`has a picture of the error page: ${module}`, async () => {
        const app = await aRegistered();
        const { pictures } = await go(new WebBrowser(server), module, app.authorization(change));
        assert.equal(pictures.length, 1);
      });

    for (const [module, field, id] of [
      ["oidcc-registration-policy-uri", "policy_uri", "client-policy"],
      ["oidcc-registration-tos-uri", "tos_uri", "client-tos"],
    ] as const)
      it(`has a picture of the sign-in page with the link: ${module}`, async () => {
        const app = await aRegistered({ [field]: `${SUITE}/page` });
        const { page, pictures } = await go(new WebBrowser(server), module, app.authorization());
        assert.equal(pictures.length, 1);
        assert.match(page.text, new RegExp(`id="${id}" href="${SUITE}/page"`));
      });

    async function signedIn(app: RelyingParty, browser: WebBrowser): Promise<string> {
      const { at } = await go(browser, "oidcc-server", app.authorization());
      const tokens = json(await app.redeem(new URL(at).searchParams.get("code") ?? ""));
      return String(tokens["id_token"]);
    }
    const logout = (fields: Record<string, string>) =>
      `/session/end?${new URLSearchParams(fields)}`;
    const BACK = `${SUITE}/test/a/lintel/post_logout_redirect`;

    for (const frames of [{}, { frontchannel_logout_uri: `${SUITE}/test/a/lintel/frontchannel` }])
      it(`signs out and comes back with the state${"frontchannel_logout_uri" in frames ? ", when every client was told" : ""}: oidcc-rp-initiated-logout`, async () => {
        const app = await aRegistered(frames);
        const browser = new WebBrowser(server);
        const hint = await signedIn(app, browser);
        const { at } = await go(
          browser,
          "oidcc-rp-initiated-logout",
          logout({ id_token_hint: hint, post_logout_redirect_uri: BACK, state: "s" }),
        );
        assert.equal(at, `${BACK}?state=s`);
        const silent = await browser.open(app.authorization({ prompt: "none" }));
        assert.equal(response(silent)["error"], "login_required");
      });

    for (const [module, fields] of [
      [
        "bad-post-logout-redirect-uri",
        (hint: string) => ({ id_token_hint: hint, post_logout_redirect_uri: `${SUITE}/other` }),
      ],
      [
        "query-added-to-post-logout-redirect-uri",
        (hint: string) => ({ id_token_hint: hint, post_logout_redirect_uri: `${BACK}?foo=bar` }),
      ],
      [
        "modified-id-token-hint",
        (hint: string) => ({
          id_token_hint: `eyJhbGciOiJub25lIn0.${hint.split(".")[1]}.`,
          post_logout_redirect_uri: BACK,
        }),
      ],
      [
        "bad-id-token-hint",
        (hint: string) => ({
          id_token_hint: `${hint.slice(0, -8)}AAAAAAAA`,
          post_logout_redirect_uri: BACK,
        }),
      ],
    ] as const)
      it(`has a picture of the error page: oidcc-rp-initiated-logout-${module}`, async () => {
        const app = await aRegistered();
        const browser = new WebBrowser(server);
        const hint = await signedIn(app, browser);
        const name = `oidcc-rp-initiated-logout-${module}`;
        const { pictures } = await go(browser, name, logout(fields(hint)));
        assert.equal(pictures.length, 1);
      });

    for (const [module, fields] of [
      ["no-id-token-hint", () => ({ post_logout_redirect_uri: BACK, state: "s" })],
      ["no-params", () => ({})],
      ["no-post-logout-redirect-uri", (hint: string) => ({ id_token_hint: hint })],
      ["only-state", () => ({ state: "s" })],
    ] as const)
      it(`has a picture of the page after it: oidcc-rp-initiated-logout-${module}`, async () => {
        const app = await aRegistered();
        const browser = new WebBrowser(server);
        const hint = await signedIn(app, browser);
        const name = `oidcc-rp-initiated-logout-${module}`;
        const { page, pictures } = await go(browser, name, logout(fields(hint)));
        assert.equal(pictures.length, 1);
        assert.equal(page.page, "signed-out");
      });
  });

  describe("its hooks", () => {
    const rotate = (token: string, at: { issuer: string; port: number } = server) =>
      send(at, {
        path: "/conformance/rotate-keys",
        method: "POST",
        headers: token === "" ? {} : { authorization: `Bearer ${token}` },
      });

    it("sign with another key and still publish the one before", async () => {
      const kids = async () =>
        (json(await send(server, { path: "/jwks" }))["keys"] as { kid: string }[]).map(
          ({ kid }) => kid,
        );
      const before = await kids();
      const answer = await rotate(hookToken(server.deps.seal));
      assert.equal(answer.status, 200, answer.text);
      let after = before;
      for (let tries = 0; tries < 100 && after.length === before.length; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        after = await kids();
      }
      assert.ok(after.length > before.length);
      for (const kid of before) assert.ok(after.includes(kid));
    });

    it("answer a CIBA request in place of its person", async () => {
      await seeded("oidcc-basic-certification-test-plan");
      const client = await aClient(server, {
        redirect_uris: [],
        post_logout_redirect_uris: [],
        grant_types: ["urn:openid:params:grant-type:ciba"],
        backchannel_token_delivery_mode: "poll",
      });
      const app = new RelyingParty(server, client);
      for (const [action, error] of [
        ["allow", undefined],
        ["deny", "access_denied"],
      ] as const) {
        const asked = await app.post("/backchannel", {
          scope: "openid",
          login_hint: "conformance",
        });
        const { auth_req_id: id } = json(asked);
        const token = approvalToken(server.deps.seal);
        const query = new URLSearchParams({ auth_req_id: String(id), action, token });
        const answered = await send(server, { path: `/conformance/ciba?${query}` });
        assert.deepEqual(json(answered), { decided: true });
        const grant_type = "urn:openid:params:grant-type:ciba";
        const answer = await app.token({ grant_type, auth_req_id: String(id) });
        assert.equal(json(answer)["error"], error);
        assert.equal(typeof json(answer)["access_token"] === "string", action === "allow");
        for (const wrong of ["wrong", hookToken(server.deps.seal)]) {
          query.set("token", wrong);
          assert.equal((await send(server, { path: `/conformance/ciba?${query}` })).status, 404);
        }
      }
    });

    it("are there for nobody without the token", async () => {
      const { seal } = server.deps;
      for (const token of ["", "wrong", hookToken(seal).slice(1), approvalToken(seal)])
        assert.equal((await rotate(token)).status, 404);
    });

    it("are not there where no suite is expected", async () => {
      const other = await aServer({ PRESET: "conformance" });
      try {
        assert.equal((await rotate(hookToken(other.deps.seal), other)).status, 404);
      } finally {
        await other.stop();
      }
    });
  });

  describe("its API, where the FAPI plans try their tokens", () => {
    const plan = "fapi2-security-profile-final-test-plan";
    const bank = () => ({ ...server, issuer: `${server.issuer}/bank` });
    let config: PlanConfig;
    let key: Key;
    let url: string;
    let token: string;

    /** Gets a token as the suite does, with pushed requests, a client assertion and DPoP. */
    async function authorized(): Promise<string> {
      const { client_id: id, scope } = config.client as Record<string, string>;
      const clientId = id ?? "";
      const redirectUri = `${SUITE}/test/a/lintel/callback`;
      const app = new RelyingParty(bank(), { clientId, clientSecret: "", redirectUri });
      const { issuer } = bank();
      const signed = async () => asserted(await assertion(key, { clientId, audience: issuer }));
      const parameters = { ...app.parameters({ scope, nonce: undefined }), ...(await signed()) };
      const pushed = json(await app.post("/request", parameters, {}));
      const query = new URLSearchParams({
        client_id: clientId,
        request_uri: String(pushed["request_uri"]),
      });
      const { origin } = new URL(server.issuer);
      const browser = new WebBrowser(server);
      const { at } = await visit(browser, origin, config.browser, `/bank/auth?${query}`);
      const dpop = await proof(key, { method: "POST", url: `${issuer}/token` });
      const code = new URL(at).searchParams.get("code") ?? "";
      return String(json(await app.redeem(code, await signed(), { dpop }))["access_token"]);
    }
    const shown = async (claims: Claims = {}, by: Key = key) => ({
      authorization: `DPoP ${token}`,
      dpop: await proof(by, { method: "GET", url, accessToken: token }, claims),
    });
    const ask = (headers: Record<string, string>, path = new URL(url).pathname) =>
      send(bank(), { path, headers });

    before(async () => {
      config = await seeded(plan, "--variant", "openid=plain_oauth");
      const [jwk] = (config.client["jwks"] as { keys: JWK[] }).keys;
      assert.ok(jwk);
      const { kid = "", alg = "", n, e } = jwk;
      const privateKey = (await importJWK(jwk, alg)) as CryptoKey;
      key = { alg, privateKey, jwk: { kty: "RSA", kid, n: n ?? "", e: e ?? "" } };
      url = config.resource?.resourceUrl ?? "";
      token = await authorized();
    });

    it("answers a token that is not for OpenID Connect, and says which call it answers", async () => {
      assert.doesNotMatch(String(config.client["scope"]), /openid/);
      const id = "c770aef3-6784-41f7-8e0e-ff5f97bddb3a";
      const answer = await ask({ ...(await shown()), "x-fapi-interaction-id": id });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.headers["x-fapi-interaction-id"], id);
      assert.ok((await ask(await shown())).headers["x-fapi-interaction-id"]);
    });

    it("wants a new proof of the token's key for this very call (RFC 9449 §4.3, §7.1)", async () => {
      const spent = await shown();
      assert.equal((await ask(spent)).status, 200);
      const wrong: Record<string, string>[] = [
        spent,
        await shown({ htm: "POST" }),
        await shown({ htu: `${server.issuer}/bank/me` }),
        await shown({ ath: "wrong" }),
        await shown({ iat: Math.floor(Date.now() / 1000) - 3_600 }),
        await shown({}, await aKey("PS256")),
        { authorization: `Bearer ${token}` },
        { authorization: `DPoP ${token}` },
      ];
      for (const headers of wrong) {
        const answer = await ask(headers);
        assert.notEqual(answer.status, 200);
        assert.match(String(answer.headers["www-authenticate"]), /DPoP error="/);
      }
    });

    it("takes a token from the header alone (FAPI 2.0 §5.3.4)", async () => {
      const { dpop } = await shown();
      const path = `${new URL(url).pathname}?access_token=${token}`;
      assert.equal((await ask({ dpop }, path)).status, 400);
      const without = await ask({});
      assert.equal(without.status, 401);
      assert.equal(without.headers["www-authenticate"], "DPoP, Bearer");
    });

    it("refuses a token that was revoked", async () => {
      token = await authorized();
      assert.equal((await ask(await shown())).status, 200);
      await server.database.knex("oauth_grants").update({ revoked_at: new Date() });
      assert.equal((await ask(await shown())).status, 401);
    });

    it("is not there where no suite is expected", async () => {
      const other = await aServer({ PRESET: "conformance" });
      try {
        assert.equal((await send(other, { path: "/conformance/accounts" })).status, 404);
      } finally {
        await other.stop();
      }
    });
  });

  describe("its runner, against a suite over https", () => {
    let suite: Awaited<ReturnType<typeof aHttpsServer>>;
    let asked: string[] = [];
    let configurations: unknown[] = [];
    /** What the suite says of each module, poll after poll. */
    let modules: Record<string, { status: string; result?: string }[]> = {};

    before(async () => {
      suite = await aHttpsServer((request, reply) => {
        void text(request).then((body) => {
          const url = new URL(request.url ?? "", "https://suite");
          asked.push(`${request.method} ${url.pathname} ${request.headers.authorization ?? ""}`);
          const [, , kind, id = ""] = url.pathname.split("/");
          const [left, ...more] = modules[id] ?? [];
          if (more.length > 0 && kind === "info") modules[id] = more;
          const answers: Record<string, unknown> = {
            plan: {
              id: "P",
              modules: Object.keys(modules).map((testModule) => ({ testModule, variant: null })),
            },
            runner: { id: url.searchParams.get("test") ?? id },
            info: left,
          };
          if (kind === "plan") configurations.push(JSON.parse(body));
          reply.setHeader("content-type", "application/json");
          reply.writeHead(request.method === "POST" && id === "" ? 201 : 200);
          reply.end(JSON.stringify(answers[kind ?? ""]));
        });
      });
    });
    after(() => suite.close());
    beforeEach(() => {
      asked = [];
      configurations = [];
      modules = {
        "oidcc-server": [{ status: "RUNNING" }, { status: "FINISHED", result: "PASSED" }],
        "oidcc-server-rotate-keys": [
          { status: "CONFIGURED" },
          { status: "RUNNING" },
          { status: "FINISHED", result: "REVIEW" },
        ],
        "oidcc-bad": [{ status: "INTERRUPTED" }],
        "oidcc-slow": [{ status: "WAITING" }],
      };
    });

    const run = (changes: object = {}) =>
      runPlan({
        suiteUrl: suite.origin,
        token: "T",
        seeded: { plan: "a-plan", variant: {}, config: { alias: "a" } },
        fetch: createSafeFetch({
          trustedOrigins: [suite.origin],
          log: createLogger({ level: "silent" }),
        }),
        prepare: async (module) => void asked.push(`prepared ${module}`),
        pollMs: 1,
        moduleMs: 200,
        ...changes,
      });

    it("runs every module, does what one waits for, and says how each ended", async () => {
      const results: ModuleResult[] = [];
      for await (const result of run()) results.push(result);
      assert.deepEqual(
        results.map(({ module, result }) => [module, result]),
        [
          ["oidcc-server", "PASSED"],
          ["oidcc-server-rotate-keys", "REVIEW"],
          ["oidcc-bad", "INTERRUPTED"],
          ["oidcc-slow", "TIMEOUT"],
        ],
      );
      assert.deepEqual(configurations, [{ alias: "a" }]);
      const prepared = asked.indexOf("prepared oidcc-server-rotate-keys");
      const started = asked.indexOf("POST /api/runner/oidcc-server-rotate-keys Bearer T");
      assert.ok(prepared >= 0 && started > prepared);
    });

    it("runs only the modules that were asked for", async () => {
      const results: string[] = [];
      for await (const { module } of run({ only: "bad" })) results.push(module);
      assert.deepEqual(results, ["oidcc-bad"]);
    });

    it("says what is wrong where no suite answers", async () => {
      await assert.rejects(async () => run({ suiteUrl: "https://127.0.0.1:9" }).next(), {
        code: "conformance",
        message: /does not answer at/,
      });
    });

    const PLAN = ["run", "--plan", "oidcc-config-certification-test-plan", "--json"];

    it("does all of it from the command line, trusting the suite by NODE_EXTRA_CA_CERTS", async () => {
      const args = ["conformance", ...PLAN, "--suite-url", suite.origin, "--only", "oidcc-server"];
      const trusting = { ...environment, NODE_EXTRA_CA_CERTS: LOCALHOST_PEM };
      const { code, out, err } = await runProcess([...args, "--token", "T"], trusting);
      assert.equal(code, 0, err);
      assert.deepEqual(
        (JSON.parse(out) as ModuleResult[]).map(({ module, result }) => [module, result]),
        [
          ["oidcc-server", "PASSED"],
          ["oidcc-server-rotate-keys", "REVIEW"],
        ],
      );
      const [config] = configurations as PlanConfig[];
      assert.match(config?.server.discoveryUrl ?? "", /openid-configuration$/);
      assert.ok(asked.every((line) => line.endsWith(" Bearer T")));
    });

    it("fails from the command line where a module does, and where the suite is not trusted", async () => {
      const trusting = { ...environment, NODE_EXTRA_CA_CERTS: LOCALHOST_PEM };
      const args = ["conformance", ...PLAN, "--suite-url", suite.origin, "--only"];
      assert.equal((await runProcess([...args, "bad"], trusting)).code, 1);
      const { code, err } = await runProcess([...args, "bad"], environment);
      assert.equal(code, 1);
      assert.match(err, /does not answer at .*certificate.*NODE_EXTRA_CA_CERTS/);
    });
  });
});
