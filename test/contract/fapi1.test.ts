import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet, type JWTPayload } from "jose";
import { aCertificate, asJwks, CN, type Identity } from "../support/certificates.ts";
import { aMutualServer, type MutualServer } from "../support/mutual-tls.ts";
import {
  errorOf,
  json,
  RelyingParty,
  send,
  VERIFIER,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
  type Target,
} from "../support/rp.ts";
import { aClient, aUser } from "../support/server.ts";
import { aKey, assertion, now, sign, type ClientKey } from "../support/signing.ts";

type Changes = Readonly<Record<string, unknown>>;

/** What a client asks for, and how; the four ways of a FAPI 1.0 plan are their combinations. */
interface Way {
  readonly by: "value" | "pushing";
  readonly answer: "plain" | "JARM";
}
const WAYS: readonly Way[] = [
  { by: "value", answer: "plain" },
  { by: "value", answer: "JARM" },
  { by: "pushing", answer: "plain" },
  { by: "pushing", answer: "JARM" },
];
const wayOf = ({ by, answer }: Way): string => `a request by ${by} and the ${answer} answer`;

/** A client of the FAPI 1.0 issuer, and how it shows who it is. */
interface Client {
  readonly rp: RelyingParty;
  readonly authentication: () => Promise<Record<string, string>>;
}

/** The left half of a SHA-256, as PS256 and ES256 have it (OIDC Core §3.3.2.11). */
const half = (value: string): string =>
  createHash("sha256").update(value).digest().subarray(0, 16).toString("base64url");

/** Financial-grade API Security Profile 1.0, Part 2: Advanced, from the request to the last refresh. */
describe("FAPI 1.0 Advanced", () => {
  let lintel: MutualServer;
  let old: Target;
  let user: { id: string; email: string };
  let browser: WebBrowser;
  let key: ClientKey;
  let identity: Identity;
  let byKey: Client;
  let byName: Client;
  let keys: ReturnType<typeof createLocalJWKSet>;

  before(async () => {
    lintel = await aMutualServer({ CONFORMANCE_SUITE_URL: "https://suite.example" });
    old = { ...lintel.target, issuer: `${lintel.target.issuer}/old` };
    user = await aUser(lintel.server);
    browser = new WebBrowser(old);
    key = await aKey("PS256");
    identity = aCertificate({ subject: [[[CN, "bank"]]] }, lintel.authority);
    const jwks = json(await send(old, { path: "/old/jwks" }));
    keys = createLocalJWKSet(jwks as unknown as JSONWebKeySet);
    byKey = await aFapiClient({ token_endpoint_auth_method: "private_key_jwt" });
    byName = await aFapiClient({
      token_endpoint_auth_method: "tls_client_auth",
      tls_client_auth_subject_dn: "CN=bank",
    });
  });
  after(() => lintel.stop());

  const register = (metadata: Changes) =>
    aClient(
      lintel.server,
      {
        first_party: true,
        response_types: ["code id_token", "code"],
        grant_types: ["authorization_code", "implicit", "refresh_token"],
        tls_client_certificate_bound_access_tokens: true,
        require_signed_request_object: true,
        id_token_signed_response_alg: "PS256",
        authorization_signed_response_alg: "PS256",
        jwks: { keys: [key.jwk] },
        ...metadata,
      },
      "old",
    );

  async function aFapiClient(metadata: Changes): Promise<Client> {
    const credentials = await register(metadata);
    const { clientId } = credentials;
    const signs = metadata["token_endpoint_auth_method"] === "private_key_jwt";
    return {
      rp: new RelyingParty(lintel.shows(identity, "/old"), credentials),
      authentication: async () => (signs ? assertion(old, clientId, key) : { client_id: clientId }),
    };
  }

  /** The signed request of a client. */
  async function requestOf({ rp }: Client, { by, answer }: Way, changes: Changes = {}) {
    const { code_challenge, code_challenge_method, ...fields } = rp.parameters();
    return sign(key, {
      ...fields,
      ...(by === "pushing" ? { code_challenge, code_challenge_method } : {}),
      ...(answer === "JARM" ? { response_mode: "jwt" } : { response_type: "code id_token" }),
      iss: rp.credentials.clientId,
      aud: old.issuer,
      nbf: now(),
      exp: now() + 60,
      ...changes,
    });
  }
  const push = async (client: Client, request: string): Promise<Answer> =>
    client.rp.post("/request", { ...(await client.authentication()), request }, {});

  /** The address at which a browser begins, after the request was pushed where that is the way. */
  async function start(client: Client, way: Way, changes: Changes = {}, more: Fields = {}) {
    const request = await requestOf(client, way, changes);
    const carried =
      way.by === "value"
        ? { request }
        : { request_uri: String(json(await push(client, request))["request_uri"]) };
    const { clientId: client_id } = client.rp.credentials;
    return `/old/auth?${new URLSearchParams({ client_id, ...carried, ...more })}`;
  }

  const partsOf = ({ location = "" }: Answer): Record<string, string> => {
    const { search, hash } = new URL(location);
    return Object.fromEntries(new URLSearchParams(search || hash.slice(1)));
  };
  async function ask(client: Client, way: Way, changes: Changes = {}, more: Fields = {}) {
    const answer = await walk(old, browser, await start(client, way, changes, more), user);
    const parts = partsOf(answer);
    const { response } = parts;
    return response === undefined
      ? parts
      : ((await verified(response, client)) as Record<string, string>);
  }
  async function verified(jwt: string | undefined, { rp }: Client): Promise<JWTPayload> {
    const options = { issuer: old.issuer, audience: rp.credentials.clientId };
    return (await jwtVerify(jwt ?? "", keys, { ...options, algorithms: ["PS256", "ES256"] }))
      .payload;
  }

  const at = ({ rp }: Client, shown: Identity | undefined): RelyingParty =>
    new RelyingParty(lintel.shows(shown, "/old"), rp.credentials);
  async function redeem(
    client: Client,
    code: string | undefined,
    by: Way["by"],
    shown: Identity | undefined = identity,
  ): Promise<Answer> {
    const { redirectUri } = client.rp.credentials;
    const fields = {
      grant_type: "authorization_code",
      code,
      redirect_uri: redirectUri,
      ...(by === "pushing" ? { code_verifier: VERIFIER } : {}),
    };
    return at(client, shown).token({ ...fields, ...(await client.authentication()) }, {});
  }
  const refresh = async (client: Client, token: unknown, shown = identity) =>
    at(client, shown).token(
      {
        grant_type: "refresh_token",
        refresh_token: String(token),
        ...(await client.authentication()),
      },
      {},
    );
  async function tokensOf(client: Client, way: Way): Promise<Record<string, string>> {
    const { code } = await ask(client, way);
    const answer = await redeem(client, code, way.by);
    assert.equal(answer.status, 200, answer.text);
    return json(answer) as Record<string, string>;
  }
  const plain = { by: "value", answer: "plain" } as const;
  const jarm = { by: "value", answer: "JARM" } as const;
  const pushed = { by: "pushing", answer: "plain" } as const;

  describe("a whole sign-in", () => {
    for (const way of WAYS)
      for (const [method, client] of [
        ["private_key_jwt", () => byKey],
        ["tls_client_auth", () => byName],
      ] as const)
        it(`works by ${method} with ${wayOf(way)} (FAPI 1.0 Advanced §5.2.2)`, async () => {
          const tokens = await tokensOf(client(), way);
          const claims = await verified(tokens["id_token"], client());
          assert.equal(claims.sub, user.id);
          assert.equal(claims["nonce"], "a-nonce");
          const userinfo = await client().rp.userinfo(tokens["access_token"] ?? "");
          assert.equal(json(userinfo)["sub"], user.id);
        });
  });

  describe("the request", () => {
    for (const way of WAYS) {
      it(`with other parameters beside ${wayOf(way)} means what was signed (FAPI 1.0 Advanced §5.2.2-11)`, async () => {
        const { state } = await ask(byKey, way, {}, { state: "unsigned", scope: "openid email" });
        assert.equal(state, "a-state");
      });

      it(`needs a response type of its own in ${wayOf(way)}: no bare code (FAPI 1.0 Advanced §5.2.2-2)`, async () => {
        const bare = { response_type: "code", response_mode: "query" };
        if (way.by === "pushing") {
          const request = await requestOf(byKey, way, bare);
          assert.equal(errorOf(await push(byKey, request)), "invalid_request");
        } else {
          assert.equal((await ask(byKey, way, bare))["error"], "invalid_request");
        }
      });
    }

    for (const [what, item, changes] of [
      ["without exp", 13, () => ({ exp: undefined })],
      ["without nbf", 17, () => ({ nbf: undefined })],
      ["good for more than an hour", 13, () => ({ exp: now() + 3_700 })],
      ["from more than an hour ago", 17, () => ({ nbf: now() - 3_700, exp: now() + 60 })],
      ["for another server", 15, () => ({ aud: "https://other.example" })],
      ["without an audience", 15, () => ({ aud: undefined })],
    ] as const)
      for (const by of ["value", "pushing"] as const)
        it(`${what} is refused by ${by} (FAPI 1.0 Advanced §5.2.2-${item})`, async () => {
          const way = { by, answer: "plain" } as const;
          const answer =
            by === "value"
              ? await browser.open(await start(byKey, way, changes()))
              : await push(byKey, await requestOf(byKey, way, changes()));
          assert.equal(errorOf(answer), "invalid_request_object");
        });

    it("is not pushed without a signature (FAPI 1.0 Advanced §5.2.2-1)", async () => {
      const fields = byKey.rp.parameters({ response_type: "code id_token" });
      const answer = await byKey.rp.post(
        "/request",
        { ...fields, ...(await byKey.authentication()) },
        {},
      );
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("is pushed with PKCE (FAPI 1.0 Advanced §5.2.2-18)", async () => {
      const without = { code_challenge: undefined, code_challenge_method: undefined };
      const answer = await push(byKey, await requestOf(byKey, pushed, without));
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("is pushed with PKCE by S256 (FAPI 1.0 Advanced §5.2.2-18)", async () => {
      const weak = { code_challenge: VERIFIER, code_challenge_method: "plain" };
      const answer = await push(byKey, await requestOf(byKey, pushed, weak));
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("is pushed by whoever signed it (RFC 9126 §3)", async () => {
      const request = await requestOf(byName, pushed);
      assert.equal((await push(byKey, request)).status, 400);
    });
  });

  describe("the answer with an ID token", () => {
    it("is in the fragment (OIDC Core §3.3.2.5)", async () => {
      const answer = await walk(old, browser, await start(byKey, plain), user);
      const { search, hash } = new URL(answer.location ?? "");
      assert.equal(search, "");
      assert.match(hash, /[#&]id_token=/);
    });

    it("has the hash of its state (FAPI 1.0 Advanced §5.2.2.1-5)", async () => {
      const { id_token: token } = await ask(byKey, plain);
      assert.equal((await verified(token, byKey))["s_hash"], half("a-state"));
    });

    it("has the hash of its code (OIDC Core §3.3.2.11)", async () => {
      const { code = "", id_token: token } = await ask(byKey, plain);
      assert.equal((await verified(token, byKey))["c_hash"], half(code));
    });

    it("has no hash of a state that was not sent (FAPI 1.0 Advanced §5.2.2.1-5)", async () => {
      const { id_token: token } = await ask(byKey, plain, { state: undefined });
      assert.equal((await verified(token, byKey))["s_hash"], undefined);
    });

    it("says nothing of the person but who it is (FAPI 1.0 Advanced §5.2.2.1-6)", async () => {
      const scope = "openid email profile";
      const { id_token: token } = await ask(byKey, plain, { scope });
      const claims = await verified(token, byKey);
      for (const name of ["email", "name", "given_name"]) assert.equal(claims[name], undefined);
    });

    it("names the same person as the one from the token endpoint (OIDC Core §3.3.3.6)", async () => {
      const { code, id_token: token } = await ask(byKey, plain);
      const { id_token: later } = json(await redeem(byKey, code, "value"));
      const [first, second] = [await verified(token, byKey), await verified(String(later), byKey)];
      assert.equal(first.sub, second.sub);
      assert.equal(first.iss, second.iss);
    });

    it("brings no access token (FAPI 1.0 Advanced §5.2.2-2)", async () => {
      const parts = await ask(byKey, plain);
      assert.deepEqual(Object.keys(parts).toSorted(), ["code", "id_token", "iss", "state"]);
    });
  });

  describe("the answer in a JWT", () => {
    it("is signed, with who answers and for whom (FAPI 1.0 Advanced §5.2.2.2, JARM §2.1)", async () => {
      const answer = await walk(old, browser, await start(byKey, jarm), user);
      const { response, ...others } = partsOf(answer);
      assert.deepEqual(others, {});
      const claims = await verified(response, byKey);
      assert.equal(claims["state"], "a-state");
      assert.ok(claims.exp !== undefined && claims.exp - now() <= 600);
    });

    it("is how a refusal comes, too (JARM §2.1)", async () => {
      const { error, state } = await ask(byKey, jarm, { prompt: "none", max_age: 0 });
      assert.equal(error, "login_required");
      assert.equal(state, "a-state");
    });
  });

  describe("tokens", () => {
    it("are not issued without a certificate (FAPI 1.0 Advanced §5.2.2-5)", async () => {
      const { code } = await ask(byKey, plain);
      const without = new RelyingParty(lintel.shows(undefined, "/old"), byKey.rp.credentials);
      const { redirectUri } = byKey.rp.credentials;
      const answer = await without.redeem(
        code ?? "",
        { redirect_uri: redirectUri, code_verifier: undefined, ...(await byKey.authentication()) },
        {},
      );
      assert.equal(answer.status, 400);
      assert.equal(json(answer)["access_token"], undefined);
    });

    for (const [method, client] of [
      ["private_key_jwt", () => byKey],
      ["tls_client_auth", () => byName],
    ] as const)
      it(`of a client with ${method} are bound to its certificate (FAPI 1.0 Advanced §5.2.2-6)`, async () => {
        const { access_token: token = "" } = await tokensOf(client(), plain);
        assert.equal((await at(client(), identity).userinfo(token)).status, 200);
        for (const thief of [undefined, aCertificate({}, lintel.authority)])
          assert.equal((await at(client(), thief).userinfo(token)).status, 401);
      });

    it("are good at an API with their certificate alone (RFC 8705 §3)", async () => {
      const { access_token: token } = await tokensOf(byKey, plain);
      const path = "/old/conformance/accounts";
      const headers = { authorization: `Bearer ${token}` };
      const call = (shown?: Identity) => send(lintel.shows(shown, "/old"), { path, headers });
      const answer = await call(identity);
      assert.equal(answer.status, 200, answer.text);
      assert.match(String(answer.headers["x-fapi-interaction-id"]), /^[0-9a-f-]{36}$/);
      for (const thief of [undefined, aCertificate({}, lintel.authority)])
        assert.equal((await call(thief)).status, 401);
    });

    it("are the same refresh token, however often it is used (FAPI 1.0 Baseline §5.2.2)", async () => {
      const { refresh_token: token } = await tokensOf(byKey, plain);
      for (const _ of [1, 2, 3]) {
        const answer = await refresh(byKey, token);
        assert.equal(answer.status, 200, answer.text);
        const { refresh_token: next = token } = json(answer);
        assert.equal(next, token);
      }
    });

    it("are refreshed by nobody but the client (FAPI 1.0 Advanced §5.2.2-14)", async () => {
      const { refresh_token: token } = await tokensOf(byKey, plain);
      assert.equal(errorOf(await refresh(byName, token)), "invalid_grant");
      const unsigned = { rp: byKey.rp, authentication: byName.authentication };
      const { clientId: client_id } = byKey.rp.credentials;
      const answer = await at(unsigned, identity).token(
        { grant_type: "refresh_token", refresh_token: String(token), client_id },
        {},
      );
      assert.equal(errorOf(answer), "invalid_client");
    });

    it("come for a code once (FAPI 1.0 Baseline §5.2.2-13)", async () => {
      const { code } = await ask(byKey, plain);
      assert.equal((await redeem(byKey, code, "value")).status, 200);
      assert.equal(errorOf(await redeem(byKey, code, "value")), "invalid_grant");
    });

    it("come for a pushed code with its verifier (RFC 7636 §4.6)", async () => {
      const { code } = await ask(byKey, pushed);
      assert.equal(errorOf(await redeem(byKey, code, "value")), "invalid_grant");
    });
  });

  describe("clients", () => {
    it("are never public (FAPI 1.0 Advanced §5.2.2-16)", async () => {
      await assert.rejects(register({ token_endpoint_auth_method: "none" }));
    });

    for (const method of ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
      it(`do not use ${method} (FAPI 1.0 Advanced §5.2.2-14)`, async () => {
        await assert.rejects(register({ token_endpoint_auth_method: method }));
      });

    it("may show a certificate that they signed (FAPI 1.0 Advanced §5.2.2-14)", async () => {
      const own = aCertificate();
      const client = await aFapiClient({
        token_endpoint_auth_method: "self_signed_tls_client_auth",
        jwks: { keys: [key.jwk, ...asJwks(own).keys] },
      });
      const { code } = await ask(client, plain);
      assert.equal((await redeem(client, code, "value", own)).status, 200);
    });

    it("get tokens that are bound (FAPI 1.0 Advanced §5.2.2-5)", async () => {
      const unbound = { tls_client_certificate_bound_access_tokens: false };
      await assert.rejects(
        register({ token_endpoint_auth_method: "private_key_jwt", ...unbound }),
        /must be true/,
      );
    });

    for (const alg of ["RS256", "EdDSA", "HS256"])
      it(`get no ID tokens with ${alg} (FAPI 1.0 Advanced §8.6)`, async () => {
        await assert.rejects(
          register({
            token_endpoint_auth_method: "private_key_jwt",
            id_token_signed_response_alg: alg,
          }),
          /id_token_signed_response_alg/,
        );
      });
  });
});
