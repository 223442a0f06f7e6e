import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { once } from "node:events";
import { decodeJwt, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from "jose";
import { ConfigError, readConfig } from "../../src/config.ts";
import { OAuthClient } from "../../src/models/oauth-client.ts";
import { User } from "../../src/models/user.ts";
import { aClient, aUser, freePort, type TestServer } from "../support/server.ts";
import {
  aProductionServer,
  basic,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Credentials,
  type Fields,
} from "../support/rp.ts";

/** Every line of the baseline table, asked of a server that was started with the settings of production. */
describe("security baseline of production", () => {
  let server: TestServer;
  let web: RelyingParty;
  let publicApp: RelyingParty;
  let signedIn: WebBrowser;
  const cookiesSeen: string[] = [];

  const register = async (metadata: Record<string, unknown> = {}) =>
    new RelyingParty(server, await aClient(server, metadata));

  before(async () => {
    server = await aProductionServer();
  });
  after(async () => {
    await server?.stop();
  });

  describe("T-138: default credentials", () => {
    it("ship with none: a fresh installation has no user and no client", async () => {
      const { knex } = server.database;
      assert.equal(await User.query(knex).resultSize(), 0);
      assert.equal(await OAuthClient.query(knex).resultSize(), 0);
    });

    it("has no setup page without the link that an operator makes", async () => {
      for (const path of ["/setup", "/setup/", "/setup/x", "/setup/setup_changeme"]) {
        const answer = await send(server, { path, headers: { accept: "text/html" } });
        assert.ok(answer.status === 404 || answer.status === 410, `${path}: ${answer.status}`);
        assert.notEqual(answer.page, "setup");
      }
    });

    for (const [name, key] of Object.entries({
      "a word": "changeme",
      "an empty key": Buffer.alloc(32).toString("base64"),
      "one byte repeated": Buffer.alloc(32, "A").toString("base64"),
      "a key that is too short": Buffer.from("0123456789abcdef").toString("base64"),
    })) {
      it(`does not start with a placeholder for its key: ${name}`, () => {
        const environment = {
          NODE_ENV: "production",
          ISSUER: "https://id.example",
          DATABASE_URL: "postgres://localhost/lintel",
          ENCRYPTION_KEY: key,
        };
        assert.throws(() => readConfig(environment), ConfigError);
      });
    }
  });

  describe("§1.0", () => {
    before(async () => {
      web = await register();
      publicApp = await register({ token_endpoint_auth_method: "none" });
      const user = await aUser(server);
      signedIn = new WebBrowser(server);
      const begun = await signedIn.open(web.authorization());
      cookiesSeen.push(...begun.setCookies);
      const done = await walk(server, signedIn, begun.location ?? "", user);
      cookiesSeen.push(...done.setCookies);
      const again = await walk(server, signedIn, publicApp.authorization(), user);
      assert.ok(response(again)["code"]);
    });

    const authorize = (app: RelyingParty, changes: Fields = {}) =>
      signedIn.open(app.authorization(changes));

    /** The tokens of another sign-in. */
    async function tokensOf(app: RelyingParty): Promise<Record<string, unknown>> {
      const answer = await app.redeem(response(await authorize(app))["code"] ?? "");
      assert.equal(answer.status, 200, answer.text);
      return json(answer);
    }

    it("pkce.required: PKCE is asked of every client, confidential ones too (RFC 9700 §2.1.1)", async () => {
      for (const app of [web, publicApp]) {
        const answer = await authorize(app, {
          code_challenge: undefined,
          code_challenge_method: undefined,
        });
        assert.equal(response(answer)["error"], "invalid_request");
        assert.equal(response(answer)["code"], undefined);
      }
    });

    it("PKCE: S256 is the only method (RFC 7636 §4.2)", async () => {
      for (const method of ["plain", "S512", "s256", undefined]) {
        const answer = await authorize(web, { code_challenge_method: method });
        assert.equal(response(answer)["error"], "invalid_request", String(method));
      }
    });

    it("allowOmittingSingleRegisteredRedirectUri: redirect_uri is asked of clients that have only one, too", async () => {
      const answer = await authorize(web, { redirect_uri: undefined });
      assert.equal(answer.status, 400);
      assert.equal(answer.location, undefined);
    });

    it("responseTypes: nothing but code", async () => {
      for (const type of [
        "token",
        "id_token",
        "id_token token",
        "code id_token",
        "code token",
        "none",
      ]) {
        const answer = await authorize(web, { response_type: type });
        const sent = new URL(answer.location ?? "");
        const parameters = new URLSearchParams(sent.search || sent.hash.slice(1));
        assert.equal(parameters.get("error"), "unsupported_response_type", type);
        assert.doesNotMatch(answer.location ?? "", /token=|code=/);
      }
    });

    it("responseTypes: no client can be registered for another", async () => {
      await assert.rejects(aClient(server, { response_types: ["id_token"] }));
      await assert.rejects(aClient(server, { grant_types: ["implicit"] }));
    });

    it("features.registration: nobody registers a client over HTTP", async () => {
      const body = JSON.stringify({ redirect_uris: ["https://evil.example/cb"] });
      for (const path of ["/reg", "/register", `/reg/${web.credentials.clientId}`]) {
        const answer = await send(server, {
          path,
          method: "POST",
          body,
          headers: { "content-type": "application/json" },
        });
        assert.equal(answer.status, 404, path);
      }
    });

    it("features.requestObjects: an unsigned request is refused, and a foreign request_uri is not read", async () => {
      const request = `${btoa('{"alg":"none"}')}.${btoa('{"scope":"openid email"}')}.`.replaceAll(
        "=",
        "",
      );
      const byValue = await authorize(web, { request });
      assert.equal(errorOf(byValue), "invalid_request_object");
      const byReference = await authorize(web, { request_uri: "https://rp.example/request.jwt" });
      assert.match(errorOf(byReference) ?? "", /request_uri/);
      for (const { location = "" } of [byValue, byReference])
        assert.doesNotMatch(location, /code=/);
      assert.doesNotMatch(server.logged(), /rp\.example/, "nothing was fetched, nor tried");
    });

    it("features.claimsParameter: claims brings what was consented to, and no more", async () => {
      const claims = JSON.stringify({
        id_token: { email: { essential: true } },
        userinfo: { email: null },
      });
      // Of the operator's own client nobody is asked; another one is stopped by the consent page.
      const own = await register({ first_party: true });
      const answer = await own.redeem(response(await authorize(own, { claims }))["code"] ?? "");
      const { id_token: idToken, access_token: accessToken } = json(answer);
      assert.match(String(decodeJwt(String(idToken))["email"]), /@/);
      assert.match(String(json(await own.userinfo(String(accessToken)))["email"]), /@/);
      const stranger = await register();
      assert.equal(
        errorOf(await authorize(stranger, { claims, prompt: "none" })),
        "consent_required",
      );
      const plain = await own.redeem(response(await authorize(own))["code"] ?? "");
      assert.equal(decodeJwt(String(json(plain)["id_token"]))["email"], undefined);
    });

    it("features.pushedAuthorizationRequests: a pushed redirect URI must be registered", async () => {
      const pushed = await web.post(
        "/request",
        web.parameters({ redirect_uri: "https://rp.example/other" }),
      );
      assert.equal(pushed.status, 400);
      const anonymous = await web.post("/request", web.parameters(), {});
      assert.equal(anonymous.status, 401);
    });

    it("features.pushedAuthorizationRequests: a client that must push cannot do without", async () => {
      const app = await register({
        require_pushed_authorization_requests: true,
        first_party: true,
      });
      const answer = await authorize(app);
      assert.equal(errorOf(answer), "invalid_request");
      const { request_uri: pushed } = json(await app.post("/request", app.parameters()));
      const path = `/auth?client_id=${app.credentials.clientId}&request_uri=${String(pushed)}`;
      assert.ok(response(await signedIn.open(path))["code"]);
      assert.match(errorOf(await signedIn.open(path)) ?? "", /request_uri/, "and only once");
    });

    it("clientAuthMethods: no client_secret_jwt, which would need the secret itself", async () => {
      await assert.rejects(aClient(server, { token_endpoint_auth_method: "client_secret_jwt" }));
      const { clientId, clientSecret } = web.credentials;
      const assertion = await new SignJWT({ jti: randomUUID() })
        .setProtectedHeader({ alg: "HS256" })
        .setIssuer(clientId)
        .setSubject(clientId)
        .setAudience(server.issuer)
        .setIssuedAt()
        .setExpirationTime("1m")
        .sign(Buffer.from(clientSecret));
      const answer = await web.token(
        {
          grant_type: "client_credentials",
          client_assertion: assertion,
          client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        },
        {},
      );
      assert.equal(answer.status, 401);
    });

    it("rotateRefreshToken: every refresh brings another refresh token, whatever the client", async () => {
      for (const app of [web, publicApp]) {
        const { refresh_token: first } = await tokensOf(app);
        const answer = await app.token({
          grant_type: "refresh_token",
          refresh_token: String(first),
        });
        assert.equal(answer.status, 200);
        assert.notEqual(json(answer)["refresh_token"], first);
      }
    });

    it("ttl: a code lives 60 s, an access token 10 min, an interaction 30 min", async () => {
      const tokens = await tokensOf(web);
      assert.equal(tokens["expires_in"], 600);
      const idToken = decodeJwt(String(tokens["id_token"]));
      assert.equal(Number(idToken.exp) - Number(idToken.iat), 3600);
      await authorize(web);
      const { rows } = await server.database.knex.raw<{ rows: { life: number }[] }>(
        "SELECT extract(epoch FROM max(expires_at) - now())::int AS life FROM oauth_authorizations",
      );
      assert.ok(Number(rows[0]?.life) <= 60);
      const interaction = cookiesSeen.find((line) =>
        line.startsWith("__Secure-lintel_interaction="),
      );
      const expires = Date.parse(/expires=([^;]+)/.exec(interaction ?? "")?.[1] ?? "");
      assert.ok(expires - Date.now() <= 30 * 60_000);
    });

    it('clientBasedCORS: scripts of registered origins only, never those of "null"', async () => {
      const app = await register({ cors_origins: ["https://spa.example"], first_party: true });
      const ask = async (origin: string) => {
        const { access_token: token } = await tokensOf(app);
        return send(server, {
          path: "/me",
          headers: { authorization: `Bearer ${String(token)}`, origin },
        });
      };
      const allowed = await ask("https://spa.example");
      assert.equal(allowed.status, 200);
      assert.equal(allowed.headers["access-control-allow-origin"], "https://spa.example");
      for (const origin of [
        "https://rp.example",
        "https://spa.example.evil",
        "http://spa.example",
        "null",
      ]) {
        const answer = await ask(origin);
        assert.equal(answer.headers["access-control-allow-origin"], undefined, origin);
      }
    });

    it("cookies: prefixed, Secure, HttpOnly, SameSite=Lax and signed", () => {
      const names = new Set(cookiesSeen.map((line) => line.split("=")[0]));
      assert.deepEqual([...names].sort(), [
        "__Host-lintel_browser",
        "__Host-lintel_session",
        "__Host-lintel_session.sig",
        "__Secure-lintel_interaction",
        "__Secure-lintel_interaction.sig",
        "__Secure-lintel_resume",
        "__Secure-lintel_resume.sig",
      ]);
      for (const line of cookiesSeen) {
        assert.match(line, /; secure(;|$)/i);
        assert.match(line, /; httponly(;|$)/i);
        assert.match(line, /; samesite=lax(;|$)/i);
        assert.doesNotMatch(line, /; domain=/i);
        if (line.startsWith("__Host-")) assert.match(line, /; path=\/(;|$)/i);
      }
    });

    it("cookies.keys: a cookie with a wrong signature is nobody’s", async () => {
      const forged = signedIn.copy();
      assert.ok(response(await forged.open(web.authorization({ prompt: "none" })))["code"]);
      forged.put("__Host-lintel_session.sig", "A".repeat(27));
      const answer = await forged.open(web.authorization({ prompt: "none" }));
      assert.equal(response(answer)["error"], "login_required");
    });

    it("features.devInteractions: off, and its form signs nobody in", async () => {
      const visitor = new WebBrowser(server);
      const { location = "" } = await visitor.open(web.authorization());
      const shown = await visitor.open(location);
      assert.equal(shown.page, "login");
      const answer = await visitor.submit(location, {
        prompt: "login",
        login: "admin",
        password: "x",
      });
      assert.equal(answer.status, 400);
      assert.equal(
        (await visitor.submit(`${location}/login`, { prompt: "login", login: "a" })).status,
        404,
      );
    });

    it("has neither the demo, nor its mailbox, nor metrics where people are", async () => {
      const paths = [
        "/dev/mail",
        "/dev/mail/clear",
        "/dev/pages",
        "/dev/mails",
        "/metrics",
        "/docs",
      ];
      for (const path of [...paths, "/dev/pages/login/empty", "/demo"]) {
        assert.equal((await send(server, { path })).status, 404, path);
      }
      assert.equal((await send(server, { path: "/dev/mail/clear", fields: {} })).status, 404);
      const socket = connect(Number(new URL(server.demoOrigin).port), "localhost");
      const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
      assert.match(
        String(error.code ?? (error as AggregateError).errors?.[0]?.code),
        /ECONNREFUSED/,
      );
    });

    it("has neither mailbox nor gallery for a browser on the same machine either", async () => {
      const port = await freePort();
      const local = await aProductionServer({
        PORT: String(port),
        ISSUER: `http://localhost:${port}`,
      });
      try {
        for (const path of ["/dev/mail", "/dev/mail/x", "/dev/pages", "/dev/mails"])
          assert.equal((await send(local, { path })).status, 404, path);
      } finally {
        await local.stop();
      }
    });

    it("introspection.allowedPolicy: a client learns about its own tokens only", async () => {
      const { access_token: token, refresh_token: refresh } = await tokensOf(web);
      const stranger = await register();
      for (const value of [token, refresh]) {
        const own = await web.post("/token/introspection", { token: String(value) });
        assert.equal(json(own)["active"], true);
        const foreign = await stranger.post("/token/introspection", { token: String(value) });
        assert.deepEqual(json(foreign), { active: false });
      }
      const nobody = await send(server, {
        path: "/token/introspection",
        fields: { token: String(token) },
      });
      assert.ok(nobody.status >= 400);
    });

    it("revocation: a client ends its own tokens only (RFC 7009 §2.1)", async () => {
      const { access_token: token } = await tokensOf(web);
      const stranger = await register();
      await stranger.post("/token/revocation", { token: String(token) });
      assert.equal((await web.userinfo(String(token))).status, 200);
      await web.post("/token/revocation", { token: String(token) });
      assert.equal((await web.userinfo(String(token))).status, 401);
    });

    it("T-05: says who answers, in every answer to a client, errors too (RFC 9207 §2)", async () => {
      const answers: Record<string, Answer> = {
        code: await authorize(web),
        "no PKCE": await authorize(web, { code_challenge: undefined }),
        "no scope": await authorize(web, { scope: "openid nonsense", response_type: "token" }),
        prompt: await new WebBrowser(server).open(web.authorization({ prompt: "none" })),
      };
      for (const [name, answer] of Object.entries(answers)) {
        const sent = new URL(answer.location ?? "");
        const parameters = new URLSearchParams(sent.search || sent.hash.slice(1));
        assert.deepEqual(parameters.getAll("iss"), [server.issuer], name);
      }
    });

    it("JWKS and discovery: may be cached for 5 min, and hold no private key", async () => {
      for (const path of ["/jwks", "/.well-known/openid-configuration"]) {
        const answer = await send(server, { path });
        assert.equal(answer.headers["cache-control"], "public, max-age=300");
      }
      const { keys } = json(await send(server, { path: "/jwks" })) as { keys: JWK[] };
      assert.deepEqual(keys.map(({ alg }) => alg).sort(), ["ES256", "RS256"]);
      for (const key of keys) {
        const names = Object.keys(key);
        for (const secret of ["d", "p", "q", "dp", "dq", "qi", "k"])
          assert.ok(!names.includes(secret));
      }
    });

    it("headers: HSTS for two years on everything, errors too (T-47)", async () => {
      for (const path of ["/", "/jwks", "/nowhere", "/auth", "/me", "/healthz", "/session/end"]) {
        const { headers } = await send(server, { path });
        assert.equal(
          headers["strict-transport-security"],
          "max-age=63072000; includeSubDomains",
          path,
        );
        assert.equal(headers["x-content-type-options"], "nosniff", path);
        assert.equal(headers["x-frame-options"], "DENY", path);
        assert.match(String(headers["content-security-policy"]), /frame-ancestors 'none'/);
      }
    });

    it("pages: name no other host, for pictures, fonts, styles or scripts", async () => {
      const visitor = new WebBrowser(server);
      const login = await walk(server, visitor, web.authorization());
      const logout = await signedIn.open("/session/end");
      const error = await visitor.open("/auth?client_id=unknown");
      for (const answer of [login, logout, error]) {
        assert.ok(answer.page);
        const foreign = [...answer.text.matchAll(/(?:src|href|action)="((?:https?:)?\/\/[^"]+)"/g)]
          .map(([, address = ""]) => new URL(address, server.issuer).host)
          .filter((host) => host !== "id.example");
        assert.deepEqual(foreign, [], answer.page);
        assert.doesNotMatch(answer.text, /<script(?![^>]*src=)/);
      }
    });

    it("discovery: says exactly what it said when somebody last looked at it", async () => {
      const golden = new URL("./discovery.golden.json", import.meta.url);
      const answer = await send(server, { path: "/.well-known/openid-configuration" });
      if (process.env["UPDATE_GOLDEN"] !== undefined)
        writeFileSync(golden, `${JSON.stringify(json(answer), undefined, 2)}\n`);
      assert.deepEqual(json(answer), JSON.parse(readFileSync(golden, "utf8")));
    });

    describe("DPoP (RFC 9449)", () => {
      let key: CryptoKey;
      let jwk: JWK;
      before(async () => {
        const pair = await generateKeyPair("ES256", { extractable: true });
        key = pair.privateKey;
        jwk = await exportJWK(pair.publicKey);
      });

      const proof = (claims: Record<string, unknown> = {}, path = "/token") =>
        new SignJWT({ jti: randomUUID(), htm: "POST", htu: `${server.issuer}${path}`, ...claims })
          .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk })
          .setIssuedAt()
          .sign(key);

      const credentials = async () =>
        register({ grant_types: ["client_credentials"], redirect_uris: [] });
      const ask = (app: RelyingParty, dpop: string) =>
        app.token({ grant_type: "client_credentials" }, headersOf(app.credentials, dpop));
      const headersOf = ({ clientId, clientSecret }: Credentials, dpop: string) => ({
        authorization: basic(clientId, clientSecret),
        dpop,
      });

      it("binds tokens to the key of the proof, and takes each proof once", async () => {
        const app = await credentials();
        const dpop = await proof();
        const first = await ask(app, dpop);
        assert.equal(json(first)["token_type"], "DPoP");
        const second = await ask(app, dpop);
        assert.equal(second.status, 400);
        assert.equal(json(second)["access_token"], undefined);
      });

      it("refuses a bound token without its proof, or with that of another key", async () => {
        const app = await register({ first_party: true, dpop_bound_access_tokens: true });
        const code = async () => response(await authorize(app))["code"] ?? "";
        const plain = await app.redeem(await code());
        assert.equal(errorOf(plain), "invalid_grant");
        const answer = await app.redeem(
          await code(),
          {},
          headersOf(app.credentials, await proof()),
        );
        const { access_token: token } = json(answer);
        assert.equal((await app.userinfo(String(token))).status, 401);
        const ath = createHash("sha256").update(String(token)).digest("base64url");
        const at = (dpop: string) =>
          send(server, {
            path: "/me",
            headers: { authorization: `DPoP ${String(token)}`, dpop },
          });
        assert.equal((await at(await proof({ htm: "GET", ath }, "/me"))).status, 200);
        const other = await generateKeyPair("ES256", { extractable: true });
        const stolen = await new SignJWT({
          jti: randomUUID(),
          htm: "GET",
          htu: `${server.issuer}/me`,
          ath,
        })
          .setProtectedHeader({
            alg: "ES256",
            typ: "dpop+jwt",
            jwk: await exportJWK(other.publicKey),
          })
          .setIssuedAt()
          .sign(other.privateKey);
        assert.equal((await at(stolen)).status, 401);
      });

      it("gives nonces that every node knows", async () => {
        const app = await credentials();
        const { running } = await server.another();
        const refused = await ask(app, await proof({ nonce: "unknown" }));
        assert.equal(errorOf(refused), "use_dpop_nonce");
        const nonce = String(refused.headers["dpop-nonce"]);
        const target = { issuer: server.issuer, port: running.port };
        const elsewhere = await ask(
          new RelyingParty(target, app.credentials),
          await proof({ nonce }),
        );
        assert.equal(elsewhere.status, 200, elsewhere.text);
      });
    });
  });
});
