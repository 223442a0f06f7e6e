import assert from "node:assert/strict";
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { createServer } from "node:net";
import { once } from "node:events";
import {
  decodeJwt,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type GenerateKeyPairResult,
  type JWK,
  type JWTHeaderParameters,
} from "jose";
import { createClient, rotateSecret, updateClient } from "../../src/clients/clients.ts";
import { aClient, aUser, type TestServer } from "../support/server.ts";
import {
  aProductionServer,
  basic,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  VERIFIER,
  walk,
  WebBrowser,
  type Answer,
} from "../support/rp.ts";

const ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

describe("clients at the token endpoint", () => {
  let server: TestServer;
  let app: RelyingParty;
  let other: RelyingParty;
  let browser: WebBrowser;

  before(async () => {
    server = await aProductionServer();
    const redirectUris = ["https://rp.example/callback", "https://rp.example/second"];
    app = await register({ redirect_uris: redirectUris });
    other = await register({ redirect_uris: redirectUris });
    browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), await aUser(server));
  });
  after(async () => {
    await server?.stop();
  });

  const register = async (metadata: Record<string, unknown> = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));

  async function codeOf(client: RelyingParty, scope = "openid"): Promise<string> {
    const { code } = response(await browser.open(client.authorization({ scope })));
    assert.ok(code);
    return code;
  }

  async function tokensOf(client: RelyingParty, scope?: string): Promise<Record<string, string>> {
    const answer = await client.redeem(await codeOf(client, scope));
    assert.equal(answer.status, 200, answer.text);
    return json(answer) as Record<string, string>;
  }

  describe("T-21: a code is for one client, address, verifier and minute", () => {
    /** Each of the five conditions right or wrong; bit set means wrong. */
    const conditions = ["client", "redirect_uri", "verifier", "expiry", "authentication"] as const;
    const combinations = Array.from({ length: 32 }, (_, bits) =>
      conditions.filter((_name, index) => ((bits >> index) & 1) === 1),
    );

    function attempt(code: string, wrong: readonly string[]): Promise<Answer> {
      const { clientId, clientSecret } = (wrong.includes("client") ? other : app).credentials;
      const secret = wrong.includes("authentication") ? `${clientSecret}x` : clientSecret;
      return app.redeem(
        code,
        {
          redirect_uri: `https://rp.example/${wrong.includes("redirect_uri") ? "second" : "callback"}`,
          code_verifier: wrong.includes("verifier") ? "x".repeat(43) : VERIFIER,
        },
        { authorization: basic(clientId, secret) },
      );
    }

    async function move(seconds: number): Promise<void> {
      await server.database.knex.raw(
        `UPDATE oauth_authorizations SET expires_at = expires_at + make_interval(secs => ?), payload =
           jsonb_set(payload, '{exp}', to_jsonb(coalesce((payload->>'exp')::bigint, 0) + ?::bigint), false)`,
        [seconds, seconds],
      );
    }

    it("of 32 combinations only the one in which all is right brings tokens, and no failure burns the code", async () => {
      await server.database.knex("oauth_authorizations").delete();
      const code = await codeOf(app);
      for (const isExpired of [false, true]) {
        if (isExpired) await move(-120);
        for (const wrong of combinations) {
          if (wrong.length === 0 || wrong.includes("expiry") !== isExpired) continue;
          const answer = await attempt(code, wrong);
          const name = wrong.join(" and ");
          assert.equal(answer.status, wrong.includes("authentication") ? 401 : 400, name);
          const expected = wrong.includes("authentication") ? "invalid_client" : "invalid_grant";
          assert.equal(errorOf(answer), expected, name);
        }
      }
      await move(120);
      assert.equal((await attempt(code, [])).status, 200);
    });

    it("an address is asked for again, exactly as it was (RFC 6749 §4.1.3)", async () => {
      const code = await codeOf(app);
      for (const redirectUri of [
        undefined,
        "",
        "https://rp.example/callback/",
        "https://RP.example/callback",
      ]) {
        const answer = await app.redeem(code, { redirect_uri: redirectUri });
        assert.equal(answer.status, 400, redirectUri);
      }
      assert.equal((await app.redeem(code)).status, 200);
    });

    it("used twice it takes everything back that it brought (T-20)", async () => {
      const code = await codeOf(app);
      const tokens = json(await app.redeem(code));
      assert.equal(errorOf(await app.redeem(code)), "invalid_grant");
      assert.equal((await app.userinfo(String(tokens["access_token"]))).status, 401);
      const refreshed = await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      });
      assert.equal(errorOf(refreshed), "invalid_grant");
    });
  });

  describe("T-23: refreshing", () => {
    const refresh = (token: string | undefined) => ({
      grant_type: "refresh_token",
      refresh_token: token,
    });

    it("needs the authentication of the very client", async () => {
      const { refresh_token: token } = await tokensOf(app);
      const { clientId, clientSecret } = app.credentials;
      const attempts: Record<string, [Answer, string]> = {
        "no secret": [
          await app.token({ ...refresh(token), client_id: clientId }, {}),
          "invalid_client",
        ],
        "a wrong secret": [
          await app.token(refresh(token), { authorization: basic(clientId, `${clientSecret}x`) }),
          "invalid_client",
        ],
        "an empty secret": [
          await app.token({ ...refresh(token), client_id: clientId, client_secret: "" }, {}),
          "invalid_client",
        ],
        "two secrets at once": [
          await app.token(
            { ...refresh(token), client_id: clientId, client_secret: clientSecret },
            { authorization: basic(clientId, clientSecret) },
          ),
          "invalid_request",
        ],
        "another client": [await other.token(refresh(token)), "invalid_grant"],
        nobody: [await app.token(refresh(token), {}), "invalid_request"],
      };
      for (const [name, [answer, error]] of Object.entries(attempts)) {
        assert.equal(errorOf(answer), error, name);
        assert.equal(json(answer)["access_token"], undefined, name);
      }
      assert.equal((await app.token(refresh(token))).status, 200, "none of them used it up");
    });

    it("is over for a client that was disabled, and so is everything else", async () => {
      const client = await register();
      const { refresh_token: token, access_token: access = "" } = await tokensOf(client);
      const { knex } = server.database;
      await knex("oauth_clients")
        .where({ client_id: client.credentials.clientId })
        .update({ status: "disabled" });
      await eventually(async () => (await client.token(refresh(token))).status === 401);
      assert.equal((await client.userinfo(access)).status, 401);
      assert.equal((await browser.open(client.authorization())).status, 400);
    });

    it("is for clients of the grant type only", async () => {
      const plain = await register({ grant_types: ["authorization_code"] });
      const tokens = await tokensOf(plain);
      assert.equal(tokens["refresh_token"], undefined);
      const refusals = [
        await plain.token(refresh("rt_x")),
        await app.token({ grant_type: "client_credentials" }),
      ];
      for (const answer of refusals) {
        assert.equal(errorOf(answer), "unauthorized_client");
        assert.equal(json(answer)["access_token"], undefined);
      }
    });

    it("stops when the session it belongs to ends, unless it was offline access", async () => {
      const person = await aUser(server);
      const visitor = new WebBrowser(server);
      const open = async (scope: string) => {
        const answer = await walk(
          server,
          visitor,
          app.authorization({ scope, prompt: "consent" }),
          person,
        );
        return json(await app.redeem(response(answer)["code"] ?? ""))["refresh_token"] as string;
      };
      const [bound, offline] = [await open("openid"), await open("openid offline_access")];
      await server.database
        .knex("sessions")
        .where({ user_id: person.id })
        .update({ ended_at: new Date(), end_reason: "admin_revoked" });
      assert.equal(errorOf(await app.token(refresh(bound))), "invalid_grant");
      assert.equal((await app.token(refresh(offline))).status, 200);
    });
  });

  describe("T-24: widening", () => {
    it("a refresh may narrow the scope and never widen it", async () => {
      const ask = (token: string | undefined, scope: string) =>
        app.token({ grant_type: "refresh_token", refresh_token: token, scope });
      const { refresh_token: token } = await tokensOf(app, "openid profile");
      for (const scope of [
        "openid profile email",
        "email",
        "openid offline_access",
        "openid admin",
      ]) {
        assert.equal(errorOf(await ask(token, scope)), "invalid_scope", scope);
      }
      const narrow = await ask(token, "openid");
      assert.equal(json(narrow)["scope"], "openid");
      const info = json(await app.userinfo(String(json(narrow)["access_token"])));
      assert.equal(info["name"], undefined);
    });

    it("a client gets no scope beyond those it was registered for", async () => {
      const limited = await register({ scope: "openid profile" });
      const answer = await browser.open(limited.authorization({ scope: "openid profile email" }));
      if (response(answer)["error"] === undefined) {
        const tokens = json(await limited.redeem(response(answer)["code"] ?? ""));
        assert.equal(tokens["scope"], "openid profile");
      } else assert.equal(response(answer)["error"], "invalid_scope");
    });

    it("a machine’s token carries no scope that nobody knows, and says nothing about anybody (T-18)", async () => {
      const machine = await register({ grant_types: ["client_credentials"], redirect_uris: [] });
      for (const scope of [undefined, "admin", "openid profile email offline_access"]) {
        const answer = await machine.token({ grant_type: "client_credentials", scope });
        const { access_token: token, refresh_token: refresh, scope: granted = "" } = json(answer);
        assert.doesNotMatch(String(granted), /admin/);
        assert.equal(refresh, undefined);
        if (token !== undefined)
          assert.equal((await machine.userinfo(JSON.stringify(token).slice(1, -1))).status, 401);
      }
    });

    it("a foreign resource changes nothing: the token stays one for us", async () => {
      const { refresh_token: token } = await tokensOf(app);
      const answer = await app.token({
        grant_type: "refresh_token",
        refresh_token: token,
        resource: "https://api.evil.example",
      });
      if (answer.status !== 200) return assert.equal(errorOf(answer), "invalid_target");
      const { access_token: access } = json(answer);
      const known = json(await app.post("/token/introspection", { token: String(access) }));
      assert.equal(known["aud"], undefined);
    });
  });

  describe("T-25: forged JWTs", () => {
    let pair: GenerateKeyPairResult;
    let jwk: JWK;
    let client: RelyingParty;

    before(async () => {
      pair = await generateKeyPair("ES256", { extractable: true });
      jwk = { ...(await exportJWK(pair.publicKey)), kid: "one", alg: "ES256", use: "sig" };
      client = await registerKeys({ jwks: { keys: [jwk] } });
    });

    const registerKeys = (keys: Record<string, unknown>) =>
      register({
        token_endpoint_auth_method: "private_key_jwt",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        ...keys,
      });

    const now = () => Math.floor(Date.now() / 1000);
    const claims = (changes: Record<string, unknown> = {}) => ({
      iss: client.credentials.clientId,
      sub: client.credentials.clientId,
      aud: server.issuer,
      iat: now(),
      exp: now() + 60,
      jti: randomUUID(),
      ...changes,
    });
    const sign = (
      payload: Record<string, unknown>,
      header: Partial<JWTHeaderParameters> = {},
      key: CryptoKey | Uint8Array = pair.privateKey,
    ) => new SignJWT(payload).setProtectedHeader({ alg: "ES256", kid: "one", ...header }).sign(key);
    const raw = (header: object, payload: object, signature: (input: string) => string) => {
      const input = [header, payload]
        .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
        .join(".");
      return `${input}.${signature(input)}`;
    };
    const ask = (assertion: string, as = client) =>
      as.token(
        {
          grant_type: "client_credentials",
          client_assertion: assertion,
          client_assertion_type: ASSERTION,
        },
        {},
      );

    it("a right one is right, once (T-26)", async () => {
      const assertion = await sign(claims());
      assert.equal((await ask(assertion)).status, 200);
      assert.equal((await ask(assertion)).status, 401);
    });

    const forgeries: Record<string, () => Promise<string> | string> = {
      "that is not signed: alg none": () => raw({ alg: "none" }, claims(), () => ""),
      "alg None": () => raw({ alg: "None", kid: "one" }, claims(), () => ""),
      "whose signature is missing": () => raw({ alg: "ES256", kid: "one" }, claims(), () => ""),
      "whose signature is zeroes (CVE-2022-21449)": () =>
        raw({ alg: "ES256", kid: "one" }, claims(), () => Buffer.alloc(64).toString("base64url")),
      "signed by HS256 with the public key": async () => {
        const pem = await exportSPKI(pair.publicKey);
        return raw({ alg: "HS256", kid: "one" }, claims(), (input) =>
          createHmac("sha256", pem).update(input).digest("base64url"),
        );
      },
      "signed by HS256 with the public JWK": () =>
        raw({ alg: "HS256", kid: "one" }, claims(), (input) =>
          createHmac("sha256", JSON.stringify(jwk)).update(input).digest("base64url"),
        ),
      "that brings its own key: jwk": async () => {
        const own = await generateKeyPair("ES256", { extractable: true });
        return sign(claims(), { jwk: await exportJWK(own.publicKey) }, own.privateKey);
      },
      "that says where its key is: jku, x5u": async () => {
        const own = await generateKeyPair("ES256");
        return sign(
          claims(),
          { jku: "https://evil.example/jwks", x5u: "https://evil.example/x" },
          own.privateKey,
        );
      },
      "with a kid that is an address": async () => {
        const own = await generateKeyPair("ES256");
        return sign(claims(), { kid: "../../../../dev/null" }, own.privateKey);
      },
      "with crit": () =>
        raw({ alg: "ES256", kid: "one", crit: ["exp"], exp: 1 }, claims(), () => "AA"),
      "with crit, and signed": () => sign(claims(), { crit: ["b64"], b64: true }),
      "for the token endpoint as audience": () => sign(claims({ aud: `${server.issuer}/token` })),
      "for several audiences": () => sign(claims({ aud: [server.issuer, "https://evil.example"] })),
      "for a list of one audience": () => sign(claims({ aud: [server.issuer] })),
      "for another audience": () => sign(claims({ aud: "https://evil.example" })),
      "for the issuer with a slash": () => sign(claims({ aud: `${server.issuer}/` })),
      "for no audience": () => sign(claims({ aud: undefined })),
      "that lasts too long": () => sign(claims({ exp: now() + 600 })),
      "that lasts ten years": () => sign(claims({ exp: now() + 315_360_000 })),
      "that never ends": () => sign(claims({ exp: undefined })),
      "that has ended": () => sign(claims({ exp: now() - 60 })),
      "that is not yet good": () => sign(claims({ nbf: now() + 120 })),
      "without jti": () => sign(claims({ jti: undefined })),
      "of another issuer": () => sign(claims({ iss: "somebody" })),
      "about another client": () => sign(claims({ sub: other.credentials.clientId })),
    };
    for (const [name, forge] of Object.entries(forgeries)) {
      it(`an assertion ${name} is refused`, async () => {
        const answer = await ask(await forge());
        assert.ok(answer.status === 401 || answer.status === 400, String(answer.status));
        assert.match(errorOf(answer) ?? "", /^invalid_(client|request)$/);
        assert.equal(json(answer)["access_token"], undefined);
      });
    }

    it("an assertion does not stand in for a secret, nor a secret for an assertion", async () => {
      const { clientId } = app.credentials;
      const assertion = await sign(claims({ iss: clientId, sub: clientId }));
      assert.equal((await ask(assertion, app)).status, 401);
      const secret = await client.token(
        { grant_type: "client_credentials" },
        { authorization: basic(client.credentials.clientId, "x") },
      );
      assert.equal(secret.status, 401);
    });

    it("an ID token opens no endpoint, and an access token is no hint", async () => {
      const tokens = await tokensOf(app);
      assert.equal((await app.userinfo(tokens["id_token"] ?? "")).status, 401);
      const known = await app.post("/token/introspection", { token: tokens["id_token"] });
      assert.equal(known.status, 400, "not one of ours");
      const hint = tokens["access_token"];
      const answer = await browser.open(app.authorization({ id_token_hint: hint, prompt: "none" }));
      assert.equal(response(answer)["error"], "invalid_request");
      const refresh = await app.token({
        grant_type: "refresh_token",
        refresh_token: tokens["access_token"],
      });
      assert.equal(errorOf(refresh), "invalid_grant");
      assert.equal((await app.userinfo(tokens["refresh_token"] ?? "")).status, 401);
    });

    it("a hint is an ID token that we signed for this client", async () => {
      const { id_token: own = "" } = await tokensOf(app);
      const payload = decodeJwt(own);
      const foreign = await generateKeyPair("ES256");
      const { id_token: theirs = "" } = await tokensOf(other);
      const hints: Record<string, string> = {
        none: raw({ alg: "none" }, payload, () => ""),
        "another key": await new SignJWT(payload)
          .setProtectedHeader({ alg: "ES256" })
          .sign(foreign.privateKey),
        "the client’s secret": await new SignJWT(payload)
          .setProtectedHeader({ alg: "HS256" })
          .sign(Buffer.from(app.credentials.clientSecret)),
        "another client": theirs,
        nonsense: "a.b.c",
      };
      for (const [name, hint] of Object.entries(hints)) {
        const answer = await browser.open(
          app.authorization({ id_token_hint: hint, prompt: "none" }),
        );
        assert.equal(response(answer)["error"], "invalid_request", name);
      }
      const right = await browser.open(app.authorization({ id_token_hint: own, prompt: "none" }));
      assert.ok(response(right)["code"]);
    });

    describe("T-36: where a client’s keys are", () => {
      for (const host of [
        "127.0.0.1",
        "[::1]",
        "localhost",
        "127.0.0.1.",
        "2130706433",
        "0x7f.1",
      ]) {
        it(`${host} is never asked: no connection is made`, async () => {
          let connects = 0;
          const listener = createServer((socket) => {
            connects += 1;
            socket.destroy();
          });
          // Only 443 and 8443 are asked at all; where somebody else listens, the log still tells.
          listener.listen(8443, host.includes(":") ? "::1" : "127.0.0.1");
          await Promise.race([once(listener, "listening"), once(listener, "error")]);
          try {
            const uri = `https://${host}:8443/jwks`;
            const keyed = await registerKeys({ jwks_uri: "https://keys.example/jwks" });
            const { clientId } = keyed.credentials;
            // Past the rules of registration, as an address that resolves elsewhere today would be.
            await server.database
              .knex("oauth_clients")
              .where({ client_id: clientId })
              .update({ jwks_uri: uri });
            const answer = await ask(await sign(claims({ iss: clientId, sub: clientId })), keyed);
            assert.equal(answer.status, 401, answer.text);
            assert.equal(connects, 0);
            assert.match(server.logged(), /"reason":"address"/);
          } finally {
            listener.close();
          }
        });
      }
    });
  });

  describe("T-35: secrets", () => {
    const works = async (client: RelyingParty, secret: string) =>
      (
        await client.token(
          { grant_type: "client_credentials" },
          { authorization: basic(client.credentials.clientId, secret) },
        )
      ).status === 200;

    const machine = () => register({ grant_types: ["client_credentials"], redirect_uris: [] });

    it("are 256 random bits of ours: a client cannot choose one", async () => {
      const { clientSecret } = (await machine()).credentials;
      assert.ok(Buffer.from(clientSecret.replace(/^ls_/, ""), "base64url").length >= 32);
      const { knex } = server.database;
      const metadata = {
        client_name: "x",
        redirect_uris: ["https://rp.example/"],
        client_secret: "changeme",
      };
      await assert.rejects(
        knex.transaction((trx) => createClient(trx, { metadata }, new Date())),
        /client_secret/,
      );
    });

    it("are stored nowhere, and what is stored does not authenticate", async () => {
      const client = await machine();
      const { clientId, clientSecret } = client.credentials;
      const { rows } = await server.database.knex.raw<{ rows: { row: string; hash: string }[] }>(
        `SELECT to_jsonb(c)::text || to_jsonb(s)::text AS row, encode(s.secret_hash, 'hex') AS hash
           FROM oauth_clients c JOIN oauth_client_secrets s ON s.client_id = c.id WHERE c.client_id = ?`,
        [clientId],
      );
      assert.equal(rows.length, 1);
      for (const { row, hash } of rows) {
        assert.ok(!row.includes(clientSecret) && !row.includes(clientSecret.slice(3, 20)));
        for (const stored of [
          hash,
          `sha256:${hash}`,
          Buffer.from(hash, "hex").toString("base64url"),
        ]) {
          assert.equal(await works(client, stored), false);
        }
      }
      assert.doesNotMatch(server.logged(), new RegExp(clientSecret));
      assert.equal(await works(client, clientSecret), true);
    });

    it("overlap while they are changed; then the old one fails", async () => {
      const client = await machine();
      const { clientId, clientSecret: old } = client.credentials;
      const rotate = (keepSeconds: number) =>
        server.database.knex.transaction((trx) =>
          rotateSecret(trx, clientId, { keepSeconds }, new Date()),
        );
      const { secret: second } = await rotate(1);
      await eventually(() => works(client, second));
      const startedAt = Date.now();
      await eventually(async () => !(await works(client, old)));
      assert.ok(Date.now() - startedAt < 3_000, "when it was said to, not when a cache forgets");
      assert.equal(await works(client, second), true);
      const { secret: third } = await rotate(0);
      await eventually(() => works(client, third));
      assert.equal(await works(client, second), false);
    });

    it("both work in the overlap", async () => {
      const client = await machine();
      const { clientId, clientSecret: old } = client.credentials;
      const { secret } = await server.database.knex.transaction((trx) =>
        rotateSecret(trx, clientId, { keepSeconds: 60 }, new Date()),
      );
      await eventually(() => works(client, secret));
      assert.equal(await works(client, old), true);
    });

    it("are gone when the client authenticates otherwise", async () => {
      const client = await register();
      const { clientId, clientSecret } = client.credentials;
      await server.database.knex.transaction((trx) =>
        updateClient(
          trx,
          clientId,
          { metadata: { token_endpoint_auth_method: "none" } },
          new Date(),
        ),
      );
      const ask = () =>
        client.token(
          { grant_type: "refresh_token", refresh_token: "x" },
          { authorization: basic(clientId, clientSecret) },
        );
      await eventually(async () => (await ask()).status === 401);
    });

    it("cost no password hash to check: guessing them is no way to keep us busy", async () => {
      const client = await machine();
      const startedAt = performance.now();
      const guesses = Array.from({ length: 100 }, () =>
        works(client, randomBytes(32).toString("base64url")),
      );
      assert.ok((await Promise.all(guesses)).every((worked) => !worked));
      assert.ok(performance.now() - startedAt < 2_000);
    });
  });

  it("T-37: keys that are weak, symmetric, private or too many are refused at registration", async () => {
    const weak = await crypto.subtle.generateKey(
      {
        name: "RSASSA-PKCS1-v1_5",
        modulusLength: 1024,
        publicExponent: new Uint8Array([1, 0, 1]),
        hash: "SHA-256",
      },
      true,
      ["sign", "verify"],
    );
    const pair = await generateKeyPair("ES256", { extractable: true });
    const good = await exportJWK(pair.publicKey);
    for (const [name, keys] of Object.entries<JWK[]>({
      "RSA of 1024 bits": [await exportJWK(weak.publicKey)],
      symmetric: [{ kty: "oct", k: randomBytes(32).toString("base64url") }],
      private: [await exportJWK(pair.privateKey)],
      none: [],
      "a thousand": Array.from({ length: 1_000 }, (_, index) => ({ ...good, kid: String(index) })),
    })) {
      const attempt = aClient(server, {
        token_endpoint_auth_method: "private_key_jwt",
        jwks: { keys },
      });
      await assert.rejects(attempt, /jwks/, name);
    }
  });

  it("does not tell an unknown client from a wrong secret", async () => {
    const ask = async (clientId: string) => {
      const answer = await send(server, {
        path: "/token",
        fields: { grant_type: "client_credentials" },
        headers: { authorization: basic(clientId, "x".repeat(46)) },
      });
      return [answer.status, answer.text, answer.headers["www-authenticate"]];
    };
    assert.deepEqual(await ask(app.credentials.clientId), await ask(randomUUID()));
  });

  /** Waits for what other connections hear of a moment later. */
  async function eventually(isSo: () => Promise<boolean>): Promise<void> {
    for (const until = Date.now() + 12_000; Date.now() < until;) {
      if (await isSo()) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    assert.fail("it never happened");
  }
});
