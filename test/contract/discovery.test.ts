import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import * as oauth from "oauth4webapi";
import { aHouse, type House, type PresetName } from "../support/presets.ts";
import { aKey, asserted, assertion } from "../support/keys.ts";
import { errorOf, json, RelyingParty, response, send } from "../support/rp.ts";
import { aClient } from "../support/server.ts";

const PRESETS = ["production", "conformance", "fapi2", "fapi1"] as const;
type Metadata = Record<string, unknown>;

/** What the server says about itself, and whether it is so. */
describe("discovery", () => {
  let house: House;
  const documents = {} as Record<PresetName, Metadata>;
  const keys = {} as Record<PresetName, Record<string, string>[]>;

  before(async () => {
    house = await aHouse();
    for (const preset of PRESETS) {
      const { issuer } = house.issuers[preset];
      documents[preset] = json(await at(preset, "/.well-known/openid-configuration"));
      keys[preset] = json(await send(house.server, { path: `${issuer}/jwks` }))["keys"] as [];
    }
  });
  after(() => house.server.stop());

  const at = async (preset: PresetName, path: string) =>
    send(house.server, { path: house.issuers[preset].issuer + path });
  const list = (preset: PresetName, field: string) => documents[preset][field] as string[];

  for (const preset of PRESETS) {
    describe(preset, () => {
      it("is JSON, for scripts of every origin (OIDC Discovery §4.2)", async () => {
        const path = `${house.issuers[preset].issuer}/.well-known/openid-configuration`;
        const headers = { origin: "https://anybody.example" };
        const answer = await send(house.server, { path, headers });
        assert.equal(answer.status, 200);
        assert.ok(answer.headers["access-control-allow-origin"]);
        assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
      });

      it("names the very issuer under which it is found (OIDC Discovery §4.3)", async () => {
        const { issuer } = house.issuers[preset];
        assert.equal(documents[preset]["issuer"], issuer);
        const { issuer: url, ...found } = await oauth
          .discoveryRequest(new URL(issuer), {
            [oauth.allowInsecureRequests]: true,
          })
          .then((answer) => oauth.processDiscoveryResponse(new URL(issuer), answer));
        assert.equal(url, issuer);
        assert.equal(found.token_endpoint, `${issuer}/token`);
      });

      it("is the same document where OAuth clients look (RFC 8414 §3)", async () => {
        const { pathname, origin } = new URL(house.issuers[preset].issuer);
        const path = `${origin}/.well-known/oauth-authorization-server${pathname.replace(/\/$/, "")}`;
        assert.deepEqual(json(await send(house.server, { path })), documents[preset]);
      });

      it("has an issuer without query or fragment (OIDC Discovery §3)", () => {
        const { search, hash } = new URL(String(documents[preset]["issuer"]));
        assert.equal(search + hash, "");
      });

      it("has every field that is required (OIDC Discovery §3)", () => {
        for (const field of [
          "issuer",
          "authorization_endpoint",
          "token_endpoint",
          "jwks_uri",
          "response_types_supported",
          "subject_types_supported",
          "id_token_signing_alg_values_supported",
        ])
          assert.ok(documents[preset][field], field);
      });

      it("leaves out lists that are empty (RFC 8414 §3.2)", () => {
        for (const [field, value] of Object.entries(documents[preset]))
          assert.ok(value !== null && !(Array.isArray(value) && value.length === 0), field);
      });

      it("supports the scope openid (OIDC Discovery §3)", () => {
        assert.ok(list(preset, "scopes_supported").includes("openid"));
      });

      it("never offers alg none, for anything (OIDC Core §2)", () => {
        for (const [field, value] of Object.entries(documents[preset]))
          if (field.endsWith("alg_values_supported"))
            assert.ok(!(value as string[]).includes("none"), field);
      });

      it("offers no symmetric signature of its own (RFC 8725 §3.1)", () => {
        for (const field of ["id_token", "userinfo", "authorization", "introspection"])
          for (const alg of list(preset, `${field}_signing_alg_values_supported`))
            assert.doesNotMatch(alg, /^HS/, field);
      });

      it("says that answers carry iss (RFC 9207 §3)", () => {
        assert.equal(documents[preset]["authorization_response_iss_parameter_supported"], true);
      });

      it("offers S256 and not plain (RFC 7636 §4.2)", () => {
        assert.deepEqual(documents[preset]["code_challenge_methods_supported"], ["S256"]);
      });

      it("says in so many words whether request_uri is fetched, and that it is registered (OIDC Discovery §3)", () => {
        const isFetched = !preset.startsWith("fapi");
        assert.equal(documents[preset]["request_uri_parameter_supported"], isFetched);
        assert.equal(documents[preset]["require_request_uri_registration"] ?? false, isFetched);
      });

      it("names endpoints that are all there (RFC 8414 §2)", async () => {
        for (const [field, address] of Object.entries(documents[preset])) {
          if (!field.endsWith("_endpoint")) continue;
          const isPage = /^(authorization|end_session)_/.test(field);
          const answer = await send(house.server, {
            path: String(address),
            ...(isPage ? {} : { fields: {} }),
          });
          assert.notEqual(answer.status, 404, field);
          assert.notEqual(answer.status, 405, field);
        }
      });

      it("has a registration endpoint just where clients can register (RFC 7591 §3)", async () => {
        const isOpen = preset === "conformance";
        assert.equal(documents[preset]["registration_endpoint"] !== undefined, isOpen);
        const answer = await send(house.server, {
          path: `${house.issuers[preset].issuer}/reg`,
          body: "{}",
          headers: { "content-type": "application/json", "content-length": "2" },
        });
        assert.equal(answer.status === 404, !isOpen);
      });

      it("publishes a key for each algorithm that it signs with (OIDC Discovery §3)", () => {
        const published = keys[preset].map(({ alg }) => alg);
        for (const field of ["id_token", "userinfo", "authorization", "introspection"])
          for (const alg of list(preset, `${field}_signing_alg_values_supported`))
            assert.ok(published.includes(alg), `${field} ${alg}`);
      });

      it("publishes public keys only (RFC 7518 §6)", () => {
        for (const key of keys[preset])
          for (const member of ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
            assert.ok(!(member in key), `${key["kid"]} has ${member}`);
      });

      it("publishes each key under a kid of its own (RFC 7517 §4.5)", () => {
        const ids = keys[preset].map(({ kid }) => kid);
        assert.ok(ids.every((kid) => typeof kid === "string" && kid !== ""));
        assert.equal(new Set(ids).size, ids.length);
      });

      it("says of each key what it is for (RFC 7517 §4.2)", () => {
        for (const { use, alg } of keys[preset]) {
          assert.equal(use, "sig");
          assert.ok(list(preset, "id_token_signing_alg_values_supported").includes(alg ?? ""));
        }
      });

      it("publishes whole keys, RSA of 2048 bits at least (RFC 7518 §3.3, §6.2, §6.3)", () => {
        for (const key of keys[preset]) {
          const members = { RSA: ["n", "e"], EC: ["crv", "x", "y"], OKP: ["crv", "x"] };
          for (const member of members[key["kty"] as keyof typeof members])
            assert.ok(key[member], `${key["kid"]} ${member}`);
          if (key["kty"] === "RSA")
            assert.ok(Buffer.from(key["n"] ?? "", "base64url").length * 8 >= 2048);
        }
      });

      it("answers for its keys alone, as JSON (OIDC Discovery §3, RFC 7517 §5)", async () => {
        const answer = await at(preset, "/jwks");
        assert.match(answer.headers["content-type"] ?? "", /^application\/(jwk-set\+)?json/);
        assert.ok(Array.isArray(json(answer)["keys"]));
      });

      it("registers no client for a response type that it does not offer (OIDC Discovery §3)", async () => {
        const all = ["code", "id_token", "id_token token", "code id_token", "code token", "none"];
        const offered = list(preset, "response_types_supported");
        for (const type of all.filter((each) => !offered.includes(each))) {
          const words = type.split(" ");
          const grants = [
            ...(words.includes("code") ? ["authorization_code"] : []),
            ...(words.some((word) => word !== "code" && word !== "none") ? ["implicit"] : []),
          ];
          const metadata = { response_types: [type], grant_types: grants };
          await assert.rejects(
            house.client(metadata, preset),
            /response_types must be of|at least one/,
          );
        }
      });

      it("registers no client for a way to authenticate that it does not offer (OIDC Discovery §3)", async () => {
        const all = [
          "none",
          "client_secret_basic",
          "client_secret_post",
          "client_secret_jwt",
          "private_key_jwt",
        ];
        const offered = list(preset, "token_endpoint_auth_methods_supported");
        for (const method of all.filter((each) => !offered.includes(each)))
          await assert.rejects(
            house.client({ token_endpoint_auth_method: method }, preset),
            /token_endpoint_auth_method must be/,
            method,
          );
      });

      it("registers no client for a signature that it does not offer (OIDC Discovery §3)", async () => {
        const offered = list(preset, "id_token_signing_alg_values_supported");
        for (const alg of ["none", "HS256", "ES256", "RS256", "PS256", "EdDSA"].filter(
          (each) => !offered.includes(each),
        ))
          await assert.rejects(
            house.client({ id_token_signed_response_alg: alg }, preset),
            /id_token_signed_response_alg must be/,
            alg,
          );
      });

      it("knows no grant that it does not offer (RFC 6749 §5.2)", async () => {
        const offered = list(preset, "grant_types_supported");
        const client = await anyClient(preset);
        const others = [
          "password",
          "urn:ietf:params:oauth:grant-type:saml2-bearer",
          "urn:ietf:params:oauth:grant-type:jwt-bearer",
          "urn:ietf:params:oauth:grant-type:token-exchange",
        ].filter((grant) => !offered.includes(grant));
        assert.ok(others.includes("password"));
        for (const grant of others) {
          assert.equal(errorOf(await client(grant)), "unsupported_grant_type", grant);
        }
      });
    });
  }

  /** Something that asks the token endpoint for a grant, authenticated as the issuer has it. */
  async function anyClient(preset: PresetName) {
    if (preset === "fapi2") {
      const fapi = await house.fapiClient();
      return async (grant: string) => fapi.token({ grant_type: grant });
    }
    if (preset === "fapi1") {
      const key = await aKey("ES256");
      const app = await house.client(
        {
          token_endpoint_auth_method: "private_key_jwt",
          jwks: { keys: [key.jwk] },
          dpop_bound_access_tokens: true,
          require_signed_request_object: true,
        },
        "fapi1",
      );
      const { clientId } = app.credentials;
      const audience = house.issuers.fapi1.issuer;
      return async (grant: string) => {
        const jwt = await assertion(key, { clientId, audience });
        return app.token({ grant_type: grant, ...asserted(jwt) }, {});
      };
    }
    const app = await house.client({}, preset);
    return async (grant: string) => app.token({ grant_type: grant });
  }

  describe("production", () => {
    it("works with every response mode that it offers (OIDC Discovery §3)", async () => {
      const app = await house.client();
      for (const mode of list("production", "response_modes_supported")) {
        const answer = await house.ask(app, { response_mode: mode });
        const isForm = mode.startsWith("form_post");
        const found = isForm ? answer.text : (answer.location ?? "");
        assert.match(found, mode.includes("jwt") ? /response/ : /code/, mode);
        assert.doesNotMatch(found, /error=/, mode);
      }
    });

    it("refuses the response modes that it does not offer (OIDC Discovery §3)", async () => {
      const app = await house.client();
      for (const mode of ["fragment", "fragment.jwt", "web_message", "nonsense"]) {
        const answer = await house.ask(app, { response_mode: mode });
        const { hash, search } = new URL(answer.location ?? "");
        const given = new URLSearchParams(hash === "" ? search : hash.slice(1));
        const jwt = given.get("response");
        const said = jwt === null ? Object.fromEntries(given) : decodeJwt(jwt);
        assert.match(String(said["error"]), /invalid_request|unsupported_response_mode/, mode);
        assert.equal(said["code"], undefined, mode);
      }
    });

    for (const method of ["none", "client_secret_basic", "client_secret_post"])
      it(`lets clients authenticate by ${method}, as it says (OIDC Discovery §3)`, async () => {
        assert.ok(list("production", "token_endpoint_auth_methods_supported").includes(method));
        const app = await house.client({ token_endpoint_auth_method: method });
        const { clientId, clientSecret } = app.credentials;
        const code = await house.codeOf(app);
        const answer =
          method === "client_secret_basic"
            ? await app.redeem(code)
            : await app.redeem(
                code,
                {
                  client_id: clientId,
                  client_secret: method === "none" ? undefined : clientSecret,
                },
                {},
              );
        assert.equal(answer.status, 200, answer.text);
      });

    it("gives clients the grants that it offers (OIDC Discovery §3)", async () => {
      assert.deepEqual(list("production", "grant_types_supported").toSorted(), [
        "authorization_code",
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:openid:params:grant-type:ciba",
      ]);
      const machine = await house.client({
        grant_types: ["client_credentials"],
        redirect_uris: [],
      });
      const asked = await machine.token({ grant_type: "client_credentials" });
      assert.equal(asked.status, 200, asked.text);
      const { refresh_token: token } = await house.tokensOf(await house.client());
      assert.ok(token);
    });

    it("grants the scopes that it offers (RFC 8414 §2)", async () => {
      const scope = list("production", "scopes_supported").join(" ");
      const tokens = await house.tokensOf(await house.client({ scope }), {
        scope,
        prompt: "consent",
      });
      assert.deepEqual(tokens["scope"]?.split(" ").toSorted(), scope.split(" ").toSorted());
    });
  });

  describe("conformance", () => {
    const types = [
      "code",
      "id_token",
      "id_token token",
      "code id_token",
      "code token",
      "code id_token token",
      "none",
    ];
    for (const type of types)
      it(`answers response_type ${type}, as it says (OAuth Multiple Response Types §3)`, async () => {
        assert.ok(list("conformance", "response_types_supported").includes(type));
        const words = type.split(" ");
        const app = await house.client(
          {
            response_types: type === "none" ? ["code", "none"] : [type],
            grant_types: [
              ...(words.includes("code") || type === "none" ? ["authorization_code"] : []),
              ...(words.includes("token") || words.includes("id_token") ? ["implicit"] : []),
            ],
          },
          "conformance",
        );
        const answer = await house.ask(app, { response_type: type }, "conformance");
        const { search, hash } = new URL(answer.location ?? "");
        const given = new URLSearchParams(hash === "" ? search : hash.slice(1));
        assert.ok(given.has("state"), answer.location);
        const names = { code: "code", id_token: "id_token", token: "access_token" } as const;
        for (const [word, name] of Object.entries(names))
          assert.equal(given.has(name), words.includes(word), `${name}: ${answer.location}`);
      });
  });

  describe("fapi2", () => {
    it("says that requests are pushed, and takes no other (RFC 9126 §5)", async () => {
      assert.equal(documents.fapi2["require_pushed_authorization_requests"], true);
      const { app } = await house.fapiClient();
      const answer = await house.ask(app, {}, "fapi2");
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("offers private_key_jwt alone (FAPI 2.0 §5.3.2.1)", () => {
      assert.deepEqual(list("fapi2", "token_endpoint_auth_methods_supported"), ["private_key_jwt"]);
    });

    it("offers no signature but PS256, ES256 and EdDSA (FAPI 2.0 §5.4)", () => {
      for (const [field, algorithms] of Object.entries(documents.fapi2))
        if (field.endsWith("signing_alg_values_supported"))
          for (const alg of algorithms as string[])
            assert.match(alg, /^(PS256|ES256|EdDSA|Ed25519)$/, field);
    });

    it("offers the response type code alone (FAPI 2.0 §5.3.2.2)", () => {
      assert.deepEqual(list("fapi2", "response_types_supported"), ["code"]);
    });
  });

  describe("fapi1", () => {
    it("says that request objects are signed (RFC 9101 §10.5)", () => {
      assert.equal(documents.fapi1["require_signed_request_object"], true);
    });

    it("offers no response type that brings an access token at once (FAPI 1.0 Advanced §5.2.2)", () => {
      for (const type of list("fapi1", "response_types_supported"))
        assert.ok(!type.split(" ").includes("token"), type);
    });
  });

  it("finds nothing under an issuer that is not there (RFC 8414 §3)", async () => {
    const path = "/.well-known/oauth-authorization-server/nowhere";
    assert.equal((await send(house.server, { path })).status, 404);
  });

  it("names no client's issuer but its own: a client of one is unknown at another (OIDC Discovery §4.3)", async () => {
    const app = await aClient(house.server, {}, "open");
    const elsewhere = new RelyingParty(house.issuers.production, app);
    assert.equal(errorOf(await elsewhere.redeem("x")), "invalid_client");
    const { iss } = response(
      await house.ask(await house.client({}, "conformance"), {}, "conformance"),
    );
    assert.equal(iss, documents.conformance["issuer"]);
  });
});
