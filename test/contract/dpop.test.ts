import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { exportJWK, SignJWT } from "jose";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import type { Answer, Fields, Target } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import { aKey, now, proof, sign, type ClientKey } from "../support/signing.ts";

type Changes = Readonly<Record<string, unknown>>;

/** RFC 9449. */
describe("DPoP", () => {
  let server: TestServer;
  let node: Target;
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let key: ClientKey;
  let thief: ClientKey;
  /** A program of its own, a web application, a page's script and one that must use DPoP. */
  let machine: RelyingParty;
  let app: RelyingParty;
  let open: RelyingParty;
  let bound: RelyingParty;

  before(async () => {
    server = await aServer();
    node = { issuer: server.issuer, port: (await server.another()).running.port };
    user = await aUser(server);
    browser = new WebBrowser(server);
    [key, thief] = [await aKey(), await aKey()];
    machine = await register({ grant_types: ["client_credentials"], redirect_uris: [] });
    app = await register();
    open = await register({ token_endpoint_auth_method: "none" });
    bound = await register({ dpop_bound_access_tokens: true });
    await walk(server, browser, app.authorization(), user);
  });
  after(() => server.stop());

  const register = async (metadata = {}) =>
    new RelyingParty(server, await aClient(server, { first_party: true, ...metadata }));

  const headersOf = ({ credentials: { clientId, clientSecret } }: RelyingParty, dpop: string) => ({
    dpop,
    ...(clientSecret === ""
      ? {}
      : {
          authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`,
        }),
  });
  const named = (rp: RelyingParty, fields: Fields): Fields =>
    rp.credentials.clientSecret === "" ? { client_id: rp.credentials.clientId, ...fields } : fields;

  const atToken = async (by = key, changes: Changes = {}, header: Changes = {}) =>
    proof(by, { htu: `${server.issuer}/token`, ...changes }, header);

  /** Asks for a token that needs nobody but the client, with this proof. */
  const own = async (dpop: string): Promise<Answer> =>
    machine.token({ grant_type: "client_credentials" }, headersOf(machine, dpop));

  const codeOf = async (rp: RelyingParty, changes: Fields = {}): Promise<string> =>
    response(await walk(server, browser, rp.authorization(changes), user))["code"] ?? "";

  const redeem = async (rp: RelyingParty, code: string, by = key): Promise<Answer> =>
    rp.redeem(code, named(rp, {}), headersOf(rp, await atToken(by)));

  async function tokensOf(rp = app, by = key): Promise<Record<string, string>> {
    const answer = await redeem(rp, await codeOf(rp), by);
    assert.equal(answer.status, 200, answer.text);
    return json(answer) as Record<string, string>;
  }

  const refresh = async (rp: RelyingParty, token: string | undefined, dpop?: string) =>
    rp.token(
      named(rp, { grant_type: "refresh_token", refresh_token: token }),
      dpop === undefined ? undefined : headersOf(rp, dpop),
    );

  const atUserinfo = async (token: string, by = key, changes: Changes = {}) =>
    proof(by, { htu: `${server.issuer}/me`, htm: "GET", token, ...changes });

  const userinfo = async (token: string, dpop?: string, scheme = "DPoP") =>
    send(server, {
      path: "/me",
      headers: {
        authorization: `${scheme} ${token}`,
        ...(dpop === undefined ? {} : { dpop }),
      },
    });

  describe("proofs are taken", () => {
    it("when they are right (RFC 9449 §4.3)", async () => {
      assert.equal((await own(await atToken())).status, 200);
    });

    for (const alg of ["PS256", "RS256", "EdDSA"])
      it(`signed with ${alg}, which discovery offers (RFC 9449 §5.1)`, async () => {
        const path = "/.well-known/openid-configuration";
        const { dpop_signing_alg_values_supported: offered } = json(await send(server, { path }));
        assert.ok((offered as string[]).includes(alg));
        assert.equal((await own(await atToken(await aKey(alg)))).status, 200);
      });

    for (const [what, change] of [
      ["a query", (url: string) => `${url}?a=b`],
      ["a fragment", (url: string) => `${url}#a`],
      ["capitals in scheme and host", (url: string) => url.replace("http://l", "HTTP://L")],
      ["dots in the path", (url: string) => url.replace("/token", "/x/../token")],
    ] as const)
      it(`with ${what} in htu, which means the same (RFC 9449 §4.3)`, async () => {
        const htu = change(`${server.issuer}/token`);
        assert.equal((await own(await atToken(key, { htu }))).status, 200);
      });

    for (const seconds of [-200, 200])
      it(`by a clock that is ${seconds} seconds off (RFC 9449 §11.1)`, async () => {
        assert.equal((await own(await atToken(key, { iat: now() + seconds }))).status, 200);
      });

    it("with claims that nobody knows (RFC 9449 §4.2)", async () => {
      assert.equal((await own(await atToken(key, { note: "x" }))).status, 200);
    });
  });

  describe("proofs are refused", () => {
    const privately = async () => ({ ...(await exportJWK(key.privateKey)) });
    const wrong: Record<string, [clause: string, make: () => Promise<string>]> = {
      "that are no JWT": ["RFC 9449 §4.3", async () => "nonsense"],
      "that are two": ["RFC 9449 §4.3", async () => `${await atToken()}, ${await atToken()}`],
      "of another type": ["RFC 9449 §4.3", async () => atToken(key, {}, { typ: "JWT" })],
      "of no type": ["RFC 9449 §4.3", async () => atToken(key, {}, { typ: undefined })],
      "without a signature": [
        "RFC 9449 §4.3",
        async () => {
          const [, claims] = (await atToken()).split(".");
          const header = { typ: "dpop+jwt", alg: "none", jwk: key.jwk };
          return `${Buffer.from(JSON.stringify(header)).toString("base64url")}.${claims}.`;
        },
      ],
      "signed with a shared secret": [
        "RFC 9449 §4.3",
        async () =>
          new SignJWT({ jti: "x", htm: "POST", htu: `${server.issuer}/token`, iat: now() })
            .setProtectedHeader({
              alg: "HS256",
              typ: "dpop+jwt",
              jwk: { kty: "oct", k: "c2VjcmV0" } as never,
            })
            .sign(Buffer.from("secret".repeat(6))),
      ],
      "signed with an algorithm that is not offered": [
        "RFC 9449 §4.3",
        async () => atToken(await aKey("ES384")),
      ],
      "without the key": ["RFC 9449 §4.2", async () => atToken(key, {}, { jwk: undefined })],
      "with the private key": [
        "RFC 9449 §4.3",
        async () => atToken(key, {}, { jwk: await privately() }),
      ],
      "signed with another key than they show": [
        "RFC 9449 §4.3",
        async () => {
          const { kty, crv, x, y } = key.jwk;
          return atToken(thief, {}, { jwk: { kty, crv, x, y } });
        },
      ],
      "changed after they were signed": [
        "RFC 9449 §4.3",
        async () => {
          const [header, claims = "", signature] = (await atToken()).split(".");
          const read = JSON.parse(Buffer.from(claims, "base64url").toString());
          const changed = JSON.stringify({ ...read, jti: "another" });
          return `${header}.${Buffer.from(changed).toString("base64url")}.${signature}`;
        },
      ],
      "without jti": ["RFC 9449 §4.2", async () => atToken(key, { jti: undefined })],
      "with a jti that is no text": ["RFC 9449 §4.2", async () => atToken(key, { jti: 1 })],
      "without htm": ["RFC 9449 §4.2", async () => atToken(key, { htm: undefined })],
      "for another method": ["RFC 9449 §4.3", async () => atToken(key, { htm: "GET" })],
      "without htu": ["RFC 9449 §4.2", async () => atToken(key, { htu: undefined })],
      "for another endpoint": [
        "RFC 9449 §4.3",
        async () => atToken(key, { htu: `${server.issuer}/me` }),
      ],
      "for another server": [
        "RFC 9449 §4.3",
        async () => atToken(key, { htu: "https://other.example/token" }),
      ],
      "for another port": [
        "RFC 9449 §4.3",
        async () => atToken(key, { htu: `${server.demoOrigin}/token` }),
      ],
      "for a part of the address": ["RFC 9449 §4.3", async () => atToken(key, { htu: "/token" })],
      "without iat": ["RFC 9449 §4.2", async () => atToken(key, { iat: undefined })],
      "with an iat that is no number": ["RFC 9449 §4.2", async () => atToken(key, { iat: "now" })],
      "with a nonce that is no text": ["RFC 9449 §4.2", async () => atToken(key, { nonce: 1 })],
      "after their end": ["RFC 7519 §4.1.4", async () => atToken(key, { exp: now() - 60 })],
      "with an extension that must be understood": [
        "RFC 7515 §4.1.11",
        async () => {
          const { kty, crv, x, y } = key.jwk;
          const jwk = { kty, crv, x, y };
          const header = { alg: key.alg, typ: "dpop+jwt", jwk, crit: ["x"], x: 1 };
          return new SignJWT({ jti: "y", htm: "POST", htu: `${server.issuer}/token`, iat: now() })
            .setProtectedHeader(header as never)
            .sign(key.privateKey, { crit: { x: true } });
        },
      ],
    };
    for (const [what, [clause, make]] of Object.entries(wrong))
      it(`${what} (${clause})`, async () => {
        const answer = await own(await make());
        assert.equal(answer.status, 400);
        assert.equal(errorOf(answer), "invalid_dpop_proof");
      });

    for (const [what, seconds] of [
      ["too old", -400],
      ["too far ahead", 400],
    ] as const)
      it(`that are ${what}, with a nonce to do better (RFC 9449 §4.3, §8)`, async () => {
        const answer = await own(await atToken(key, { iat: now() + seconds }));
        assert.equal(answer.status, 400);
        assert.equal(errorOf(answer), "use_dpop_nonce");
        assert.ok(answer.headers["dpop-nonce"]);
      });

    it("when they come again (RFC 9449 §11.1)", async () => {
      const dpop = await atToken();
      assert.equal((await own(dpop)).status, 200);
      assert.equal((await own(dpop)).status, 400);
    });

    it("when they come again with another signature (RFC 9449 §11.1)", async () => {
      const jti = randomUUID();
      assert.equal((await own(await atToken(key, { jti }))).status, 200);
      assert.equal((await own(await atToken(key, { jti }))).status, 400);
    });

    it("when they come to two nodes at the same time, but one (RFC 9449 §11.1)", async () => {
      const dpop = await atToken();
      const there = new RelyingParty(node, machine.credentials);
      const answers = await Promise.all(
        Array.from({ length: 12 }, async (_, turn) =>
          (turn % 2 === 0 ? machine : there).token(
            { grant_type: "client_credentials" },
            headersOf(machine, dpop),
          ),
        ),
      );
      assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    });

    it("and the code they came with is still good (RFC 9449 §5)", async () => {
      const code = await codeOf(app);
      const wrong = await app.redeem(code, {}, headersOf(app, await atToken(key, { htm: "GET" })));
      assert.equal(errorOf(wrong), "invalid_dpop_proof");
      assert.equal((await redeem(app, code)).status, 200);
    });
  });

  describe("nonces", () => {
    const aNonce = async (): Promise<string> => {
      const { headers } = await own(await atToken(key, { iat: now() - 400 }));
      return String(headers["dpop-nonce"]);
    };

    it("of the server are taken (RFC 9449 §8)", async () => {
      assert.equal((await own(await atToken(key, { nonce: await aNonce() }))).status, 200);
    });

    it("stand for the clock that a client has not (RFC 9449 §8, §11.1)", async () => {
      const changes = { nonce: await aNonce(), iat: 1 };
      assert.equal((await own(await atToken(key, changes))).status, 200);
    });

    it("of another node are taken (RFC 9449 §8)", async () => {
      const dpop = await atToken(key, { nonce: await aNonce() });
      const there = new RelyingParty(node, machine.credentials);
      const fields = { grant_type: "client_credentials" };
      assert.equal((await there.token(fields, headersOf(machine, dpop))).status, 200);
    });

    it("of nobody are refused, with one that works (RFC 9449 §8)", async () => {
      const answer = await own(await atToken(key, { nonce: "made-up" }));
      assert.deepEqual([answer.status, errorOf(answer)], [400, "use_dpop_nonce"]);
      const nonce = String(answer.headers["dpop-nonce"]);
      assert.equal((await own(await atToken(key, { nonce }))).status, 200);
    });

    it("do not make a proof good twice (RFC 9449 §11.1)", async () => {
      const dpop = await atToken(key, { nonce: await aNonce() });
      assert.equal((await own(dpop)).status, 200);
      assert.equal((await own(dpop)).status, 400);
    });

    it("at a resource are asked for with a challenge (RFC 9449 §9)", async () => {
      const { access_token: token = "" } = await tokensOf();
      const answer = await userinfo(token, await atUserinfo(token, key, { nonce: "made-up" }));
      assert.equal(answer.status, 401);
      assert.match(answer.headers["www-authenticate"] ?? "", /DPoP .*error="use_dpop_nonce"/);
      assert.ok(answer.headers["dpop-nonce"]);
    });
  });

  describe("tokens", () => {
    it("are said to be bound (RFC 9449 §5)", async () => {
      assert.equal((await tokensOf())["token_type"], "DPoP");
    });

    it("are not said to be bound when nothing was proved (RFC 9449 §5)", async () => {
      assert.equal(json(await app.redeem(await codeOf(app)))["token_type"], "Bearer");
    });

    it("are known with the key they are bound to (RFC 9449 §6.2)", async () => {
      const { access_token: token } = await tokensOf();
      const known = json(await app.post("/token/introspection", { token }));
      assert.deepEqual(known["cnf"], { jkt: key.thumbprint });
      assert.equal(known["token_type"], "DPoP");
    });

    it("are not issued without a proof to a client that registered so (RFC 9449 §5.2)", async () => {
      const answer = await bound.redeem(await codeOf(bound));
      assert.equal(answer.status, 400);
      assert.equal(json(answer)["access_token"], undefined);
    });

    it("are not refreshed without a proof for a client that registered so (RFC 9449 §5.2)", async () => {
      const { refresh_token: token } = await tokensOf(bound);
      assert.equal((await refresh(bound, token)).status, 400);
    });
  });

  describe("refresh tokens", () => {
    it("of a public client need a proof (RFC 9449 §5)", async () => {
      const { refresh_token: token } = await tokensOf(open);
      assert.equal(errorOf(await refresh(open, token)), "invalid_grant");
    });

    it("of a public client need a proof of the same key (RFC 9449 §5)", async () => {
      const { refresh_token: token } = await tokensOf(open);
      assert.equal(errorOf(await refresh(open, token, await atToken(thief))), "invalid_grant");
    });

    it("of a public client work with that key, and stay bound to it (RFC 9449 §5)", async () => {
      const { refresh_token: token } = await tokensOf(open);
      const next = json(await refresh(open, token, await atToken()));
      assert.equal(next["token_type"], "DPoP");
      const stolen = await refresh(open, String(next["refresh_token"]), await atToken(thief));
      assert.equal(errorOf(stolen), "invalid_grant");
    });

    it("of a client with a secret are bound to the client, so that keys may change (RFC 9449 §5)", async () => {
      const { refresh_token: token } = await tokensOf(app);
      const answer = await refresh(app, token, await atToken(thief));
      assert.equal(answer.status, 200);
      const { access_token: next } = json(answer);
      const known = json(await app.post("/token/introspection", { token: String(next) }));
      assert.deepEqual(known["cnf"], { jkt: thief.thumbprint });
    });
  });

  describe("a resource", () => {
    let token: string;
    before(async () => {
      ({ access_token: token = "" } = await tokensOf());
    });

    it("opens with the token and a proof (RFC 9449 §7.1)", async () => {
      const answer = await userinfo(token, await atUserinfo(token));
      assert.equal(json(answer)["sub"], user.id);
    });

    const refused: Record<string, [clause: string, ask: () => Promise<Answer>]> = {
      "to a bound token without a proof": ["RFC 9449 §7.1", async () => userinfo(token)],
      "to a bound token sent as Bearer": [
        "RFC 9449 §7.2",
        async () => userinfo(token, undefined, "Bearer"),
      ],
      "to a bound token sent as Bearer beside a proof": [
        "RFC 9449 §7.2",
        async () => userinfo(token, await atUserinfo(token), "Bearer"),
      ],
      "to a proof of another key": [
        "RFC 9449 §7.1",
        async () => userinfo(token, await atUserinfo(token, thief)),
      ],
      "to a proof without the token's hash": [
        "RFC 9449 §4.3",
        async () => userinfo(token, await atUserinfo(token, key, { ath: undefined })),
      ],
      "to a proof for another token": [
        "RFC 9449 §4.3",
        async () => userinfo(token, await atUserinfo("another", key)),
      ],
      "to a proof for another method": [
        "RFC 9449 §4.3",
        async () => userinfo(token, await atUserinfo(token, key, { htm: "POST" })),
      ],
      "to a proof for the token endpoint": [
        "RFC 9449 §4.3",
        async () =>
          userinfo(token, await atUserinfo(token, key, { htu: `${server.issuer}/token` })),
      ],
      "to a token that is not bound, sent as DPoP": [
        "RFC 9449 §7.1",
        async () => {
          const { access_token: plain } = json(await app.redeem(await codeOf(app)));
          return userinfo(String(plain), await atUserinfo(String(plain)));
        },
      ],
      "to a bound token in the body": [
        "RFC 9449 §7.1",
        async () =>
          send(server, {
            path: "/me",
            fields: { access_token: token },
            headers: { dpop: await atUserinfo(token, key, { htm: "POST" }) },
          }),
      ],
    };
    for (const [what, [clause, ask]] of Object.entries(refused))
      it(`stays closed ${what} (${clause})`, async () => {
        const answer = await ask();
        assert.ok(answer.status === 400 || answer.status === 401, answer.text);
        assert.ok(errorOf(answer));
        assert.equal(answer.text.includes(user.id), false);
      });

    it("opens once with each proof (RFC 9449 §11.1)", async () => {
      const dpop = await atUserinfo(token);
      assert.equal((await userinfo(token, dpop)).status, 200);
      assert.equal((await userinfo(token, dpop)).status, 401);
    });

    it("says with which algorithms to prove (RFC 9449 §7.1)", async () => {
      const answer = await userinfo(token, await atUserinfo(token, thief));
      assert.match(answer.headers["www-authenticate"] ?? "", /DPoP .*algs="[^"]*ES256/);
    });

    it("says that it takes both kinds to who brings none (RFC 9449 §7.1)", async () => {
      const { headers } = await send(server, { path: "/me" });
      assert.match(headers["www-authenticate"] ?? "", /Bearer .*DPoP /);
    });
  });

  describe("codes", () => {
    it("that are bound are redeemed with that key (RFC 9449 §10)", async () => {
      const code = await codeOf(app, { dpop_jkt: key.thumbprint });
      assert.equal((await redeem(app, code)).status, 200);
    });

    it("that are bound are not redeemed with another key (RFC 9449 §10)", async () => {
      const code = await codeOf(app, { dpop_jkt: key.thumbprint });
      assert.equal(errorOf(await redeem(app, code, thief)), "invalid_grant");
    });

    it("that are bound are not redeemed without a proof (RFC 9449 §10)", async () => {
      const code = await codeOf(app, { dpop_jkt: key.thumbprint });
      assert.equal(errorOf(await app.redeem(code)), "invalid_grant");
    });

    const push = async (by: ClientKey, changes: Fields = {}) => {
      const dpop = await proof(by, { htu: `${server.issuer}/request` });
      return app.post("/request", app.parameters(changes), headersOf(app, dpop));
    };
    const codeFrom = async (pushed: Answer): Promise<string> => {
      const requestUri = String(json(pushed)["request_uri"]);
      const query = { client_id: app.credentials.clientId, request_uri: requestUri };
      return response(await browser.open(`/auth?${new URLSearchParams(query)}`))["code"] ?? "";
    };

    it("are bound to the key that a pushed request was proved with (RFC 9449 §10.1)", async () => {
      const code = await codeFrom(await push(key));
      assert.equal(errorOf(await redeem(app, code, thief)), "invalid_grant");
    });

    it("of a pushed and proved request are redeemed with its key (RFC 9449 §10.1)", async () => {
      assert.equal((await redeem(app, await codeFrom(await push(key)))).status, 200);
    });

    it("are bound to the dpop_jkt of a pushed request (RFC 9449 §10)", async () => {
      const fields = app.parameters({ dpop_jkt: key.thumbprint });
      const code = await codeFrom(await app.post("/request", fields));
      assert.equal(errorOf(await redeem(app, code, thief)), "invalid_grant");
    });

    it("cannot be bound to two keys (RFC 9449 §10.1)", async () => {
      const answer = await push(key, { dpop_jkt: thief.thumbprint });
      assert.equal(answer.status, 400);
    });

    it("are not asked for with a proof for another endpoint (RFC 9449 §10.1)", async () => {
      const dpop = await atToken();
      const answer = await app.post("/request", app.parameters(), headersOf(app, dpop));
      assert.equal(errorOf(answer), "invalid_dpop_proof");
    });

    it("bound in a request object stay bound whatever the address says (RFC 9449 §10)", async () => {
      const signed = await register({ jwks: { keys: [key.jwk] } });
      const { clientId } = signed.credentials;
      const request = await sign(key, {
        ...signed.parameters({ dpop_jkt: key.thumbprint }),
        iss: clientId,
        aud: server.issuer,
      });
      const query = { client_id: clientId, request, dpop_jkt: thief.thumbprint };
      const answer = await browser.open(`/auth?${new URLSearchParams(query)}`);
      const code = response(answer)["code"] ?? "";
      assert.equal(errorOf(await redeem(signed, code, thief)), "invalid_grant");
    });
  });
});
