import assert from "node:assert/strict";
import { aClient, aServer, aServerWith, type TestServer } from "../support/server.ts";
import { ask, authorizationUrl, beginSignIn, submit, type Answer } from "../support/raw.ts";

const BASE =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const html = { Accept: "text/html" };

/** What every answer says, whatever it is about (T-46, T-47). */
function checkCommon({ headers }: Answer, path: string): void {
  assert.equal(headers["cross-origin-resource-policy"], "same-origin", path);
  assert.equal(headers["x-content-type-options"], "nosniff", path);
  assert.equal(headers["x-frame-options"], "DENY", path);
  assert.equal(headers["referrer-policy"], "same-origin", path);
  assert.match(String(headers["x-correlation-id"]), /^[0-9A-HJKMNP-TV-Z]{10}$/, path);
  assert.equal(headers["x-powered-by"], undefined, path);
  assert.equal(headers["server"], undefined, path);
}

function checkHeaders(answer: Answer, path: string, isProtocol: boolean): void {
  const { headers } = answer;
  checkCommon(answer, path);
  assert.equal(
    headers["content-security-policy"],
    isProtocol ? BASE : `${BASE}; form-action 'self'`,
    path,
  );
  assert.equal(
    headers["cross-origin-opener-policy"],
    isProtocol ? "same-origin-allow-popups" : "same-origin",
    path,
  );
  assert.equal(headers["x-robots-tag"], "noindex", path);
  assert.match(
    String(headers["permissions-policy"]),
    /publickey-credentials-get=\(self\).*camera=\(\)/,
    path,
  );
}

describe("headers of every answer (T-46, T-47)", () => {
  let server: TestServer;
  let client: Awaited<ReturnType<typeof aClient>>;

  before(async () => {
    server = await aServer();
    client = await aClient(server);
  });
  after(() => server.stop());

  const at = (path: string) => `${server.issuer}${path}`;

  const ROUTES: readonly [method: string, path: string, status: number, isProtocol: boolean][] = [
    ["GET", "/", 200, false],
    ["HEAD", "/", 200, false],
    ["POST", "/", 405, false],
    ["GET", "/healthz", 200, false],
    ["GET", "/readyz", 200, false],
    ["GET", "/.well-known/openid-configuration", 200, false],
    ["GET", "/jwks", 200, false],
    ["GET", "/nowhere", 404, false],
    ["GET", "/%", 404, false],
    ["GET", "/authors", 404, false],
    ["GET", "/sessions", 404, false],
    ["GET", "/setup/never-issued", 410, false],
    ["GET", "/dev/mail", 200, false],
    ["GET", "/assets/000000000000/app.css", 404, false],
    ["GET", "/auth", 400, true],
    ["GET", "/auth/never-was", 400, true],
    ["GET", "/interaction/never-was", 400, true],
    ["POST", "/interaction/never-was", 400, true],
    ["GET", "/interaction/never-was/consent", 400, true],
    ["POST", "/session/end/confirm", 400, true],
  ];
  for (const [method, path, status, isProtocol] of ROUTES) {
    it(`are there: ${method} ${path} → ${status}`, async () => {
      const answer = await ask(at(path), { method, headers: html });
      assert.equal(answer.status, status, answer.body);
      checkHeaders(answer, path, isProtocol);
    });
  }

  for (const [method, path, status] of [
    ["POST", "/token", 400],
    ["POST", "/token/introspection", 400],
    ["POST", "/token/revocation", 400],
    ["POST", "/request", 400],
    ["GET", "/token", 404],
    ["GET", "/me", 401],
  ] as const) {
    it(`let a browser do nothing with what programs get: ${method} ${path} → ${status}`, async () => {
      const answer = await ask(at(path), { method, headers: html });
      assert.equal(answer.status, status, answer.body);
      assert.match(String(answer.headers["content-type"]), /^application\/json/);
      checkCommon(answer, path);
      assert.equal(
        answer.headers["content-security-policy"],
        "default-src 'none'; frame-ancestors 'none'",
      );
    });
  }

  it("are there on the pages and the redirects of a sign-in, which have no form-action (ux.md D5)", async () => {
    const begun = await ask(authorizationUrl(server.issuer, client));
    assert.equal(begun.status, 303);
    checkHeaders(begun, "/auth", true);
    const { address, cookies } = await beginSignIn(server.issuer, client);
    const login = await ask(address, { headers: { Cookie: cookies, ...html } });
    assert.equal(login.status, 200);
    checkHeaders(login, "login", true);
    const named = await submit(address, { username: "ada@example.com" }, { Cookie: cookies });
    assert.equal(named.status, 303, "after a POST comes a GET (RFC 9700 §4.12)");
    checkHeaders(named, "login", true);
    const password = await ask(at(named.headers.location ?? ""), { headers: { Cookie: cookies } });
    assert.equal(password.status, 200);
    checkHeaders(password, "password", true);
  });

  it("name the hash of the one script the engine writes, where there is nobody to sign out", async () => {
    const answer = await ask(at("/session/end"), { headers: html });
    assert.equal(answer.status, 200);
    const policy = String(answer.headers["content-security-policy"]);
    assert.match(policy, /script-src 'self' 'sha256-[\w+/]{43}=';/);
    assert.doesNotMatch(policy, /unsafe|form-action/);
    assert.match(policy, /^default-src 'none';.*frame-ancestors 'none'/);
  });

  it("let nobody keep a page, and everybody keep keys, metadata and assets", async () => {
    for (const path of ["/", "/nowhere", "/auth", "/interaction/never-was", "/healthz", "/readyz"])
      assert.equal(
        (await ask(at(path), { headers: html })).headers["cache-control"],
        "no-store",
        path,
      );
    for (const path of ["/jwks", "/.well-known/openid-configuration"])
      assert.equal((await ask(at(path))).headers["cache-control"], "public, max-age=300", path);

    const page = await ask(at("/"), { headers: html });
    const assets = [...page.body.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(
      ([, path = ""]) => path,
    );
    assert.equal(assets.length, 3);
    for (const path of assets) {
      const asset = await ask(at(path));
      assert.equal(asset.status, 200);
      assert.match(
        asset.headers["content-type"] ?? "",
        /^(?:text\/css|text\/javascript|image\/svg\+xml)/,
      );
      assert.equal(asset.headers["cache-control"], "public, max-age=31536000, immutable");
      checkHeaders(asset, path, false);
      assert.equal(asset.headers["content-encoding"], undefined);
      const packed = await fetch(at(path), { headers: { "Accept-Encoding": "br" } });
      assert.equal(packed.headers.get("content-encoding"), "br");
      assert.equal(packed.headers.get("vary"), "Accept-Encoding");
      assert.equal(await packed.text(), asset.body);
    }
  });

  it("say nothing of HSTS where the issuer is not https", async () => {
    const answer = await ask(at("/"));
    assert.equal(answer.headers["strict-transport-security"], undefined);
  });

  it("say HSTS for two years where it is, on every answer", async () => {
    const secure = await aServer({ ISSUER: "https://id.example", HOST: "localhost" });
    try {
      const origin = `http://localhost:${secure.port}`;
      for (const path of ["/", "/nowhere", "/jwks", "/auth", "/healthz"]) {
        const answer = await ask(`${origin}${path}`, { headers: { Host: "id.example" } });
        assert.equal(
          answer.headers["strict-transport-security"],
          "max-age=63072000; includeSubDomains",
          path,
        );
      }
      const misdirected = await ask(`${origin}/`, { headers: { Host: "evil.example" } });
      assert.equal(misdirected.status, 421);
      assert.ok(misdirected.headers["strict-transport-security"]);
    } finally {
      await secure.stop();
    }
  });

  it("bind cookies to https, to scripts that never see them, and to this site (T-33)", async () => {
    const secure = await aServer({ ISSUER: "https://id.example", HOST: "localhost" });
    try {
      const own = await aClient(secure);
      const address = authorizationUrl(`http://localhost:${secure.port}`, own);
      const answer = await ask(address, { headers: { Host: "id.example" } });
      assert.equal(answer.status, 303, answer.body);
      const cookies = answer.headers["set-cookie"] ?? [];
      assert.ok(cookies.length >= 2);
      for (const cookie of cookies) {
        assert.match(cookie, /^__(?:Host|Secure)-lintel_/);
        assert.match(cookie, /; secure/);
        assert.match(cookie, /; httponly/);
        assert.match(cookie, /; samesite=lax/);
      }
    } finally {
      await secure.stop();
    }
  });
});

describe("headers of an issuer whose path is like an endpoint's (T-46, T-47)", () => {
  let server: TestServer;
  before(async () => {
    server = await aServerWith({ conformance: "conformance", open: "production" });
  });
  after(() => server.stop());

  it("are those of pages at its pages", async () => {
    for (const path of ["/conformance/auth", "/conformance/interaction/never-was"])
      checkHeaders(await ask(server.issuer + path, { headers: html }), path, true);
    const path = "/conformance/nowhere";
    checkHeaders(await ask(server.issuer + path, { headers: html }), path, false);
  });

  it("are those of no page where programs ask", async () => {
    for (const path of ["/token", "/conformance/token", "/open/token"]) {
      const { headers } = await ask(server.issuer + path, { headers: html });
      assert.match(String(headers["content-security-policy"]), /^default-src 'none'; frame/, path);
    }
  });
});
