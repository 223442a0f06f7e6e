import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { CompactEncrypt, decodeJwt, SignJWT, UnsecuredJWT } from "jose";
import { errorOf, json, RelyingParty, response, send, walk, WebBrowser } from "../support/rp.ts";
import type { Answer, Fields } from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";
import { aKey, assertion, now, sign, type ClientKey } from "../support/signing.ts";

type Changes = Readonly<Record<string, unknown>>;

/** RFC 9101 and OIDC Core §6.1: authorization requests that the client signed. */
describe("request objects", () => {
  let server: TestServer;
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let key: ClientKey;
  let stranger: ClientKey;
  let app: RelyingParty;
  let other: RelyingParty;
  const at = (name: string) => issuerAt(server, name);

  before(async () => {
    server = await aServerWith({ open: "conformance", bank: "fapi2", old: "fapi1" });
    user = await aUser(server);
    browser = new WebBrowser(server);
    [key, stranger] = [await aKey(), await aKey()];
    app = await register({ jwks: { keys: [key.jwk] } });
    other = await register();
    await walk(server, browser, app.authorization(), user);
  });
  after(() => server.stop());

  const register = async (metadata = {}, name?: string) =>
    new RelyingParty(
      name === undefined ? server : at(name),
      await aClient(server, { first_party: true, ...metadata }, name),
    );

  const claimsOf = (changes: Changes = {}, rp = app, issuer = server.issuer): Changes => ({
    ...rp.parameters(),
    iss: rp.credentials.clientId,
    aud: issuer,
    exp: now() + 60,
    nbf: now(),
    ...changes,
  });

  const pathOf = (request: string, more: Fields = {}, rp = app, base = "") =>
    `${base}/auth?${new URLSearchParams({ client_id: rp.credentials.clientId, request, ...more })}`;

  const ask = async (request: string, more: Fields = {}, rp = app): Promise<Answer> =>
    browser.open(pathOf(request, more, rp));

  const signed = async (changes: Changes = {}, header: Changes = {}) =>
    sign(key, claimsOf(changes), header);

  async function idTokenOf(answer: Answer): Promise<Record<string, unknown>> {
    const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
    return decodeJwt(String(tokens["id_token"]));
  }

  describe("are taken", () => {
    it("signed by the client, by value (RFC 9101 §5.1, OIDC Core §6.1)", async () => {
      const answer = await ask(await signed({ state: "signed" }));
      assert.equal(response(answer)["state"], "signed");
      assert.equal((await idTokenOf(answer))["sub"], user.id);
    });

    for (const typ of ["oauth-authz-req+jwt", "JWT"])
      it(`with the type ${typ} (RFC 9101 §10.8)`, async () => {
        assert.ok(response(await ask(await signed({}, { typ })))["code"]);
      });

    it("meant for several servers of which this is one (RFC 9101 §4)", async () => {
      const aud = ["https://other.example", server.issuer];
      assert.ok(response(await ask(await signed({ aud })))["code"]);
    });

    it("with claims as JSON, not as text (OIDC Core §6.1)", async () => {
      const claims = { id_token: { email: null } };
      const answer = await ask(await signed({ claims, scope: "openid email" }));
      assert.equal((await idTokenOf(answer))["email"], user.email);
    });

    it("with numbers as JSON, not as text (OIDC Core §6.1)", async () => {
      const answer = await ask(await signed({ max_age: 3600 }));
      assert.equal(typeof (await idTokenOf(answer))["auth_time"], "number");
    });

    it("beside the parameters that OAuth demands, if they agree (OIDC Core §6.1)", async () => {
      const answer = await ask(await signed(), { response_type: "code", scope: "openid" });
      assert.ok(response(answer)["code"]);
    });
  });

  describe("count alone", () => {
    for (const [name, value, seen] of [
      ["state", "outside", (answer: Answer) => response(answer)["state"]],
      ["nonce", "outside", async (answer: Answer) => (await idTokenOf(answer))["nonce"]],
      ["redirect_uri", "https://evil.example/", (answer: Answer) => answer.location],
    ] as const) {
      it(`whatever ${name} is outside (RFC 9101 §6.3)`, async () => {
        const [plain, mixed] = [
          await ask(await signed()),
          await ask(await signed(), { [name]: value }),
        ];
        const [one, two] = [await seen(plain), await seen(mixed)];
        if (name === "redirect_uri")
          return assert.ok(two?.toString().startsWith("https://rp.example/"));
        assert.equal(two, one);
      });

      if (name !== "redirect_uri")
        it(`so that ${name} is not taken from outside where they have none (RFC 9101 §6.3)`, async () => {
          const answer = await ask(await signed({ [name]: undefined }), { [name]: value });
          assert.equal(await seen(answer), undefined);
        });
    }

    it("so that the scope is not widened from outside (RFC 9101 §6.3)", async () => {
      const answer = await ask(await signed(), { scope: "openid email profile" });
      const tokens = json(await app.redeem(response(answer)["code"] ?? ""));
      assert.equal(tokens["scope"], "openid");
    });

    it("so that a challenge outside does not help (RFC 9101 §6.3)", async () => {
      const request = await signed({ code_challenge: undefined, code_challenge_method: undefined });
      const answer = await ask(request, {
        code_challenge: "A".repeat(43),
        code_challenge_method: "S256",
      });
      assert.equal(response(answer)["error"], "invalid_request");
    });
  });

  describe("are refused", () => {
    const objects: Record<string, [clause: string, make: () => Promise<string>]> = {
      "without a signature": ["RFC 9101 §10.2", async () => new UnsecuredJWT(claimsOf()).encode()],
      "with the signature cut off": [
        "RFC 9101 §6.2",
        async () => (await signed()).replace(/[^.]+$/, ""),
      ],
      "signed with a key of somebody else": [
        "RFC 9101 §6.2",
        async () => sign(stranger, claimsOf(), { kid: key.thumbprint }),
      ],
      "signed with a key that only the object brings": [
        "RFC 8725 §3.5",
        async () => sign(stranger, claimsOf(), { kid: undefined, jwk: stranger.jwk }),
      ],
      "changed after they were signed": [
        "RFC 9101 §6.2",
        async () => {
          const [header, , signature] = (await signed()).split(".");
          const claims = JSON.stringify(claimsOf({ scope: "openid email" }));
          return [header, Buffer.from(claims).toString("base64url"), signature].join(".");
        },
      ],
      "signed with the public key as a secret": [
        "RFC 8725 §3.1",
        async () =>
          new SignJWT(claimsOf())
            .setProtectedHeader({ alg: "HS256" })
            .sign(Buffer.from(JSON.stringify(key.jwk))),
      ],
      "signed with the client's secret where only keys are offered": [
        "RFC 9101 §6.2",
        async () =>
          new SignJWT(claimsOf())
            .setProtectedHeader({ alg: "HS256" })
            .sign(Buffer.from(app.credentials.clientSecret)),
      ],
      "with an extension that must be understood": [
        "RFC 7515 §4.1.11",
        async () => {
          const header = { alg: key.alg, crit: ["exp"], exp: 1 };
          return new SignJWT(claimsOf())
            .setProtectedHeader(header)
            .sign(key.privateKey, { crit: { exp: true } });
        },
      ],
      "of another type": ["RFC 8725 §3.11", async () => signed({}, { typ: "dpop+jwt" })],
      "of another issuer": ["RFC 9101 §4", async () => signed({ iss: other.credentials.clientId })],
      "of no issuer": ["RFC 9101 §4", async () => signed({ iss: undefined })],
      "for another server": ["RFC 9101 §4", async () => signed({ aud: "https://other.example" })],
      "for no server": ["RFC 9101 §4", async () => signed({ aud: undefined })],
      "after their time": ["RFC 7519 §4.1.4", async () => signed({ exp: now() - 60 })],
      "before their time": ["RFC 7519 §4.1.5", async () => signed({ nbf: now() + 300 })],
      "with a time that is none": ["RFC 7519 §4.1.4", async () => signed({ exp: "tomorrow" })],
      "issued in the future": [
        "RFC 7519 §4.1.6",
        async () => signed({ exp: undefined, nbf: undefined, iat: now() + 300 }),
      ],
      "for another client": [
        "RFC 9101 §5",
        async () => signed({ client_id: other.credentials.clientId }),
      ],
      "with a request inside": ["RFC 9101 §4", async () => signed({ request: await signed() })],
      "with a request_uri inside": [
        "RFC 9101 §4",
        async () => signed({ request_uri: "https://rp.example/request" }),
      ],
      "that are no JWT": ["RFC 9101 §6.3", async () => "nonsense"],
    };
    for (const [what, [clause, make]] of Object.entries(objects))
      it(`${what} (${clause})`, async () => {
        const answer = await ask(await make());
        assert.equal(errorOf(answer), "invalid_request_object");
        assert.equal(answer.location, undefined, "nobody can be trusted with the answer");
      });

    it("without the client inside (RFC 9101 §5)", async () => {
      const answer = await ask(await signed({ client_id: undefined }));
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("without the client outside (RFC 9101 §5)", async () => {
      const answer = await browser.open(`/auth?request=${await signed()}`);
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("with another response_type than outside (OIDC Core §6.1)", async () => {
      const answer = await ask(await signed(), { response_type: "none" });
      assert.equal(errorOf(answer), "invalid_request_object");
    });

    it("with an address inside that is not registered (RFC 9101 §6.3)", async () => {
      const answer = await ask(await signed({ redirect_uri: "https://evil.example/" }));
      assert.equal(errorOf(answer), "invalid_redirect_uri");
      assert.equal(answer.location, undefined);
    });

    it("signed with another algorithm than the client registered (RFC 9101 §6.2)", async () => {
      const ps256 = await aKey("PS256");
      const rp = await register({
        jwks: { keys: [key.jwk, ps256.jwk] },
        request_object_signing_alg: "PS256",
      });
      const good = await ask(await sign(ps256, claimsOf({}, rp)), {}, rp);
      assert.ok(response(good)["code"]);
      const wrong = await ask(await sign(key, claimsOf({}, rp)), {}, rp);
      assert.equal(errorOf(wrong), "invalid_request_object");
    });

    it("signed with an algorithm that is not offered (RFC 9101 §6.2)", async () => {
      const es384 = await aKey("ES384");
      const rp = await register({ jwks: { keys: [es384.jwk] } });
      const answer = await ask(await sign(es384, claimsOf({}, rp)), {}, rp);
      assert.equal(errorOf(answer), "invalid_request_object");
    });

    it("where they are somewhere that the client did not register (RFC 9101 §7)", async () => {
      const address = { request_uri: "https://rp.example/request.jwt" };
      const answer = await browser.open(app.authorization(address));
      assert.equal(response(answer)["error"], "invalid_request_uri");
    });
  });

  describe("are required", () => {
    it("of a client that registered so (RFC 9101 §10.5)", async () => {
      const strict = await register({
        jwks: { keys: [key.jwk] },
        require_signed_request_object: true,
      });
      const plain = await browser.open(strict.authorization());
      assert.equal(response(plain)["error"], "invalid_request");
      const answer = await ask(await sign(key, claimsOf({}, strict)), {}, strict);
      assert.ok(response(answer)["code"]);
    });

    it("at an issuer that says so (RFC 9101 §10.5)", async () => {
      const path = "/old/.well-known/openid-configuration";
      assert.equal(json(await send(server, { path }))["require_signed_request_object"], true);
    });
  });

  describe("are described", () => {
    let metadata: Record<string, unknown>;
    before(async () => {
      metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
    });

    it("as taken by value (OIDC Discovery §3)", () => {
      assert.equal(metadata["request_parameter_supported"], true);
    });

    it("as taken by reference from where they were registered (OIDC Discovery §3)", () => {
      assert.equal(metadata["request_uri_parameter_supported"], true);
      assert.equal(metadata["require_request_uri_registration"], true);
    });

    it("with the algorithms that are taken, and none is none of them (RFC 9101 §9)", () => {
      const { request_object_signing_alg_values_supported: algorithms } = metadata;
      assert.deepEqual((algorithms as string[]).includes("none"), false);
      assert.deepEqual((algorithms as string[]).includes("HS256"), false);
    });
  });

  describe("that are encrypted", () => {
    let rp: RelyingParty;
    before(async () => {
      rp = await register({
        jwks: { keys: [key.jwk] },
        request_object_encryption_alg: "A256KW",
        request_object_encryption_enc: "A256GCM",
      });
    });
    /** OIDC Core §10.2: the key is made of the client's secret. */
    const encrypted = async (jwt: string, secret = rp.credentials.clientSecret, alg = "A256KW") =>
      new CompactEncrypt(Buffer.from(jwt))
        .setProtectedHeader({ alg, enc: "A256GCM", cty: "JWT" })
        .encrypt(createHash("sha256").update(secret).digest());
    const inside = async (changes: Changes = {}) => sign(key, claimsOf(changes, rp));

    it("are read, and the signature inside is verified (RFC 9101 §6.1, OIDC Core §10.2)", async () => {
      const answer = await ask(await encrypted(await inside({ state: "secret" })), {}, rp);
      assert.equal(response(answer)["state"], "secret");
    });

    it("are read with the key itself, too (OIDC Core §10.2)", async () => {
      const request = await encrypted(await inside({ state: "secret" }), undefined, "dir");
      assert.equal(response(await ask(request, {}, rp))["state"], "secret");
    });

    for (const [what, make] of [
      ["with another secret", async () => encrypted(await inside(), "another")],
      ["and not signed", async () => encrypted(new UnsecuredJWT(claimsOf({}, rp)).encode())],
      ["and signed by another", async () => encrypted(await sign(stranger, claimsOf({}, rp)))],
      [
        "and changed",
        async () => (await encrypted(await inside())).replace(/[^.]+$/, "AAAAAAAAAAAAAAAAAAAAAA"),
      ],
    ] as const)
      it(`${what} are refused (RFC 9101 §6.1)`, async () => {
        assert.equal(errorOf(await ask(await make(), {}, rp)), "invalid_request_object");
      });
  });

  describe("at the conformance preset", () => {
    let rp: RelyingParty;
    before(async () => {
      rp = await register({ request_object_signing_alg: "HS256" }, "open");
    });
    const openWith = async (secret: string) => {
      const request = await new SignJWT(claimsOf({}, rp, at("open").issuer))
        .setProtectedHeader({ alg: "HS256" })
        .sign(Buffer.from(secret));
      return new WebBrowser(at("open")).open(pathOf(request, {}, rp, "/open"));
    };

    it("may be signed with the client's secret (OIDC Core §6.1)", async () => {
      assert.equal((await openWith(rp.credentials.clientSecret)).status, 303);
    });

    it("may not be signed with another secret (RFC 9101 §6.2)", async () => {
      assert.equal(errorOf(await openWith("s".repeat(43))), "invalid_request_object");
    });
  });

  it("with a secret cannot be registered where they are not taken (OIDC Registration §2)", async () => {
    await assert.rejects(
      register({ request_object_signing_alg: "HS256" }),
      /request_object_signing/,
    );
  });

  const FAPI = {
    token_endpoint_auth_method: "private_key_jwt",
    dpop_bound_access_tokens: true,
  };
  const LONG_LIVED: Record<string, () => Changes> = {
    "without an end": () => ({ exp: undefined }),
    "without a beginning": () => ({ nbf: undefined }),
    "without an audience": () => ({ aud: undefined }),
    "good for more than an hour": () => ({ exp: now() + 3700, nbf: now() }),
    "that began more than an hour ago": () => ({ exp: now() + 60, nbf: now() - 3700 }),
  };

  describe("at the fapi2 preset", () => {
    let rp: RelyingParty;
    before(async () => {
      const metadata = {
        ...FAPI,
        require_pushed_authorization_requests: true,
        jwks: { keys: [key.jwk] },
      };
      rp = await register(metadata, "bank");
    });
    const push = async (changes: Changes) => {
      const request = await sign(key, claimsOf(changes, rp, at("bank").issuer));
      const who = await assertion(at("bank"), rp.credentials.clientId, key);
      return rp.post("/request", { ...who, request }, {});
    };

    it("are pushed (FAPI 2.0 Message Signing §5.3)", async () => {
      assert.equal((await push({})).status, 201);
    });
    for (const [what, changes] of Object.entries(LONG_LIVED))
      it(`${what} are refused (FAPI 2.0 Message Signing §5.3)`, async () => {
        assert.equal(errorOf(await push(changes())), "invalid_request_object");
      });
  });

  it("of a client with the profile fapi2 are good for an hour (FAPI 2.0 Message Signing §5.3)", async () => {
    const rp = await register({ security_profile: "fapi2", jwks: { keys: [key.jwk] } });
    const push = async (changes: Changes) => {
      const who = await assertion(server, rp.credentials.clientId, key);
      const request = await sign(key, claimsOf(changes, rp));
      return rp.post("/request", { ...who, request }, {});
    };
    assert.equal((await push({})).status, 201);
    assert.equal(errorOf(await push({ exp: now() + 3700 })), "invalid_request_object");
  });

  describe("at the fapi1 preset", () => {
    let rp: RelyingParty;
    let rs256: ClientKey;
    before(async () => {
      rs256 = await aKey("RS256");
      const metadata = {
        ...FAPI,
        require_signed_request_object: true,
        jwks: { keys: [key.jwk, rs256.jwk] },
      };
      rp = await register(metadata, "old");
    });
    const openWith = async (changes: Changes = {}, by = key) => {
      const claims = claimsOf({ response_mode: "jwt", ...changes }, rp, at("old").issuer);
      const path = pathOf(await sign(by, claims), {}, rp, "/old");
      return new WebBrowser(at("old")).open(path);
    };
    /** What an error that goes back to the client says: it is in a JWT. */
    const refusal = (answer: Answer): unknown => {
      const { response: jwt } = answer.location === undefined ? {} : response(answer);
      return jwt === undefined ? errorOf(answer) : decodeJwt(jwt)["error"];
    };

    it("lead to the sign-in (FAPI 1.0 Advanced §5.2.2)", async () => {
      const answer = await openWith();
      assert.match(answer.location ?? "", /\/old\/interaction\//);
    });

    for (const [what, changes] of Object.entries(LONG_LIVED))
      it(`${what} are refused (FAPI 1.0 Advanced §5.2.2)`, async () => {
        assert.equal(refusal(await openWith(changes())), "invalid_request_object");
      });

    it("are the only way to ask (FAPI 1.0 Advanced §5.2.2)", async () => {
      const answer = await new WebBrowser(at("old")).open(
        rp.authorization({ response_mode: "jwt" }),
      );
      assert.equal(refusal(answer), "invalid_request");
    });

    it("signed with RS256 are refused (FAPI 1.0 Advanced §8.6)", async () => {
      assert.equal(refusal(await openWith({}, rs256)), "invalid_request_object");
    });

    it("that want a code in the open are refused (FAPI 1.0 Advanced §5.2.2)", async () => {
      const answer = await openWith({ response_mode: "query" });
      assert.equal(response(answer)["error"], "invalid_request");
    });

    it("with openid and no nonce are refused (FAPI 1.0 Baseline §5.2.2.2)", async () => {
      assert.equal(refusal(await openWith({ nonce: undefined })), "invalid_request");
    });

    it("with neither openid nor state are refused (FAPI 1.0 Baseline §5.2.2.3)", async () => {
      const answer = await openWith({ scope: undefined, state: undefined, nonce: undefined });
      assert.equal(refusal(answer), "invalid_request");
    });
  });
});
