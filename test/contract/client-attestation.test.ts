import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { aHttpsServer } from "../support/https.ts";
import { aHouse, type House } from "../support/presets.ts";
import { errorOf, json, RelyingParty, send, VERIFIER, type Answer } from "../support/rp.ts";
import { aClient, aServer, type TestServer } from "../support/server.ts";
import { aKey, now, proof, sign, type ClientKey } from "../support/signing.ts";

type Claims = Readonly<Record<string, unknown>>;

/** What one request shows; both headers are right except for what is said. */
interface Shown {
  readonly attestation?: Claims;
  readonly attestationHeader?: Claims;
  readonly attester?: ClientKey;
  readonly pop?: Claims;
  readonly popHeader?: Claims;
  readonly instance?: ClientKey;
  /** The key that signs the proof, where it is not the instance's. */
  readonly signer?: ClientKey;
}

const MACHINE = { grant_types: ["client_credentials"], redirect_uris: [] };
const GRANT = { grant_type: "client_credentials" };

/** OAuth 2.0 Attestation-Based Client Authentication, draft 12; its sections are cited by name, because numbers move. */
describe("attested clients", () => {
  let house: House;
  let keys: { close(): void };
  let attester: ClientKey;
  let instance: ClientKey;
  let stranger: ClientKey;
  let app: RelyingParty;
  let person: RelyingParty;
  let combined: RelyingParty;

  before(async () => {
    [attester, instance, stranger] = [await aKey(), await aKey(), await aKey()];
    const published = JSON.stringify({ keys: [attester.jwk] });
    const server = await aHttpsServer((_request, reply) => void reply.end(published));
    keys = server;
    house = await aHouse({ CLIENT_ATTESTATION: "on", TRUSTED_ORIGINS: server.origin });
    const attested = { attester_jwks: { keys: [attester.jwk] } };
    const method = { token_endpoint_auth_method: "attest_jwt_client_auth" };
    app = await house.client({ ...MACHINE, ...attested, ...method });
    person = await house.client({ attester_jwks_uri: `${server.origin}/keys`, ...method });
    combined = await house.client({
      ...attested,
      token_endpoint_auth_method: "attest_jwt_client_auth_dpop",
      dpop_bound_access_tokens: true,
    });
  });
  after(async () => {
    await house.server.stop();
    keys.close();
  });

  const issuer = () => house.server.issuer;
  async function challenge(at: TestServer | { issuer: string; port: number } = house.server) {
    const answer = await send(at, { path: "/challenge", method: "POST" });
    return String(json(answer)["attestation_challenge"]);
  }
  const attestationOf = async (rp: RelyingParty, shown: Shown = {}) =>
    sign(
      shown.attester ?? attester,
      {
        sub: rp.credentials.clientId,
        iat: now(),
        exp: now() + 300,
        cnf: { jwk: (shown.instance ?? instance).jwk },
        ...shown.attestation,
      },
      { typ: "oauth-client-attestation+jwt", ...shown.attestationHeader },
    );
  const popOf = async (shown: Shown = {}) =>
    sign(
      shown.signer ?? shown.instance ?? instance,
      {
        aud: issuer(),
        jti: randomUUID(),
        iat: now(),
        challenge: await challenge(),
        ...shown.pop,
      },
      { typ: "oauth-client-attestation-pop+jwt", kid: undefined, ...shown.popHeader },
    );
  const headersOf = async (rp: RelyingParty, shown: Shown = {}) => ({
    "oauth-client-attestation": await attestationOf(rp, shown),
    "oauth-client-attestation-pop": await popOf(shown),
  });
  const ask = async (shown: Shown = {}, fields = {}) =>
    app.token({ ...GRANT, ...fields }, await headersOf(app, shown));
  const passes = (answer: Answer) => assert.equal(answer.status, 200, answer.text);
  const refused = (answer: Answer) => {
    assert.equal(errorOf(answer), "invalid_client", answer.text);
    assert.equal(answer.status, 401);
  };

  describe("are offered", () => {
    let metadata: Record<string, unknown>;
    before(async () => {
      const path = "/.well-known/openid-configuration";
      metadata = json(await send(house.server, { path }));
    });

    it("in the metadata, by both methods (ABCA §Authorization Server Metadata)", () => {
      const methods = metadata["token_endpoint_auth_methods_supported"] as string[];
      assert.ok(methods.includes("attest_jwt_client_auth"));
      assert.ok(methods.includes("attest_jwt_client_auth_dpop"));
    });

    it("with where challenges are (ABCA §Providing Challenges)", () =>
      assert.equal(metadata["challenge_endpoint"], `${issuer()}/challenge`));

    it("with signatures that are no MACs (ABCA §Authorization Server Metadata)", () => {
      for (const kind of ["client_attestation", "client_attestation_pop"]) {
        const algorithms = metadata[`${kind}_signing_alg_values_supported`] as string[];
        assert.ok(algorithms.includes("ES256"));
        assert.ok(!algorithms.some((alg) => alg.startsWith("HS") || alg === "none"));
      }
    });

    it("at no FAPI issuer, which names other methods (FAPI 2.0 §5.3.2.1, FAPI 1.0 Advanced §5.2.2-14)", async () => {
      for (const [preset, path] of [
        ["fapi2", "/bank"],
        ["fapi1", "/old"],
      ] as const) {
        const at = house.issuers[preset];
        const answer = await send(at, { path: `${path}/.well-known/openid-configuration` });
        assert.doesNotMatch(answer.text, /attest/);
        await assert.rejects(
          house.client(
            {
              token_endpoint_auth_method: "attest_jwt_client_auth",
              attester_jwks: { keys: [attester.jwk] },
            },
            preset,
          ),
          /token_endpoint_auth_method must be/,
        );
      }
    });

    it("nowhere else than where CLIENT_ATTESTATION is on", async () => {
      const other = await aServer();
      try {
        const answer = await send(other, { path: "/.well-known/openid-configuration" });
        assert.doesNotMatch(answer.text, /attest/);
        assert.equal((await send(other, { path: "/challenge", method: "POST" })).status, 404);
        const method = { token_endpoint_auth_method: "attest_jwt_client_auth" };
        await assert.rejects(aClient(other, method), /token_endpoint_auth_method must be/);
      } finally {
        await other.stop();
      }
    });
  });

  describe("authenticate", () => {
    it("with an attestation and a proof of its key (ABCA §Client Attestation at the Token Endpoint)", async () =>
      passes(await ask()));

    it("with client_id or without: the attestation says it (ABCA §Client Attestation JWT)", async () => {
      passes(await ask({}, { client_id: app.credentials.clientId }));
      assert.equal(errorOf(await ask({}, { client_id: "another" })), "invalid_request");
    });

    it("with one attestation as often as it is good, and a new proof each time (ABCA §Reuse of a Client Attestation JWT)", async () => {
      const headers = await headersOf(app);
      passes(await app.token(GRANT, headers));
      const again = { ...headers, "oauth-client-attestation-pop": await popOf() };
      passes(await app.token(GRANT, again));
    });

    it("by keys that their attester publishes (ABCA §Client Attestation JWT)", async () => {
      const code = await house.codeOf(person);
      passes(await person.redeem(code, {}, await headersOf(person)));
    });

    it("at the endpoint for pushed requests, too (ABCA §Client Attestation at the PAR Endpoint)", async () => {
      const answer = await person.post("/request", person.parameters(), await headersOf(person));
      assert.equal(answer.status, 201, answer.text);
      assert.equal((await person.post("/request", person.parameters(), {})).status, 401);
    });
  });

  describe("are refused", () => {
    const ATTESTATIONS: Readonly<Record<string, () => Shown>> = {
      "of another type": () => ({ attestationHeader: { typ: "jwt" } }),
      "without exp": () => ({ attestation: { exp: undefined } }),
      "that has expired": () => ({ attestation: { exp: now() - 60 } }),
      "that is not good yet": () => ({ attestation: { nbf: now() + 600 } }),
      "of tomorrow": () => ({ attestation: { iat: now() + 600 } }),
      "without a key": () => ({ attestation: { cnf: undefined } }),
      "with a key in another form": () => ({ attestation: { cnf: { kid: "x" } } }),
      "with a secret key": () => ({ attestation: { cnf: { jwk: { kty: "oct", k: "AAAA" } } } }),
      "by somebody else": () => ({ attester: stranger }),
      "by somebody else under the attester's name": () => ({
        attester: stranger,
        attestationHeader: { kid: attester.thumbprint },
      }),
      "by the instance itself": () => ({ attester: instance }),
    };
    for (const [what, shown] of Object.entries(ATTESTATIONS))
      it(`with an attestation ${what} (ABCA §Client Attestation JWT)`, async () => {
        const answer = await ask(shown());
        assert.match(String(errorOf(answer)), /^invalid_(client|request|grant)$/);
        assert.notEqual(answer.status, 200);
      });

    it("with an attestation for another client (ABCA §Client Attestation JWT)", async () => {
      const shown = { attestation: { sub: person.credentials.clientId } };
      const answer = await ask(shown, { client_id: app.credentials.clientId });
      assert.equal(errorOf(answer), "invalid_request");
    });

    const PROOFS: Readonly<Record<string, () => Shown>> = {
      "of another type": () => ({ popHeader: { typ: "jwt" } }),
      "for another server": () => ({ pop: { aud: "https://other.example" } }),
      "for several servers": () => ({ pop: { aud: [issuer(), "https://other.example"] } }),
      "without an audience": () => ({ pop: { aud: undefined } }),
      "without jti": () => ({ pop: { jti: undefined } }),
      "without iat": () => ({ pop: { iat: undefined } }),
      "of tomorrow": () => ({ pop: { iat: now() + 600 } }),
      "that has expired": () => ({ pop: { exp: now() - 60 } }),
      "by another key": () => ({ signer: stranger }),
    };
    for (const [what, shown] of Object.entries(PROOFS))
      it(`with a proof ${what} (ABCA §Client Attestation PoP JWT)`, async () =>
        refused(await ask(shown())));

    it("with a proof that was used (ABCA §Replay Attack Detection)", async () => {
      const headers = await headersOf(app);
      passes(await app.token(GRANT, headers));
      refused(await app.token(GRANT, headers));
    });

    it("with one proof twice at the same moment (ABCA §Replay Attack Detection)", async () => {
      const headers = await headersOf(app);
      const answers = await Promise.all([1, 2, 3].map(async () => app.token(GRANT, headers)));
      assert.deepEqual(answers.map(({ status }) => status).toSorted(), [200, 401, 401]);
    });

    it("without a proof (ABCA §Client Attestation HTTP Headers)", async () =>
      refused(await app.token(GRANT, { "oauth-client-attestation": await attestationOf(app) })));

    it("without an attestation (ABCA §Client Attestation HTTP Headers)", async () => {
      const fields = { ...GRANT, client_id: app.credentials.clientId };
      refused(await app.token(fields, { "oauth-client-attestation-pop": await popOf() }));
      refused(await app.token(fields, {}));
    });

    it("with what is no JWT (ABCA §Client Attestation HTTP Headers)", async () => {
      const right = await headersOf(app);
      for (const header of ["oauth-client-attestation", "oauth-client-attestation-pop"]) {
        const answer = await app.token(GRANT, { ...right, [header]: "nonsense" });
        assert.match(String(errorOf(answer)), /^invalid_(client|request)$/);
      }
    });

    it("with another way to authenticate beside it (RFC 6749 §2.3)", async () => {
      const more = { client_id: app.credentials.clientId, client_secret: "guess" };
      const answer = await app.token({ ...GRANT, ...more }, await headersOf(app));
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("where they registered another method (RFC 6749 §2.3)", async () => {
      const other = await house.client(MACHINE);
      const answer = await other.token(GRANT, await headersOf(other));
      refused(answer);
    });

    it("where another client's attester speaks for them (ABCA §Trust)", async () => {
      const rival = await aKey();
      await house.client({
        ...MACHINE,
        token_endpoint_auth_method: "attest_jwt_client_auth",
        attester_jwks: { keys: [rival.jwk] },
      });
      refused(await ask({ attester: rival }));
    });
  });

  describe("challenges", () => {
    it("are told to whoever asks, and not cached (ABCA §Challenge Endpoint)", async () => {
      const answer = await send(house.server, { path: "/challenge", method: "POST" });
      assert.equal(answer.status, 200);
      assert.match(String(json(answer)["attestation_challenge"]), /^[\w-]{20,}$/);
      assert.match(String(answer.headers["cache-control"]), /no-store/);
    });

    for (const [what, value] of [
      ["no", undefined],
      ["a made-up", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
      ["no text as", 7],
    ] as const)
      it(`are asked for where a proof has ${what} challenge (ABCA §Errors)`, async () => {
        const answer = await ask({ pop: { challenge: value } });
        assert.equal(errorOf(answer), "use_attestation_challenge");
        assert.equal(answer.status, 400);
        const given = String(answer.headers["oauth-client-attestation-challenge"]);
        passes(await ask({ pop: { challenge: given } }));
      });

    it("of one node are good at every other", async () => {
      const { origin } = await house.server.another();
      const port = Number(new URL(origin).port);
      const theirs = await challenge({ issuer: issuer(), port });
      passes(await ask({ pop: { challenge: theirs } }));
    });

    it("are not those of DPoP (RFC 9449 §8)", async () => {
      const { headers } = await send(house.server, { path: "/challenge", method: "POST" });
      const answer = await ask({ pop: { challenge: String(headers["dpop-nonce"]) } });
      assert.equal(errorOf(answer), "use_attestation_challenge");
    });
  });

  describe("what an instance got", () => {
    const refresh = (token: unknown) => ({
      grant_type: "refresh_token",
      refresh_token: String(token),
    });

    it("is refreshed by that instance alone (ABCA §Refresh Token Binding)", async () => {
      const code = await house.codeOf(person);
      const { refresh_token: token } = json(await person.redeem(code, {}, await headersOf(person)));
      assert.ok(token);
      const thief = await person.token(
        refresh(token),
        await headersOf(person, { instance: stranger }),
      );
      assert.equal(errorOf(thief), "invalid_grant");
      const answer = await person.token(refresh(token), await headersOf(person));
      passes(answer);
      const { refresh_token: next } = json(answer);
      const later = await person.token(
        refresh(next),
        await headersOf(person, { instance: stranger }),
      );
      assert.equal(errorOf(later), "invalid_grant");
    });

    it("is revoked by that instance alone (ABCA §Refresh Token Binding)", async () => {
      const code = await house.codeOf(person);
      const { refresh_token: token } = json(await person.redeem(code, {}, await headersOf(person)));
      const revoke = async (by: ClientKey) =>
        person.post(
          "/token/revocation",
          { token: String(token) },
          await headersOf(person, { instance: by }),
        );
      await revoke(stranger);
      const answer = await person.token(refresh(token), await headersOf(person));
      passes(answer);
      await revoke(instance);
      const ended = await person.token(refresh(token), await headersOf(person));
      assert.equal(errorOf(ended), "invalid_grant");
    });

    it("is a code for that instance, where it pushed the request (ABCA §Client Attestation at the PAR Endpoint)", async () => {
      const push = async () => {
        const pushed = await person.post("/request", person.parameters(), await headersOf(person));
        const browser = await house.browser();
        const query = new URLSearchParams({
          client_id: person.credentials.clientId,
          request_uri: String(json(pushed)["request_uri"]),
        });
        const { location = "" } = await browser.open(`/auth?${query}`);
        return new URL(location).searchParams.get("code") ?? "";
      };
      const stolen = await person.redeem(
        await push(),
        {},
        await headersOf(person, { instance: stranger }),
      );
      assert.equal(errorOf(stolen), "invalid_grant");
      passes(await person.redeem(await push(), {}, await headersOf(person)));
    });
  });

  describe("with a DPoP proof as theirs", () => {
    const nonce = async () => {
      const { headers } = await send(house.server, { path: "/challenge", method: "POST" });
      return String(headers["dpop-nonce"]);
    };
    async function redeem(by: ClientKey = instance, claims: Claims = {}) {
      const code = await house.codeOf(combined);
      const htu = `${issuer()}/token`;
      return combined.token(
        {
          grant_type: "authorization_code",
          code,
          redirect_uri: combined.credentials.redirectUri,
          code_verifier: VERIFIER,
        },
        {
          "oauth-client-attestation": await attestationOf(combined),
          dpop: await proof(by, { htu, nonce: await nonce(), ...claims }),
        },
      );
    }

    it("they need no other (ABCA §Combined DPoP)", async () => {
      const answer = await redeem();
      passes(answer);
      assert.equal(json(answer)["token_type"], "DPoP");
    });

    it("it is by the attested key (ABCA §Combined DPoP)", async () =>
      refused(await redeem(stranger)));

    it("it has a nonce of the server (ABCA §Combined DPoP)", async () => {
      const answer = await redeem(instance, { nonce: undefined });
      assert.equal(errorOf(answer), "use_dpop_nonce");
      assert.ok(answer.headers["dpop-nonce"]);
    });
  });

  describe("are registered", () => {
    const METHOD = { token_endpoint_auth_method: "attest_jwt_client_auth" };
    const attester_jwks = () => ({ keys: [attester.jwk] });

    it("with the keys of their attester (ABCA §Trust)", async () => {
      await assert.rejects(
        house.client(METHOD),
        /attester_jwks or attester_jwks_uri must be given/,
      );
      await assert.rejects(
        house.client({
          ...METHOD,
          attester_jwks: attester_jwks(),
          attester_jwks_uri: "https://attester.example/keys",
        }),
        /must not both be given/,
      );
    });

    it("with public keys (RFC 7517 §9.2)", async () => {
      const secret = { keys: [{ kty: "oct", k: "AAAA" }] };
      await assert.rejects(
        house.client({ ...METHOD, attester_jwks: secret }),
        /attester_jwks.keys\[0\] must be a public key/,
      );
    });

    it("with an attester only where one is asked for (RFC 7591 §2)", async () =>
      assert.rejects(
        house.client({ attester_jwks: attester_jwks() }),
        /attester_jwks must be left out/,
      ));

    it("by an operator: nobody vouches for themselves (RFC 7591 §5)", async () => {
      const open = house.issuers.conformance;
      const body = JSON.stringify({
        ...METHOD,
        redirect_uris: ["https://rp.example/callback"],
        attester_jwks: attester_jwks(),
      });
      const headers = { "content-type": "application/json" };
      const answer = await send(open, { path: "/open/reg", method: "POST", body, headers });
      assert.equal(errorOf(answer), "invalid_client_metadata");
    });
  });
});
