import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createRemoteJWKSet, jwtVerify, type JWTPayload } from "jose";
import { errorOf, json, RelyingParty, send, walk, WebBrowser } from "../support/rp.ts";
import type { Answer, Fields } from "../support/rp.ts";
import { aClient, aServerWith, aUser, issuerAt, type TestServer } from "../support/server.ts";

const TYPES = ["id_token", "id_token token", "code id_token", "code token", "code id_token token"];
const PARTS = { code: "code", id_token: "id_token", token: "access_token" } as const;

/** The left half of the hash of a value, as an ID token that RS256 signed has it. */
const half = (value: string): string =>
  createHash("sha256").update(value).digest().subarray(0, 16).toString("base64url");

describe("tokens from the front channel", () => {
  let server: TestServer;
  let open: { issuer: string; port: number };
  let bank: { issuer: string; port: number };
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let app: RelyingParty;
  let keys: ReturnType<typeof createRemoteJWKSet>;

  before(async () => {
    server = await aServerWith({ open: "conformance", bank: "fapi2" });
    open = issuerAt(server, "open");
    bank = issuerAt(server, "bank");
    keys = createRemoteJWKSet(new URL(`${open.issuer}/jwks`));
    user = await aUser(server);
    browser = new WebBrowser(open);
    const metadata = {
      first_party: true,
      response_types: ["code", ...TYPES],
      grant_types: ["authorization_code", "implicit", "refresh_token"],
    };
    app = new RelyingParty(open, await aClient(server, metadata, "open"));
    await walk(open, browser, app.authorization(), user);
  });
  after(() => server.stop());

  const ask = async (type: string, changes: Fields = {}, by = browser) =>
    by.open(app.authorization({ response_type: type, ...changes }));

  const fragmentOf = ({ location }: Answer): Record<string, string> =>
    Object.fromEntries(new URLSearchParams(new URL(location ?? "").hash.slice(1)));

  async function claimsOf(idToken: string | undefined): Promise<JWTPayload> {
    const options = { issuer: open.issuer, audience: app.credentials.clientId };
    return (await jwtVerify(idToken ?? "", keys, options)).payload;
  }

  describe("at the conformance preset", () => {
    for (const type of TYPES) {
      const names: string[] = type.split(" ").map((word) => PARTS[word as keyof typeof PARTS]);
      const clause = type.includes("code") ? "§3.3.2.5" : "§3.2.2.5";

      it(`are just what ${type} names (OIDC Core ${clause})`, async () => {
        const answer = fragmentOf(await ask(type));
        for (const name of Object.values(PARTS))
          assert.equal(name in answer, names.includes(name), name);
      });

      it(`come by ${type} in the fragment, not in the query (OIDC Core ${clause})`, async () => {
        const answer = await ask(type);
        assert.equal(new URL(answer.location ?? "").search, "");
        assert.equal(fragmentOf(answer)["state"], "a-state");
      });

      it(`come by ${type} in no query, though asked to (Multiple Response Types §3)`, async () => {
        const answer = await ask(type, { response_mode: "query" });
        for (const name of Object.values(PARTS))
          assert.doesNotMatch(answer.location ?? "", new RegExp(`[?#&]${name}=`));
        assert.match(answer.location ?? "", /error=invalid_request/);
      });

      it(`bring by ${type} no refresh token (OIDC Core §3.2.2.5, RFC 6749 §4.2.2)`, async () => {
        const answer = await ask(type, { scope: "openid offline_access", prompt: "consent" });
        const after = await walk(open, browser, answer.location ?? "", user);
        assert.equal(fragmentOf(after)["refresh_token"], undefined);
        assert.equal(fragmentOf(after)["error"], undefined);
      });

      if (names.includes("id_token")) {
        it(`by ${type} need a nonce (OIDC Core §3.2.2.1, §3.3.2.11)`, async () => {
          const answer = fragmentOf(await ask(type, { nonce: undefined }));
          assert.equal(answer["error"], "invalid_request");
          assert.equal(answer["id_token"], undefined);
        });

        it(`by ${type} repeat the nonce (OIDC Core §3.2.2.10, §3.3.2.11)`, async () => {
          const { id_token: idToken } = fragmentOf(await ask(type, { nonce: "n-1" }));
          assert.equal((await claimsOf(idToken))["nonce"], "n-1");
        });
      }

      if (names.includes("id_token") && names.includes("access_token"))
        it(`by ${type} have the hash of the access token inside (OIDC Core §3.2.2.10)`, async () => {
          const { id_token: idToken, access_token: token = "" } = fragmentOf(await ask(type));
          assert.equal((await claimsOf(idToken))["at_hash"], half(token));
        });

      if (names.includes("id_token") && names.includes("code"))
        it(`by ${type} have the hash of the code inside (OIDC Core §3.3.2.11)`, async () => {
          const { id_token: idToken, code = "" } = fragmentOf(await ask(type));
          assert.equal((await claimsOf(idToken))["c_hash"], half(code));
        });

      if (names.includes("access_token")) {
        it(`by ${type} say what kind they are and how long they live (OIDC Core §3.2.2.5)`, async () => {
          const { token_type: kind, expires_in: life } = fragmentOf(await ask(type));
          assert.equal(kind, "Bearer");
          assert.ok(Number(life) > 0);
        });

        it(`by ${type} open the userinfo endpoint (OIDC Core §5.3.1)`, async () => {
          const { access_token: token = "" } = fragmentOf(await ask(type));
          assert.equal(json(await app.userinfo(token))["sub"], user.id);
        });
      }

      if (names.includes("code"))
        it(`by ${type} go with a code that works once (OIDC Core §3.3.3)`, async () => {
          const { code = "" } = fragmentOf(await ask(type));
          const answer = await app.redeem(code);
          assert.equal(answer.status, 200);
          assert.equal((await claimsOf(String(json(answer)["id_token"]))).sub, user.id);
          assert.equal(errorOf(await app.redeem(code)), "invalid_grant");
        });
    }

    it("of both channels are about the same person and issuer (OIDC Core §3.3.3.6)", async () => {
      const { code = "", id_token: front } = fragmentOf(await ask("code id_token"));
      const back = json(await app.redeem(code));
      const [one, two] = [await claimsOf(front), await claimsOf(String(back["id_token"]))];
      assert.deepEqual([one.iss, one.sub], [two.iss, two.sub]);
    });

    it("have no hash of an access token that there is none of (OIDC Core §3.2.2.10)", async () => {
      const { id_token: idToken } = fragmentOf(await ask("id_token"));
      const claims = await claimsOf(idToken);
      assert.deepEqual([claims["at_hash"], claims["c_hash"]], [undefined, undefined]);
    });

    it("have the claims inside where no access token could fetch them (OIDC Core §5.4)", async () => {
      const request = app.authorization({ response_type: "id_token", scope: "openid email" });
      const { id_token: alone } = fragmentOf(await walk(open, browser, request, user));
      assert.equal((await claimsOf(alone))["email"], user.email);
      const { id_token: beside } = fragmentOf(
        await ask("id_token token", { scope: "openid email" }),
      );
      assert.equal((await claimsOf(beside))["email"], undefined);
    });

    it("end with the code that came with them, when it is replayed (RFC 6749 §4.1.2)", async () => {
      const { code = "", access_token: token = "" } = fragmentOf(await ask("code id_token token"));
      await app.redeem(code);
      assert.equal((await app.userinfo(token)).status, 200);
      await app.redeem(code);
      assert.equal((await app.userinfo(token)).status, 401);
    });

    it("come in any order of the words (Multiple Response Types §5)", async () => {
      const answer = fragmentOf(await ask("token id_token code"));
      for (const name of Object.values(PARTS)) assert.ok(answer[name], name);
    });

    it("are not for the taking: an unknown type is refused (RFC 6749 §4.2.2.1)", async () => {
      const answer = fragmentOf(await ask("id_token magic"));
      assert.equal(answer["error"], "unsupported_response_type");
    });

    it("without an ID token are none of OpenID's, and refused (OIDC Core §3)", async () => {
      const answer = await ask("token");
      assert.match(answer.location ?? "", /error=unsupported_response_type/);
    });

    it("are not for a client that did not register for them (RFC 6749 §4.1.2.1)", async () => {
      const plain = await aClient(server, { first_party: true }, "open");
      const rp = new RelyingParty(open, plain);
      const answer = await browser.open(rp.authorization({ response_type: "code id_token" }));
      assert.equal(fragmentOf(answer)["error"], "unauthorized_client");
    });

    it("are not issued silently to a browser that nobody is signed in at (OIDC Core §3.2.2.6)", async () => {
      const answer = await ask("id_token token", { prompt: "none" }, new WebBrowser(open));
      assert.deepEqual(Object.keys(fragmentOf(answer)).toSorted(), [
        "error",
        "error_description",
        "iss",
        "session_state",
        "state",
      ]);
      assert.equal(fragmentOf(answer)["error"], "login_required");
    });

    it("cannot be asked of the token endpoint (RFC 6749 §4.2)", async () => {
      assert.equal(errorOf(await app.token({ grant_type: "implicit" })), "unsupported_grant_type");
    });
  });

  describe("are refused", () => {
    for (const type of TYPES) {
      it(`by the production preset: ${type} (RFC 9700 §2.1.2)`, async () => {
        const rp = new RelyingParty(server, await aClient(server, { first_party: true }));
        const answer = await new WebBrowser(server).open(rp.authorization({ response_type: type }));
        assert.match(answer.location ?? "", /error=unsupported_response_type/);
      });

      it(`by the fapi2 preset: ${type} (FAPI 2.0 §5.3.2.2, RFC 9700 §2.1.2)`, async () => {
        const path = "/bank/.well-known/openid-configuration";
        const metadata = json(await send(bank, { path }));
        assert.equal((metadata["response_types_supported"] as string[]).includes(type), false);
        await assert.rejects(
          aClient(
            server,
            { response_types: [type], grant_types: ["authorization_code", "implicit"] },
            "bank",
          ),
          /response_types must be of code at this issuer/,
        );
      });
    }
  });
});
