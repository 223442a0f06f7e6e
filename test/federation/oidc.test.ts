import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  exportPKCS8,
  generateKeyPair,
  jwtVerify,
  SignJWT,
  UnsecuredJWT,
  type JSONWebKeySet,
} from "jose";
import { after, afterEach, before, describe, it } from "mocha";
import {
  UpstreamError,
  type Answer,
  type Connector,
  type ConnectorNeeds,
  type Departure,
  type Leaving,
  type Trace,
  type UpstreamIdentity,
} from "../../src/federation/connector.ts";
import { openOidc } from "../../src/federation/oidc/connector.ts";
import { newConnectionKey, readPrivateKey } from "../../src/federation/oidc/keys.ts";
import { createSafeFetch } from "../../src/lib/fetch.ts";
import { connectionTo, connectorNeeds, SITE } from "../support/counterparts.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { aKey, now, sign } from "../support/signing.ts";
import { publicPem, Upstream, type Json } from "../support/upstream.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const STATE = "a-state-of-a-test";
const METADATA = "/.well-known/openid-configuration";

let database: TestDatabase;
let needs: ConnectorNeeds;
let upstream: Upstream;
let steps: { step: string; detail: Json }[] = [];
const trace: Trace = (step, detail = {}) => steps.push({ step, detail });
/** Moves our clock; the upstream's goes with it. */
const realNow = Date.now;
const later = (ms: number) => (Date.now = () => realNow() + ms);

type Row = Parameters<typeof connectionTo>[2];
const open = (row: Row = {}, more: Partial<ConnectorNeeds> = {}): Connector =>
  openOidc(connectionTo(upstream, needs.seal, row), SITE, { ...needs, ...more });

const leave = async (connector: Connector, departure: Partial<Departure> = {}): Promise<Leaving> =>
  await connector.leave({ state: STATE, ...departure }, trace);

/** The parameters of the authorization request. */
async function request(row: Row, departure?: Partial<Departure>): Promise<Record<string, string>> {
  const { to } = await leave(open(row), departure);
  return Object.fromEntries(new URL(to.url).searchParams);
}

/** A whole sign-in; `change` is what happens to the answer on its way. */
async function signIn(
  connector: Connector = open(),
  departure: Partial<Departure> = {},
  change: Record<string, string | undefined> = {},
): Promise<UpstreamIdentity> {
  const leaving = await leave(connector, departure);
  return await arrive(connector, leaving, upstream.agree(leaving.to.url), change);
}

async function arrive(
  connector: Connector,
  { secrets }: Leaving,
  { method, parameters }: Omit<Answer, "secrets">,
  change: Record<string, string | undefined> = {},
): Promise<UpstreamIdentity> {
  const changed = Object.entries({ ...parameters, ...change }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return await connector.arrive(
    { method, parameters: Object.fromEntries(changed), secrets },
    trace,
  );
}

/** What a promise fails with, as `reason rule`. */
async function failure(promise: Promise<unknown>): Promise<string> {
  const error = await failureOf(promise);
  return `${error.reason} ${error.rule}`;
}

async function failureOf(promise: Promise<unknown>): Promise<UpstreamError> {
  const error = await promise.then(
    () => assert.fail("it succeeded"),
    (reason: unknown) => reason,
  );
  assert(error instanceof UpstreamError, String(error));
  assert.notEqual(error.hint ?? "", "", `${error.rule} has no hint`);
  return error;
}

/** What every group of tests here has of its own, so that a run of many files is not touched by it. */
function withProvider(): void {
  before(async () => {
    database = await testDatabase();
    needs = await connectorNeeds(database);
    upstream = await Upstream.start();
  });
  afterEach(() => {
    Date.now = realNow;
    steps = [];
    upstream.mend();
  });
  after(async () => {
    await upstream.stop();
    await database.drop();
  });
}

describe("the authorization request to an OpenID provider", () => {
  withProvider();

  it("asks for a code, at our callback, with state and nonce (OIDC Core §3.1.2.1)", async () => {
    const { nonce, code_challenge: challenge, ...rest } = await request({});
    assert.deepEqual(rest, {
      client_id: upstream.clientId,
      redirect_uri: SITE.callback,
      response_type: "code",
      scope: "openid profile email",
      state: STATE,
      code_challenge_method: "S256",
    });
    assert.match(nonce ?? "", /^[\w-]{43}$/);
    assert.match(challenge ?? "", /^[\w-]{43}$/);
  });

  it("has no code challenge where it is off, or where the provider knows no S256 (RFC 7636)", async () => {
    assert.equal("code_challenge" in (await request({ settings: { pkce: false } })), false);
    upstream.metadata = { code_challenge_methods_supported: ["plain"] };
    assert.equal("code_challenge" in (await request({})), false);
    upstream.metadata = { code_challenge_methods_supported: undefined };
    assert.equal("code_challenge" in (await request({})), true);
  });

  it("says who is expected, in which languages, and at which level", async () => {
    const row = { settings: { acr_values: ["gold", "silver"] } };
    const sent = await request(row, { loginHint: "ada@a.example", locales: ["de-AT", "en"] });
    assert.equal(sent["login_hint"], "ada@a.example");
    assert.equal(sent["ui_locales"], "de-AT en");
    assert.equal(sent["acr_values"], "gold silver");
  });

  it("demands a fresh sign-in, unless the provider knows no such thing", async () => {
    const { prompt, max_age: age } = await request({}, { fresh: true });
    assert.deepEqual([prompt, age], ["login", "0"]);
    const other = await request({ settings: { max_age: false } }, { fresh: true });
    assert.deepEqual([other["prompt"], other["max_age"]], [undefined, undefined]);
  });

  it("asks for a form where the settings say so, with parameters of the operator's", async () => {
    const params = { prompt: "select_account", hd: "a.example" };
    const settings = { response_mode: "form_post", authorization_params: params };
    const { response_mode: mode, prompt, hd } = await request({ settings });
    assert.deepEqual([mode, prompt, hd], ["form_post", "select_account", "a.example"]);
  });

  it("is sent ahead where the settings say so, or the provider (RFC 9126 §4)", async () => {
    const settings = { require_pushed_authorization_requests: true };
    const { client_id: clientId, request_uri: reference, ...rest } = await request({ settings });
    assert.deepEqual([clientId, rest], [upstream.clientId, {}]);
    assert.match(reference ?? "", /^urn:ietf:params:oauth:request_uri:/);
    const { state, code_challenge_method: method, nonce } = upstream.last("/par").fields;
    assert.deepEqual([state, method], [STATE, "S256"]);
    assert.notEqual(nonce ?? "", "");
    upstream.metadata = { require_pushed_authorization_requests: true };
    assert.equal((await signIn()).subject, "ada-at-upstream");
    assert.equal(upstream.asked("/par"), 2);
  });

  it("says why it could not be sent ahead", async () => {
    const row = { settings: { require_pushed_authorization_requests: true } };
    upstream.metadata = { pushed_authorization_request_endpoint: undefined };
    assert.equal(await failure(leave(open(row))), "misconfigured oauth.par");
    upstream.metadata = {};
    const json = { error: "invalid_request", error_description: "No such redirect_uri." };
    upstream.replaced.set("/par", () => ({ status: 400, json }));
    const { rule, message } = await failureOf(leave(open(row)));
    assert.equal(rule, "oauth.par");
    assert.match(message, /status 400 and invalid_request No such redirect_uri, where/);
    upstream.replaced.set("/par", () => ({ status: 500, json }));
    assert.equal(await failure(leave(open(row))), "unavailable http.status");
  });

  it("keeps the query of the authorization endpoint (RFC 6749 §3.1)", async () => {
    upstream.metadata = { authorization_endpoint: `${upstream.issuer}/authorize?p=b2c` };
    const { p, state } = await request({});
    assert.deepEqual([p, state], ["b2c", STATE]);
  });
});

describe("the answer of an OpenID provider", () => {
  withProvider();

  it("comes as a query or as a form", async () => {
    assert.equal((await signIn()).subject, "ada-at-upstream");
    const connector = open({ settings: { response_mode: "form_post" } });
    assert.equal((await signIn(connector)).subject, "ada-at-upstream");
  });

  it("is refused with another state, or none (RFC 6749 §10.12)", async () => {
    for (const state of ["another", undefined])
      assert.equal(await failure(signIn(open(), {}, { state })), "invalid oauth.state");
  });

  it("is refused when another provider names itself in it (RFC 9207 §2.4)", async () => {
    const iss = "https://attacker.example";
    assert.equal(await failure(signIn(open(), {}, { iss })), "invalid oauth.iss");
    assert.equal(upstream.asked("/token"), 0);
  });

  it("is refused without iss where the provider says that it is always there (RFC 9207 §2.4)", async () => {
    assert.equal(await failure(signIn(open(), {}, { iss: undefined })), "invalid oauth.iss");
    upstream.metadata = { authorization_response_iss_parameter_supported: undefined };
    await signIn(open(), {}, { iss: undefined });
  });

  it("is not believed in its error either, when another provider sent it (RFC 9207 §2.4)", async () => {
    const connector = open();
    const leaving = await leave(connector);
    const answer = upstream.refuse(leaving.to.url, "access_denied");
    const arrival = arrive(connector, leaving, answer, { iss: "https://attacker.example" });
    assert.equal(await failure(arrival), "invalid oauth.iss");
  });

  it("is refused without code and error", async () => {
    assert.equal(await failure(signIn(open(), {}, { code: undefined })), "invalid oauth.code");
  });

  for (const [error, reason] of [
    ["access_denied", "cancelled"],
    ["user_cancelled_authorize", "cancelled"],
    ["server_error", "unavailable"],
    ["temporarily_unavailable", "unavailable"],
    ["invalid_request", "misconfigured"],
    ["unauthorized_client", "misconfigured"],
    ["invalid_scope", "misconfigured"],
    ["login_required", "refused"],
    ["something_of_their_own", "refused"],
  ] as const)
    it(`means ${reason} when it is ${error}`, async () => {
      const connector = open();
      const leaving = await leave(connector);
      const answer = upstream.refuse(leaving.to.url, error, "Because\r\n of\u202e it.");
      const refusal = await failureOf(arrive(connector, leaving, answer));
      assert.deepEqual([refusal.reason, refusal.rule], [reason, "oauth.error"]);
      assert.equal(refusal.message, `The provider answered ${error}: Because of it.`);
    });
});

describe("the ID token of an OpenID provider", () => {
  withProvider();

  /** What happens when the token has these claims. */
  const withClaims = async (claims: Json, row: Row = {}): Promise<string> => {
    upstream.claims = claims;
    return await failure(signIn(open(row)));
  };
  const withToken = async (signer: Upstream["signer"]): Promise<string> => {
    upstream.signer = signer;
    return await failure(signIn());
  };

  it("says who it is, how they signed in and in which session", async () => {
    upstream.claims = { acr: "gold", amr: ["pwd", "otp"], auth_time: 1_700_000_000 };
    const { issuer, subject, email, emailVerified, acr, amr, authTime, session, tokens } =
      await signIn();
    assert.deepEqual(
      { issuer, subject, email, emailVerified, acr, amr, authTime, index: session?.index },
      {
        issuer: upstream.issuer,
        subject: "ada-at-upstream",
        email: "ada@upstream.example",
        emailVerified: true,
        acr: "gold",
        amr: ["pwd", "otp"],
        authTime: 1_700_000_000,
        index: "a-session",
      },
    );
    assert.equal(decodeJwt(session?.idToken ?? "").sub, "ada-at-upstream");
    assert.deepEqual(tokens?.scopes, ["openid", "email"]);
  });

  it("is refused unsigned, with alg none (RFC 8725 §3.2)", async () => {
    const unsigned = (claims: Json) => Promise.resolve(new UnsecuredJWT(claims).encode());
    assert.equal(await withToken(unsigned), "invalid oidc.alg");
  });

  it("is refused with its signature cut off", async () => {
    const cut = async (claims: Json) => (await sign(upstream.key, claims)).replace(/\.[^.]*$/, ".");
    assert.match(await withToken(cut), /^invalid oidc\.(signature|jwt)$/);
  });

  it("is refused signed with the public key as a secret (RFC 8725 §2.1)", async () => {
    const secret = Buffer.from(publicPem(upstream.key));
    const forged = (claims: Json) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: "HS256", kid: upstream.key.thumbprint })
        .sign(secret);
    assert.equal(await withToken(forged), "invalid oidc.alg");
  });

  it("is refused signed with our own client secret, which any other party to it has", async () => {
    const forged = (claims: Json) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: "HS256" })
        .sign(Buffer.from(upstream.clientSecret.padEnd(32)));
    assert.equal(await withToken(forged), "invalid oidc.alg");
  });

  it("is refused signed with another key under the same name", async () => {
    const other = await aKey("RS256");
    const forged = (claims: Json) => sign(other, claims, { kid: upstream.key.thumbprint });
    assert.equal(await withToken(forged), "invalid oidc.signature");
  });

  it("is refused signed with a key that came with it (RFC 8725 §3.10)", async () => {
    const other = await aKey("RS256");
    const forged = (claims: Json) => sign(other, claims, { jwk: other.jwk, kid: "mine" });
    assert.equal(await withToken(forged), "invalid oidc.key");
  });

  it("is refused that names no key of several (OIDC Core §10.1)", async () => {
    const other = await aKey("RS256");
    upstream.keys = [upstream.key.jwk, other.jwk];
    const nameless = (claims: Json) => sign(upstream.key, claims, { kid: undefined });
    assert.equal(await withToken(nameless), "invalid oidc.key");
  });

  it("is refused with another algorithm than the settings name", async () => {
    const row = { settings: { id_token_signed_response_alg: "ES256" } };
    assert.equal(await withClaims({}, row), "invalid oidc.alg");
  });

  it("is refused when it is no JWT", async () => {
    assert.equal(await withToken(() => Promise.resolve("a.b.c")), "invalid oidc.jwt");
  });

  it("is refused encrypted, where nothing was said of that", async () => {
    assert.equal(await withToken(() => Promise.resolve("a.b.c.d.e")), "invalid oidc.encryption");
  });

  it("must be there (OIDC Core §3.1.3.3)", async () => {
    upstream.granted = { id_token: undefined };
    assert.equal(await failure(signIn()), "invalid oidc.id_token");
  });

  for (const [problem, claims, expected] of [
    ["of another issuer", { iss: "https://attacker.example" }, "invalid oidc.iss"],
    ["for another client", { aud: "another-client" }, "invalid oidc.aud"],
    ["for us and a stranger", { aud: ["lintel-at-upstream", "x"] }, "invalid oidc.aud"],
    [
      "for us and a stranger who is the party",
      { aud: ["lintel-at-upstream", "x"], azp: "x" },
      "invalid oidc.aud",
    ],
    ["whose party is another", { azp: "another-client" }, "invalid oidc.azp"],
    ["with another nonce", { nonce: "another" }, "invalid oidc.nonce"],
    ["without nonce", { nonce: undefined }, "invalid oidc.nonce"],
    ["that has expired", { exp: now() - 61 }, "expired oidc.exp"],
    ["that never was good", { exp: -1e300 }, "expired oidc.exp"],
    ["of the future", { iat: now() + 200 }, "expired oidc.iat"],
    ["of the past", { iat: now() - 3_600 }, "expired oidc.iat"],
    ["not yet good", { nbf: now() + 200 }, "invalid oidc.nbf"],
    ["without iss", { iss: undefined }, "invalid oidc.iss"],
    ["without sub", { sub: undefined }, "invalid oidc.sub"],
    ["with an empty sub", { sub: "" }, "invalid oidc.sub"],
    ["without aud", { aud: undefined }, "invalid oidc.aud"],
    ["without exp", { exp: undefined }, "invalid oidc.exp"],
    ["without iat", { iat: undefined }, "invalid oidc.iat"],
    ["with a NUL in the sub", { sub: "ada\u0000" }, "incomplete oauth.subject"],
    ["with a sub that is too long", { sub: "x".repeat(256) }, "incomplete oauth.subject"],
  ] as const)
    it(`is refused ${problem} (OIDC Core §3.1.3.7)`, async () => {
      upstream.person["sub"] = (claims as Json)["sub"] ?? upstream.person["sub"];
      assert.equal(await withClaims(claims), expected);
    });

  it("is taken with a clock that is 50 seconds off, either way", async () => {
    for (const seconds of [-50, 50]) {
      const iat = now() + seconds;
      upstream.claims = { iat, exp: Math.min(iat + 300, now() + seconds) };
      await signIn();
    }
  });

  it("may be for others that the settings trust, if we are the party (OIDC Core §3.1.3.7)", async () => {
    const row = { settings: { trusted_audiences: ["api"] } };
    const aud = [upstream.clientId, "api"];
    upstream.claims = { aud, azp: upstream.clientId };
    await signIn(open(row));
    assert.equal(await withClaims({ aud }, row), "invalid oidc.azp");
    assert.equal(await withClaims({ aud, azp: "api" }, row), "invalid oidc.azp");
    assert.equal(await withClaims({ aud: "api" }, row), "invalid oidc.aud");
  });

  it("needs no nonce of a provider that repeats none", async () => {
    upstream.claims = { nonce: undefined };
    await signIn(open({ settings: { nonce: false } }));
  });

  it("must have the claims that the settings demand, such as Google's hd", async () => {
    const row = { settings: { required_claims: { hd: "a.example" } } };
    assert.equal(await withClaims({}, row), "invalid oidc.hd");
    assert.equal(await withClaims({ hd: "b.example" }, row), "invalid oidc.hd");
    upstream.claims = { hd: "a.example" };
    await signIn(open(row));
  });

  it("proves a fresh sign-in where one was asked for (OIDC Core §3.1.2.1)", async () => {
    const fresh = async (claims: Json) => {
      upstream.claims = claims;
      return await failure(signIn(open(), { fresh: true }));
    };
    await signIn(open(), { fresh: true });
    assert.equal(await fresh({ auth_time: now() - 120 }), "invalid oidc.auth_time");
    assert.equal(await fresh({ auth_time: now() + 120 }), "invalid oidc.auth_time");
    assert.equal(await fresh({ auth_time: undefined }), "invalid oidc.auth_time");
    assert.equal(await fresh({ auth_time: String(now()) }), "invalid oidc.auth_time");
  });

  for (const alg of ["ES256", "PS256", "Ed25519"])
    it(`may be signed with ${alg}`, async () => {
      const key = await aKey(alg);
      upstream.keys = [key.jwk];
      upstream.signer = (claims) => sign(key, claims);
      await signIn();
    });
});

describe("a provider of many directories (T-90)", () => {
  withProvider();

  const OURS = "72f988bf-86f1-41af-91ab-2d7cd011db47";
  const ALSO_OURS = "9188040d-6c67-4c5b-b112-36a304b66dad";
  const THEIRS = "11111111-2222-4333-8444-555555555555";
  const directory = (tid: string) => `${upstream.issuer}/${tid}/v2.0`;
  const row = (): Row => ({
    issuer: directory("{tenantid}"),
    settings: {
      discovery_url: `${upstream.issuer}${METADATA}`,
      allowed_tenants: [OURS, ALSO_OURS],
      subject_claims: ["tid", "oid"],
      userinfo: false,
    },
  });
  const from = async (tid: string, claims: Json = {}): Promise<UpstreamIdentity> => {
    upstream.metadata = {
      issuer: directory("{tenantid}"),
      authorization_response_iss_parameter_supported: undefined,
    };
    upstream.claims = { iss: directory(tid), tid, oid: "an-object", ...claims };
    return await signIn(open(row()), {}, { iss: undefined });
  };

  it("lets people of the directories in that are allowed, each under its own name", async () => {
    for (const tid of [OURS, ALSO_OURS]) {
      const { issuer, subject } = await from(tid);
      assert.deepEqual([issuer, subject], [directory(tid), `${tid}:an-object`]);
    }
  });

  it("lets nobody in of another directory", async () => {
    assert.equal(await failure(from(THEIRS)), "invalid oidc.iss");
  });

  it("lets nobody in whose directory is not the issuer's", async () => {
    assert.equal(await failure(from(OURS, { tid: ALSO_OURS })), "invalid oidc.tid");
    assert.equal(await failure(from(OURS, { tid: undefined })), "invalid oidc.tid");
  });

  it("lets nobody in whose issuer is the template itself", async () => {
    const iss = directory("{tenantid}");
    assert.equal(await failure(from(OURS, { iss })), "invalid oidc.iss");
  });

  it("knows people by directory and object, never by address", async () => {
    const { subject } = await from(OURS, { email: "ceo@victim.example", sub: "pairwise" });
    assert.equal(subject, `${OURS}:an-object`);
    const { emailVerified } = await from(OURS, { email: "ceo@victim.example" });
    assert.equal(emailVerified, false);
    assert.equal(await failure(from(OURS, { oid: undefined })), "incomplete oauth.subject");
  });

  it("names the directory in the answer, where it names itself (RFC 9207)", async () => {
    upstream.metadata = { issuer: directory("{tenantid}") };
    upstream.claims = { iss: directory(OURS), tid: OURS, oid: "an-object" };
    await signIn(open(row()), {}, { iss: directory(OURS) });
    const other = signIn(open(row()), {}, { iss: directory(THEIRS) });
    assert.equal(await failure(other), "invalid oauth.iss");
  });
});

describe("what an OpenID provider says of a person", () => {
  withProvider();

  it("is what is in the ID token, and beside that what userinfo says (OIDC Core §5.3)", async () => {
    upstream.claims = { name: "Ada of the token" };
    upstream.person = { ...upstream.person, name: "Ada of userinfo", zoneinfo: "Europe/London" };
    const { claims } = await signIn();
    assert.equal(claims["name"], "Ada of the token");
    assert.equal(claims["zoneinfo"], "Europe/London");
  });

  it("is refused where userinfo speaks of somebody else (OIDC Core §5.3.2)", async () => {
    upstream.claims = { sub: "mallory" };
    assert.equal(await failure(signIn()), "invalid oidc.userinfo_sub");
    upstream.mend();
    upstream.replaced.set("/userinfo", () => ({ json: { email: "ada@upstream.example" } }));
    assert.equal(await failure(signIn()), "invalid oidc.userinfo_sub");
  });

  it("is not asked for where the settings say so", async () => {
    await signIn(open({ settings: { userinfo: false } }));
    assert.equal(upstream.asked("/userinfo"), 0);
  });

  it("may be signed, by the provider and for us (OIDC Core §5.3.2)", async () => {
    const { issuer: iss, clientId: aud } = upstream;
    const said = (claims: Json, key = upstream.key) =>
      upstream.replaced.set("/userinfo", async () => ({
        type: "application/jwt",
        body: await sign(key, { iss, aud, iat: now(), sub: "ada-at-upstream", ...claims }),
      }));
    said({ nickname: "Countess", iat: undefined });
    assert.equal((await signIn()).claims["nickname"], "Countess");
    said({ aud: "another" });
    assert.equal(await failure(signIn()), "invalid oidc.aud");
    said({ sub: "mallory" });
    assert.equal(await failure(signIn()), "invalid oidc.userinfo_sub");
    said({}, { ...(await aKey("RS256")), thumbprint: upstream.key.thumbprint });
    assert.equal(await failure(signIn()), "invalid oidc.signature");
  });

  it("is refused where userinfo refuses our token", async () => {
    upstream.replaced.set("/userinfo", () => ({ status: 403, json: {} }));
    assert.equal(await failure(signIn()), "refused oauth.api");
  });

  for (const [said, expected] of [
    [true, true],
    ["true", true],
    [false, false],
    ["false", false],
    ["yes", false],
    [1, false],
    [{}, false],
    [undefined, false],
  ] as const)
    it(`counts an address as ${expected ? "" : "un"}verified with email_verified ${JSON.stringify(said)} (T-90)`, async () => {
      upstream.person["email_verified"] = said;
      assert.equal((await signIn()).emailVerified, expected);
    });

  it("does not verify the address of the token by that of userinfo", async () => {
    upstream.claims = { email: "victim@a.example" };
    const { email, emailVerified } = await signIn();
    assert.deepEqual([email, emailVerified], ["victim@a.example", false]);
  });

  it("does not verify another claim by what is said of `email`, unless that is mapped as well (T-90)", async () => {
    upstream.person = { ...upstream.person, upn: "ceo@corp.example", email_verified: true };
    const mapped = (attributeMapping: Record<string, string>) => signIn(open({ attributeMapping }));
    const { email, emailVerified } = await mapped({ email: "upn" });
    assert.deepEqual([email, emailVerified], ["ceo@corp.example", false]);
    const said = await mapped({ email: "upn", email_verified: "email_verified" });
    assert.equal(said.emailVerified, true);
  });

  it("may call the address otherwise", async () => {
    upstream.person = { ...upstream.person, email: undefined, mail: "ada@mail.example" };
    const { email } = await signIn(open({ attributeMapping: { email: "mail" } }));
    assert.equal(email, "ada@mail.example");
  });

  it("may be the names beside Apple's first answer, and nothing else of that", async () => {
    const user = JSON.stringify({
      name: { firstName: "Ada", lastName: "Byron" },
      email: "victim@a.example",
      sub: "mallory",
    });
    upstream.person["email"] = undefined;
    const settings = { response_mode: "form_post", user_parameter: true };
    const { claims, email, subject } = await signIn(open({ settings }), {}, { user });
    assert.deepEqual([claims["given_name"], claims["family_name"]], ["Ada", "Byron"]);
    assert.deepEqual([email, subject], [undefined, "ada-at-upstream"]);
    for (const nonsense of ["{", "null", '"x"', '{"name":7}'])
      assert.equal((await signIn(open({ settings }), {}, { user: nonsense })).email, undefined);
    const { claims: without } = await signIn(open(), {}, { user });
    assert.equal(without["given_name"], undefined);
  });
});

describe("how we show a provider who we are", () => {
  withProvider();

  const sealed = async (pem?: string) => {
    const row = connectionTo(upstream, needs.seal);
    const jwk = pem === undefined ? await newConnectionKey() : await readPrivateKey(pem);
    const place = { table: "identity_providers", column: "private_key_enc", id: row.id };
    return { id: row.id, privateKeyEnc: needs.seal.encrypt(JSON.stringify(jwk), place) };
  };
  const secretFor = (id: string) =>
    needs.seal.encrypt(upstream.clientSecret, {
      table: "identity_providers",
      column: "client_secret_enc",
      id,
    });

  it("is a secret in the header, encoded as RFC 6749 §2.3.1 says", async () => {
    await signIn();
    assert.match(upstream.last("/token").headers.authorization ?? "", /^Basic /);
    assert.equal("client_secret" in upstream.last("/token").fields, false);
  });

  it("is a secret in the body where the settings say so, or the provider takes nothing else", async () => {
    await signIn(open({ settings: { token_endpoint_auth_method: "client_secret_post" } }));
    assert.equal(upstream.last("/token").headers.authorization, undefined);
    upstream.metadata = { token_endpoint_auth_methods_supported: ["client_secret_post"] };
    await signIn();
    assert.equal(upstream.last("/token").fields["client_secret"], upstream.clientSecret);
  });

  for (const [audience, path] of [
    ["issuer", ""],
    ["token_endpoint", "/token"],
  ] as const)
    it(`is an assertion of a key of this connection's for the ${audience} (RFC 7523 §3)`, async () => {
      const settings = { assertion_audience: audience };
      const connector = open({ ...(await sealed()), clientSecretEnc: null, settings });
      await signIn(connector);
      const { client_assertion: assertion = "", client_assertion_type: type } =
        upstream.last("/token").fields;
      assert.equal(type, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
      const { body = "" } = (await connector.describe?.()) ?? {};
      const keys = JSON.parse(body) as JSONWebKeySet;
      const { payload } = await jwtVerify(assertion, createLocalJWKSet(keys), {
        issuer: upstream.clientId,
        subject: upstream.clientId,
        audience: upstream.issuer + path,
      });
      assert((payload.exp ?? 0) - now() <= 60);
      const [key] = keys.keys;
      assert.deepEqual(Object.keys(key ?? {}).toSorted(), ["alg", "e", "kid", "kty", "n", "use"]);
    });

  it("is a secret that the team's key signs, for Apple", async () => {
    const pair = await generateKeyPair("ES256", { extractable: true });
    const pem = await exportPKCS8(pair.privateKey);
    const settings = {
      team_id: "ABCDE12345",
      key_id: "KEY1234567",
      token_endpoint_auth_method: "client_secret_post",
    };
    const connector = open({ ...(await sealed(pem)), clientSecretEnc: null, settings });
    assert.equal(await failure(signIn(connector)), "misconfigured oauth.token_error");
    const { client_secret: secret = "" } = upstream.last("/token").fields;
    assert.equal(decodeProtectedHeader(secret).kid, "KEY1234567");
    await jwtVerify(secret, pair.publicKey, {
      algorithms: ["ES256"],
      issuer: "ABCDE12345",
      subject: upstream.clientId,
      audience: upstream.issuer,
      maxTokenAge: 300,
    });
    const { body } = (await connector.describe?.()) ?? {};
    assert.equal(body, '{"keys":[]}');
  });

  it("is nothing for a public client", async () => {
    const settings = { token_endpoint_auth_method: "none" };
    assert.equal(
      await failure(signIn(open({ clientSecretEnc: null, settings }))),
      "misconfigured oauth.token_error",
    );
    const { fields } = upstream.last("/token");
    assert.deepEqual(
      [fields["client_id"], fields["client_secret"]],
      [upstream.clientId, undefined],
    );
  });

  it("opens for its own row only", async () => {
    const { id } = connectionTo(upstream, needs.seal);
    await signIn(open({ id, clientSecretEnc: secretFor(id) }));
    await assert.rejects(signIn(open({ id, clientSecretEnc: secretFor(randomUUID()) })));
  });

  it("is missed where it is missing", async () => {
    const settings = { token_endpoint_auth_method: "client_secret_basic" };
    const connector = open({ clientSecretEnc: null, settings });
    assert.equal(await failure(signIn(connector)), "misconfigured oauth.credentials");
  });

  it("takes Apple's .p8 files, and nothing that is no private key", async () => {
    const { privateKey } = await generateKeyPair("ES256", { extractable: true });
    const jwk = await readPrivateKey(`\n${await exportPKCS8(privateKey)}\n`);
    assert.deepEqual([jwk.kty, jwk.alg], ["EC", "ES256"]);
    await assert.rejects(readPrivateKey("-----BEGIN PUBLIC KEY-----"), /must be a private key/);
  });
});

describe("the token endpoint of a provider", () => {
  withProvider();

  const says = async (said: Json & { json?: unknown }): Promise<string> => {
    upstream.replaced.set("/token", () => said);
    return await failure(signIn());
  };

  it("says whose fault it is", async () => {
    const error = (code: string, status = 400) => says({ status, json: { error: code } });
    assert.equal(await error("invalid_client", 401), "misconfigured oauth.token_error");
    assert.equal(await error("unauthorized_client"), "misconfigured oauth.token_error");
    assert.equal(await error("invalid_grant"), "expired oauth.token_error");
    assert.equal(await error("mfa_required"), "refused oauth.token_error");
    assert.equal(await says({ status: 400, json: {} }), "refused oauth.token_error");
    // GitHub, with status 200.
    assert.equal(await error("bad_verification_code", 200), "expired oauth.token_error");
    assert.equal(
      await error("incorrect_client_credentials", 200),
      "misconfigured oauth.token_error",
    );
  });

  it("is unavailable with a status of 500 or 429, or with a page", async () => {
    assert.equal(await says({ status: 500, json: {} }), "unavailable http.status");
    assert.equal(await says({ status: 429, json: {} }), "unavailable http.status");
    const page = { status: 200, type: "text/html", body: "<h1>Sign in</h1>" };
    assert.equal(await says(page), "unavailable http.json");
    assert.equal(await says({ body: "[1]" }), "unavailable http.json");
  });

  it("is unavailable when it says too much (T-95)", async () => {
    assert.equal(await says({ body: "x".repeat(300_000) }), "unavailable http.too_large");
  });

  it("is unavailable when it says too little in time (T-95)", async () => {
    const fetch = createSafeFetch({
      allowLoopback: true,
      allowHttp: true,
      totalMs: 300,
      log: needs.log,
    });
    upstream.replaced.set("/token", async () => {
      await delay(700);
      return { json: {} };
    });
    assert.equal(await failure(signIn(open({}, { fetch }))), "unavailable http.timeout");
  });

  it("sends us nowhere else", async () => {
    const headers = { location: `${upstream.issuer}/elsewhere` };
    assert.equal(await says({ status: 307, headers, json: {} }), "unavailable http.redirect");
    assert.equal(upstream.asked("/elsewhere"), 0);
  });

  it("grants bearer tokens only", async () => {
    const granted = { access_token: "t", token_type: "mac" };
    assert.equal(await says({ json: granted }), "unavailable oauth.token");
    assert.equal(await says({ json: { token_type: "Bearer" } }), "unavailable oauth.token");
  });

  it("is asked with the verifier of this very request (RFC 7636 §4.6)", async () => {
    const connector = open();
    const leaving = await leave(connector);
    const answer = upstream.agree(leaving.to.url);
    const stolen = { ...leaving, secrets: { ...leaving.secrets, code_verifier: "x".repeat(43) } };
    assert.equal(await failure(arrive(connector, stolen, answer)), "expired oauth.token_error");
  });

  it("is not asked at an address that nothing may go to", async () => {
    const fetch = createSafeFetch({ log: needs.log });
    assert.match(await failure(signIn(open({}, { fetch }))), /^misconfigured http\./);
    assert.equal(upstream.calls.length, 0);
  });

  it("renews tokens, and says when they may not be used any longer (RFC 6749 §6)", async () => {
    const connector = open();
    const { refreshToken, expiresAt } = (await connector.refresh?.("a-refresh-token")) ?? {};
    assert.equal(refreshToken, "a-refresh-token");
    assert(Math.abs((expiresAt ?? 0) - now() - 3_600) <= 2);
    const refused = connector.refresh?.("another") ?? Promise.resolve();
    assert.equal(await failure(refused), "expired oauth.token_error");
  });
});

describe("the metadata of an OpenID provider", () => {
  withProvider();

  it("is read once, for all who come at once, and again after an hour", async () => {
    const connector = open();
    await Promise.all(Array.from({ length: 20 }, () => leave(connector)));
    await leave(connector);
    assert.equal(upstream.asked(METADATA), 1);
    later(HOUR + 1);
    upstream.metadata = { authorization_endpoint: `${upstream.issuer}/moved` };
    assert.match((await leave(connector)).to.url, /\/moved\?/);
    assert.equal(upstream.asked(METADATA), 2);
  });

  it("is kept for a day while the provider is down, which is asked once a minute", async () => {
    const connector = open();
    await leave(connector);
    upstream.replaced.set(METADATA, () => ({ status: 502, json: {} }));
    later(2 * HOUR);
    for (let times = 0; times < 5; times += 1) await leave(connector);
    assert.equal(upstream.asked(METADATA), 2);
    assert(steps.some(({ step }) => step === "kept what was known before"));
    later(2 * HOUR + MINUTE);
    await leave(connector);
    assert.equal(upstream.asked(METADATA), 3);
    later(25 * HOUR);
    assert.equal(await failure(leave(connector)), "unavailable http.status");
  });

  it("is not asked for again and again where there never was any", async () => {
    upstream.replaced.set(METADATA, () => ({ status: 502, json: {} }));
    const connector = open();
    for (let times = 0; times < 5; times += 1)
      assert.equal(await failure(leave(connector)), "unavailable http.status");
    assert.equal(upstream.asked(METADATA), 1);
    upstream.replaced.clear();
    later(6_000);
    await leave(connector);
  });

  it("must be of that very issuer (OIDC Discovery §4.3)", async () => {
    upstream.metadata = { issuer: "https://attacker.example" };
    const { reason, rule, message, hint } = await failureOf(leave(open()));
    assert.deepEqual([reason, rule], ["misconfigured", "oidc.discovery_issuer"]);
    assert(message.includes("https://attacker.example") && message.includes(upstream.issuer));
    assert.match(hint ?? "", /letter by letter/);
    upstream.metadata = { issuer: `${upstream.issuer}/` };
    assert.equal(await failure(leave(open())), "misconfigured oidc.discovery_issuer");
  });

  it("must be there, and whole", async () => {
    upstream.metadata = { token_endpoint: undefined, jwks_uri: 7 };
    const { rule, message } = await failureOf(leave(open()));
    assert.equal(rule, "oidc.discovery");
    assert.match(message, /token_endpoint, jwks_uri/);
    upstream.replaced.set(METADATA, () => ({ status: 404, json: {} }));
    assert.equal(await failure(leave(open())), "misconfigured oidc.discovery");
  });

  for (const address of ["javascript:alert(1)", "ftp://op.example", "/authorize"])
    it(`sends nobody to ${address}`, async () => {
      upstream.metadata = { authorization_endpoint: address };
      assert.equal(await failure(leave(open())), "misconfigured oidc.endpoint");
    });

  it("counts less than endpoints in the settings", async () => {
    const settings = { authorization_endpoint: `${upstream.issuer}/other` };
    assert.match((await leave(open({ settings }))).to.url, /\/other\?/);
  });

  it("is not needed where the settings say everything", async () => {
    const settings = {
      discovery: false,
      authorization_endpoint: `${upstream.issuer}/authorize`,
      token_endpoint: `${upstream.issuer}/token`,
      jwks_uri: `${upstream.issuer}/jwks`,
    };
    await signIn(open({ settings }));
    assert.equal(upstream.asked(METADATA), 0);
  });

  it("is read where the settings say it is", async () => {
    const at = `${upstream.issuer}/elsewhere`;
    upstream.replaced.set("/elsewhere", () => ({
      json: {
        issuer: upstream.issuer,
        authorization_endpoint: `${upstream.issuer}/found`,
        token_endpoint: `${upstream.issuer}/token`,
        jwks_uri: `${upstream.issuer}/jwks`,
      },
    }));
    assert.match((await leave(open({ settings: { discovery_url: at } }))).to.url, /\/found\?/);
  });
});

describe("the keys of an OpenID provider", () => {
  withProvider();

  it("are read once, and again when they change, at most once a minute (T-95)", async () => {
    const connector = open();
    await signIn(connector);
    await signIn(connector);
    assert.equal(upstream.asked("/jwks"), 1);
    const rotate = async () => {
      const next = await aKey("RS256");
      upstream.keys = [next.jwk];
      upstream.signer = (claims) => sign(next, claims);
    };
    await rotate();
    await Promise.all([signIn(connector), signIn(connector), signIn(connector)]);
    assert.equal(upstream.asked("/jwks"), 2);
    await rotate();
    assert.equal(await failure(signIn(connector)), "invalid oidc.key");
    assert.equal(upstream.asked("/jwks"), 2);
    later(MINUTE + 1);
    await signIn(connector);
    assert.equal(upstream.asked("/jwks"), 3);
  });

  it("are not asked for by a flood of unknown names (T-95)", async () => {
    const connector = open();
    await signIn(connector);
    const token = await upstream.logoutToken();
    const [, payload, signature] = token.split(".");
    const named = (kid: string) => {
      const header = JSON.stringify({ alg: "RS256", kid });
      return [Buffer.from(header).toString("base64url"), payload, signature].join(".");
    };
    for (const minute of [0, 1]) {
      later(minute * (MINUTE + 1));
      for (let times = 0; times < 500; times += 1) {
        const logout_token = named(randomUUID());
        const message = { method: "POST", parameters: { logout_token } } as const;
        await assert.rejects(connector.readLogout?.(message, trace) ?? Promise.resolve());
      }
    }
    assert.equal(upstream.asked("/jwks"), 3);
  });

  it("are kept while the provider does not answer", async () => {
    const connector = open();
    await signIn(connector);
    upstream.replaced.set("/jwks", () => ({ status: 500, json: {} }));
    later(11 * MINUTE);
    await signIn(connector);
    assert.equal(upstream.asked("/jwks"), 2);
  });

  for (const [what, said, expected] of [
    ["sent elsewhere", { status: 302, headers: { location: "/x" }, json: {} }, "http.redirect"],
    ["too large", { body: `{"keys":["${"x".repeat(300_000)}"]}` }, "http.too_large"],
    ["not there", { status: 404, json: {} }, "oidc.jwks"],
    ["no list", { json: { keys: "all" } }, "oidc.jwks"],
    ["no objects", { json: { keys: [null] } }, "oidc.jwks"],
    ["a page", { type: "text/html", body: "<p>Hello" }, "http.json"],
  ] as const)
    it(`are of no use ${what}`, async () => {
      upstream.replaced.set("/jwks", () => said);
      assert.equal(await failure(signIn()), `unavailable ${expected}`);
    });

  it("are too weak with 1024 bits (RFC 7518 §3.3)", async () => {
    const weak = await aKey("RS256");
    upstream.keys = [{ ...weak.jwk, n: (weak.jwk.n ?? "").slice(0, 171) }];
    upstream.signer = (claims) => sign(weak, claims);
    assert.match(await failure(signIn()), /^invalid oidc\.(jwt|signature)$/);
  });
});

describe("a vendor of OAuth 2.0", () => {
  withProvider();

  const row = { kind: "oauth2" } as const;

  it("knows people by a number, and their verified primary address", async () => {
    const { issuer, subject, email, emailVerified, claims, session, authTime } = await signIn(
      open(row),
    );
    assert.deepEqual(
      { issuer, subject, email, emailVerified, session, authTime },
      {
        issuer: upstream.issuer,
        subject: "4242",
        email: "ada@upstream.example",
        emailVerified: true,
        session: undefined,
        authTime: undefined,
      },
    );
    assert.equal(claims["login"], "ada");
  });

  it("gives no address that is not verified, nor one that somebody typed", async () => {
    upstream.person = { ...upstream.person, email_verified: false };
    const { email, emailVerified, claims } = await signIn(open(row));
    assert.deepEqual([email, emailVerified, claims["email"]], [undefined, false, undefined]);
    for (const json of [[], {}, [null], [{ email: 7, primary: true, verified: true }]]) {
      upstream.replaced.set("/user/emails", () => ({ json }));
      assert.equal((await signIn(open(row))).email, undefined);
    }
  });

  it("may say in userinfo whether the address is verified, by another name", async () => {
    upstream.person = { id: "80351110224678912", email: "ada@d.example", verified: true };
    const settings = { emails_endpoint: undefined };
    const attributeMapping = { email_verified: "verified" };
    const identity = await signIn(open({ ...row, settings, attributeMapping }));
    assert.deepEqual([identity.subject, identity.emailVerified], ["80351110224678912", true]);
    const without = await signIn(open({ ...row, settings }));
    assert.equal(without.emailVerified, false);
  });

  for (const id of [undefined, null, "", 1.5, 2 ** 60, true, { a: 1 }])
    it(`knows nobody by ${JSON.stringify(id)}`, async () => {
      upstream.person["id"] = id;
      assert.equal(await failure(signIn(open(row))), "incomplete oauth.subject");
    });

  it("is asked with state and code challenge, and with no nonce", async () => {
    const sent = await request(row, { fresh: true });
    assert.deepEqual(Object.keys(sent).toSorted(), [
      "client_id",
      "code_challenge",
      "code_challenge_method",
      "redirect_uri",
      "response_type",
      "scope",
      "state",
    ]);
  });

  it("is told who asks, which GitHub demands", async () => {
    await signIn(open(row));
    assert.equal(upstream.last("/user").headers["user-agent"], "lintel");
  });

  it("is refused when another names itself in the answer (RFC 9207 §2.4)", async () => {
    const iss = "https://attacker.example";
    assert.equal(await failure(signIn(open(row), {}, { iss })), "invalid oauth.iss");
    await signIn(open(row), {}, { iss: undefined });
  });

  it("may separate scopes by commas", async () => {
    upstream.granted = { scope: "read:user,user:email" };
    assert.deepEqual((await signIn(open(row))).tokens?.scopes, ["read:user", "user:email"]);
    upstream.granted = { scope: undefined };
    assert.deepEqual((await signIn(open(row))).tokens?.scopes, ["read:user"]);
  });

  it("may say how long a token is good in a text, and nothing beyond ten years", async () => {
    upstream.granted = { expires_in: "60" };
    assert(((await signIn(open(row))).tokens?.expiresAt ?? 0) - now() <= 60);
    for (const expires_in of [1e300, "Infinity"]) {
      upstream.granted = { expires_in };
      const { expiresAt = Infinity } = (await signIn(open(row))).tokens ?? {};
      assert(expiresAt < now() + 400_000_000);
    }
  });

  it("may grant tokens that do not say of which type they are, nor for how long", async () => {
    upstream.granted = { token_type: undefined, expires_in: undefined };
    assert.equal((await signIn(open(row))).tokens?.expiresAt, undefined);
  });

  it("is refused where its API refuses our token", async () => {
    upstream.replaced.set("/user", () => ({ status: 401, json: {} }));
    assert.equal(await failure(signIn(open(row))), "refused oauth.api");
  });
});

describe("a logout token from an OpenID provider", () => {
  withProvider();

  const read = async (token: string, connector = open()) => {
    const message = { method: "POST", parameters: { logout_token: token } } as const;
    assert(connector.readLogout);
    return await connector.readLogout(message, trace);
  };
  const refused = async (changes: Json, header?: Json) =>
    await failure(read(await upstream.logoutToken(changes, header)));

  it("ends one session, or all of a person's (OIDC Back-Channel Logout §2.4)", async () => {
    const { issuer } = upstream;
    const both = await read(await upstream.logoutToken());
    assert.deepEqual(both, { issuer, subject: "ada-at-upstream", index: "a-session" });
    const all = await read(await upstream.logoutToken({ sid: undefined }));
    assert.deepEqual(all, { issuer, subject: "ada-at-upstream" });
    const one = await read(await upstream.logoutToken({ sub: undefined }));
    assert.deepEqual(one, { issuer, index: "a-session" });
  });

  it("may have no type of its own, and no other's (OIDC Back-Channel Logout §2.4)", async () => {
    await read(await upstream.logoutToken({}, { typ: undefined }));
    await read(await upstream.logoutToken({}, { typ: "JWT" }));
    assert.equal(await refused({}, { typ: "at+jwt" }), "invalid oidc.typ");
  });

  const EVENT = "http://schemas.openid.net/event/backchannel-logout";
  for (const [problem, changes, expected] of [
    ["of another issuer", { iss: "https://attacker.example" }, "invalid oidc.iss"],
    ["for another client", { aud: "another" }, "invalid oidc.aud"],
    ["for us and a stranger", { aud: ["lintel-at-upstream", "x"] }, "invalid oidc.aud"],
    ["that has expired", { exp: now() - 61 }, "expired oidc.exp"],
    ["of the future", { iat: now() + 200 }, "expired oidc.iat"],
    ["of long ago", { iat: now() - 3_600 }, "expired oidc.iat"],
    ["without iat", { iat: undefined }, "invalid oidc.iat"],
    ["without exp", { exp: undefined }, "invalid oidc.exp"],
    ["without jti", { jti: undefined }, "invalid oidc.jti"],
    ["with a jti that is no text", { jti: 7 }, "invalid oidc.jti"],
    ["without events", { events: undefined }, "invalid oidc.events"],
    ["of another event", { events: { "urn:other": {} } }, "invalid oidc.events"],
    ["whose event is no object", { events: { [EVENT]: true } }, "invalid oidc.events"],
    ["with a nonce, as an ID token has", { nonce: "n" }, "invalid oidc.nonce"],
    ["of nobody", { sub: undefined, sid: undefined }, "invalid oidc.sid"],
    ["with a sid that is no text", { sid: 7 }, "invalid oidc.sid"],
  ] as const)
    it(`is refused ${problem} (OIDC Back-Channel Logout §2.6)`, async () => {
      assert.equal(await refused(changes), expected);
    });

  it("is refused unsigned, or signed by others (OIDC Back-Channel Logout §2.6)", async () => {
    const claims = decodeJwt(await upstream.logoutToken());
    assert.equal(await failure(read(new UnsecuredJWT(claims).encode())), "invalid oidc.alg");
    const other = await aKey("RS256");
    const forged = await sign(other, claims, { kid: upstream.key.thumbprint });
    assert.equal(await failure(read(forged)), "invalid oidc.signature");
  });

  it("is refused when it is an ID token", async () => {
    const { session } = await signIn();
    assert.match(await failure(read(session?.idToken ?? "")), /^invalid oidc\.(jti|events)$/);
  });

  it("is good once, on all nodes, even at the same time (OIDC Back-Channel Logout §2.6)", async () => {
    const row = connectionTo(upstream, needs.seal);
    const nodes = [1, 2, 3, 4].map(() => openOidc(row, SITE, needs));
    const token = await upstream.logoutToken();
    const results = await Promise.allSettled(nodes.map((node) => read(token, node)));
    assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
    assert.equal(await failure(read(token, openOidc(row, SITE, needs))), "replayed oidc.jti");
  });

  it("may be said to be good for ever, and still is good once", async () => {
    const row = connectionTo(upstream, needs.seal);
    const token = await upstream.logoutToken({ exp: 1e300 });
    await read(token, openOidc(row, SITE, needs));
    assert.equal(await failure(read(token, openOidc(row, SITE, needs))), "replayed oidc.jti");
  });

  it("is not used up by one that was refused", async () => {
    const row = connectionTo(upstream, needs.seal);
    const connector = openOidc(row, SITE, needs);
    const jti = randomUUID();
    const wrong = await upstream.logoutToken({ jti, nonce: "n" });
    assert.equal(await failure(read(wrong, connector)), "invalid oidc.nonce");
    await read(await upstream.logoutToken({ jti }), connector);
  });

  it("comes in the body of a POST (OIDC Back-Channel Logout §2.5)", async () => {
    const parameters = { logout_token: await upstream.logoutToken() };
    const got = open().readLogout?.({ method: "GET", parameters }, trace) ?? Promise.resolve();
    assert.equal(await failure(got), "invalid oidc.logout_token");
  });

  it("names a person as the settings do, or their session", async () => {
    const settings = { subject_claims: ["tid", "oid"] };
    const connector = open({ settings });
    const bySession = await read(await upstream.logoutToken(), connector);
    assert.deepEqual(bySession, { issuer: upstream.issuer, index: "a-session" });
    const nobody = read(await upstream.logoutToken({ sid: undefined }), connector);
    assert.equal(await failure(nobody), "invalid oidc.sid");
  });
});

describe("signing out at an OpenID provider", () => {
  withProvider();

  it("says whom, for which client and where to (OIDC RP-Initiated Logout §2)", async () => {
    const to = await open().signOut?.({ idToken: "an.id.token" }, "a-state");
    assert.equal(new URL(to?.url ?? "").pathname, "/logout");
    assert.deepEqual(Object.fromEntries(new URL(to?.url ?? "").searchParams), {
      id_token_hint: "an.id.token",
      client_id: upstream.clientId,
      post_logout_redirect_uri: SITE.signedOut,
      state: "a-state",
    });
  });

  it("is nothing where the provider knows no such thing", async () => {
    upstream.metadata = { end_session_endpoint: undefined };
    assert.equal(await open({ settings: { sign_out: false } }).signOut?.({}, "a-state"), undefined);
    assert.equal(await open().signOut?.({}, "a-state"), undefined);
  });
});

describe("trying a connection", () => {
  withProvider();

  const notes = () => steps.map(({ step }) => step);

  it("goes through everything that needs no person", async () => {
    await open().test(trace);
    assert.deepEqual(notes(), [
      "discovery document answered",
      "metadata read",
      "key set answered",
      "clock compared",
      "keys read",
      "code challenge",
      "fresh sign-in",
      "sign-out there",
      "tokens requested",
      "token endpoint answered",
      "client accepted",
    ]);
  });

  it("finds a wrong secret", async () => {
    const { id } = connectionTo(upstream, needs.seal);
    const place = { table: "identity_providers", column: "client_secret_enc", id };
    const clientSecretEnc = needs.seal.encrypt("wrong", place);
    assert.equal(
      await failure(open({ id, clientSecretEnc }).test(trace)),
      "misconfigured oauth.client",
    );
    const oauth2 = open({ kind: "oauth2", id, clientSecretEnc });
    assert.equal(await failure(oauth2.test(trace)), "misconfigured oauth.client");
  });

  it("finds a clock that is wrong", async () => {
    const date = new Date(Date.now() + 10 * MINUTE).toUTCString();
    upstream.replaced.set(METADATA, () => ({
      headers: { date },
      json: {
        issuer: upstream.issuer,
        authorization_endpoint: `${upstream.issuer}/authorize`,
        token_endpoint: `${upstream.issuer}/token`,
        jwks_uri: `${upstream.issuer}/jwks`,
      },
    }));
    const { reason, rule, message } = await failureOf(open().test(trace));
    assert.deepEqual([reason, rule], ["expired", "oidc.clock"]);
    assert.match(message, /(599|60[01]) seconds ahead of ours/);
  });

  it("finds that no key is of use", async () => {
    for (const keys of [[], [{ kty: "oct", k: "AA" }], [{ ...upstream.key.jwk, use: "enc" }]]) {
      upstream.keys = keys;
      assert.equal(await failure(open().test(trace)), "misconfigured oidc.jwks");
    }
  });

  it("notes what the provider does not say that it supports", async () => {
    upstream.metadata = {
      scopes_supported: ["openid", "email"],
      response_modes_supported: ["query"],
      token_endpoint_auth_methods_supported: ["private_key_jwt"],
    };
    const settings = {
      response_mode: "form_post",
      token_endpoint_auth_method: "client_secret_post",
    };
    await open({ settings }).test(trace);
    const doubts = steps
      .filter(({ step }) => step.startsWith("not among"))
      .map(({ detail }) => Object.keys(detail)[0]);
    assert.deepEqual(doubts, ["token_endpoint_auth_method", "response_mode", "scopes"]);
  });

  it("says that the provider cannot be reached", async () => {
    upstream.replaced.set(METADATA, () => ({ status: 503, json: {} }));
    assert.equal(await failure(open().test(trace)), "unavailable http.status");
  });

  it("asks anew what it knows, once a minute", async () => {
    const connector = open();
    await connector.test(trace);
    later(MINUTE + 1);
    upstream.metadata = { issuer: "https://moved.example" };
    assert.equal(await failure(connector.test(trace)), "misconfigured oidc.discovery_issuer");
  });

  it("of a vendor of OAuth 2.0 is a matter of its token endpoint", async () => {
    await open({ kind: "oauth2" }).test(trace);
    assert.equal(notes().at(-1), "client accepted");
  });

  it("is not possible with settings that are wrong", () => {
    const row = { settings: { scopes: ["email"] } };
    assert.throws(
      () => open(row),
      (error) => error instanceof UpstreamError && error.rule === "oidc.settings",
    );
  });
});
