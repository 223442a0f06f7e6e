import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type JWK, type JWTPayload } from "jose";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { addWorkload, deleteWorkload, listWorkloads } from "../../src/workloads/workloads.ts";
import { aDpopKey, anApi, verified } from "../support/api.ts";
import { errorOf, json, RelyingParty, type Fields } from "../support/rp.ts";
import { aClient, aServerWith, type TestServer } from "../support/server.ts";

const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CI = "https://ci.example";
const SUBJECT = "repo:acme/app:ref:refs/heads/main";

/** A signing key of a workload issuer. */
async function aKey(kid: string, alg = "ES256") {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg } };
}

/** The JWT bearer grant (RFC 7523 §2.1) for workloads of other systems. */
describe("the JWT bearer grant", () => {
  let server: TestServer;
  let key: Awaited<ReturnType<typeof aKey>>;
  let listener: Server;
  let address: string;
  /** What the issuer publishes, and how often it was asked. */
  let published: JWK[] = [];
  let fetched = 0;

  before(async () => {
    key = await aKey("one");
    listener = createServer((request, reply) => {
      fetched += 1;
      reply.writeHead(request.url === "/jwks" ? 200 : 500, { "content-type": "application/json" });
      reply.end(JSON.stringify({ keys: published }));
    });
    await once(listener.listen(0, "127.0.0.1"), "listening");
    address = `http://127.0.0.1:${(listener.address() as AddressInfo).port}/jwks`;
    server = await aServerWith({ open: "conformance", bank: "fapi2" });
  });
  after(async () => {
    listener.close();
    await server.stop();
  });

  const add = (definition: object) =>
    server.database.knex.transaction((trx) => addWorkload(trx, definition, new Date()));
  /** A client that a workload is, which needs no secret. */
  async function aWorkload(definition: object = {}, metadata: Record<string, unknown> = {}) {
    const client = await aClient(server, {
      redirect_uris: [],
      post_logout_redirect_uris: [],
      grant_types: [GRANT],
      token_endpoint_auth_method: "none",
      ...metadata,
    });
    const row = await add({
      client_id: client.clientId,
      issuer_url: CI,
      jwks: { keys: [key.jwk] },
      algorithms: ["ES256"],
      claims: { sub: SUBJECT },
      ...definition,
    });
    return { app: new RelyingParty(server, client), row };
  }
  /** An assertion that is right except for `changes`; `undefined` leaves a claim out. */
  const assertion = async (
    changes: Record<string, unknown> = {},
    signer = key,
    header: object = {},
  ) => {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: CI,
      sub: SUBJECT,
      aud: server.issuer,
      iat: now,
      exp: now + 300,
      jti: randomUUID(),
      ...changes,
    };
    const { alg, kid } = signer;
    return new SignJWT(JSON.parse(JSON.stringify(claims)) as JWTPayload)
      .setProtectedHeader({ alg, kid, ...header })
      .sign(signer.privateKey);
  };
  const show = (app: RelyingParty, token: string, fields: Fields = {}) =>
    app.token({ grant_type: GRANT, assertion: token, ...fields });
  const refused = async (answer: ReturnType<typeof show>) =>
    assert.equal(errorOf(await answer), "invalid_grant");

  it("gives a workload a token of its client (RFC 7523 §2.1)", async () => {
    // Only a client that authenticates may look at its token afterwards.
    const { app } = await aWorkload({}, { token_endpoint_auth_method: "client_secret_basic" });
    const answer = await show(app, await assertion());
    assert.equal(answer.status, 200);
    const tokens = json(answer);
    assert.equal(tokens["token_type"], "Bearer");
    const token = json(
      await app.post("/token/introspection", { token: String(tokens["access_token"]) }),
    );
    assert.equal(token["client_id"], app.credentials.clientId);
    assert.equal(token["sub"], undefined);
  });

  it("gives no refresh token and no ID token (RFC 6749 §4.4.3)", async () => {
    const { app } = await aWorkload();
    const tokens = json(await show(app, await assertion(), { scope: "openid" }));
    assert.equal(tokens["refresh_token"], undefined);
    assert.equal(tokens["id_token"], undefined);
  });

  it("gives a JWT for an API that lists the client, with what it may have (RFC 8707 §2.2)", async () => {
    const { app } = await aWorkload();
    const { clientId } = app.credentials;
    const api = await anApi(server, { clients: { [clientId]: ["read"] } });
    const tokens = json(await show(app, await assertion(), { resource: api, scope: "read write" }));
    const { payload } = await verified(server, tokens["access_token"], api);
    assert.equal(payload.sub, clientId);
    assert.equal(payload["scope"], "read");
  });

  it("gives nothing for an API that does not list the client, however open it is", async () => {
    const { app } = await aWorkload();
    const answer = await show(app, await assertion(), {
      resource: await anApi(server),
      scope: "read",
    });
    assert.equal(errorOf(answer), "invalid_target");
  });

  it("keeps to the scope that the client registered", async () => {
    const { app } = await aWorkload({}, { scope: "openid" });
    assert.equal(errorOf(await show(app, await assertion(), { scope: "email" })), "invalid_scope");
  });

  it("binds the token to a key that is proven (RFC 9449 §5)", async () => {
    const { app } = await aWorkload();
    const holder = await aDpopKey();
    const answer = await app.token(
      { grant_type: GRANT, assertion: await assertion(), client_id: app.credentials.clientId },
      { dpop: await holder.proof(`${server.issuer}/token`) },
    );
    assert.equal(json(answer)["token_type"], "DPoP");
  });

  it("takes an assertion once (RFC 7523 §3, jti)", async () => {
    const { app } = await aWorkload();
    const once = await assertion();
    assert.equal((await show(app, once)).status, 200);
    await refused(show(app, once));
  });

  it("takes an assertion once also when it comes several times at once (RFC 7523 §3, jti)", async () => {
    const { app } = await aWorkload();
    const once = await assertion();
    const answers = await Promise.all([1, 2, 3, 4].map(() => show(app, once)));
    assert.equal(answers.filter(({ status }) => status === 200).length, 1);
  });

  it("takes an assertion without jti once, too", async () => {
    const { app } = await aWorkload();
    const once = await assertion({ jti: undefined });
    assert.equal((await show(app, once)).status, 200);
    await refused(show(app, once));
  });

  it("does not spend an assertion on a request that is refused for something else", async () => {
    const { app } = await aWorkload();
    const once = await assertion();
    assert.equal(
      errorOf(await show(app, once, { resource: "https://unknown.example/" })),
      "invalid_target",
    );
    assert.equal((await show(app, once)).status, 200);
  });

  const now = () => Math.floor(Date.now() / 1000);
  for (const [what, changes] of [
    ["another subject (RFC 7523 §3, sub)", () => ({ sub: "repo:acme/other:ref:refs/heads/main" })],
    ["a subject that only begins like it", () => ({ sub: `${SUBJECT}-evil` })],
    ["no subject (RFC 7523 §3, sub)", () => ({ sub: undefined })],
    ["an issuer nobody registered (RFC 7523 §3, iss)", () => ({ iss: "https://evil.example" })],
    ["no issuer (RFC 7523 §3, iss)", () => ({ iss: undefined })],
    ["another audience (RFC 7523 §3, aud)", () => ({ aud: "https://other.example" })],
    ["no audience (RFC 7523 §3, aud)", () => ({ aud: undefined })],
    ["its time over (RFC 7523 §3, exp)", () => ({ exp: now() - 60 })],
    ["no end (RFC 7523 §3, exp)", () => ({ exp: undefined })],
    ["an end far ahead (RFC 7523 §3, exp)", () => ({ exp: now() + 7_200 })],
    ["a beginning that is to come (RFC 7523 §3, nbf)", () => ({ nbf: now() + 120 })],
    ["a making that is to come (RFC 7523 §3, iat)", () => ({ iat: now() + 120 })],
    ["a making long ago (RFC 7523 §3, iat)", () => ({ iat: now() - 7_200 })],
    ["no making", () => ({ iat: undefined })],
  ] as const) {
    it(`refuses an assertion with ${what}`, async () => {
      const { app } = await aWorkload();
      await refused(show(app, await assertion(changes())));
    });
  }

  it("refuses an assertion that is for others as well (RFC 7523 §3, aud)", async () => {
    const { app } = await aWorkload();
    await refused(show(app, await assertion({ aud: [server.issuer, "https://other.example"] })));
    assert.equal((await show(app, await assertion({ aud: [server.issuer] }))).status, 200);
  });

  it("refuses an assertion that nobody signed: alg none (RFC 8725 §3.1)", async () => {
    const { app } = await aWorkload();
    const token = new UnsecuredJWT({ iss: CI, sub: SUBJECT, aud: server.issuer })
      .setIssuedAt()
      .setExpirationTime("5m")
      .encode();
    await refused(show(app, token));
  });

  it("refuses an HMAC with the public key (RFC 8725 §2.1)", async () => {
    const { app } = await aWorkload();
    const token = await new SignJWT({ iss: CI, sub: SUBJECT, aud: server.issuer })
      .setProtectedHeader({ alg: "HS256", kid: key.kid })
      .setIssuedAt()
      .setExpirationTime("5m")
      .sign(Buffer.from(JSON.stringify(key.jwk)));
    await refused(show(app, token));
  });

  it("refuses an algorithm that the workload is not allowed (RFC 8725 §3.1)", async () => {
    const { app } = await aWorkload({ algorithms: ["RS256"] });
    await refused(show(app, await assertion()));
  });

  it("refuses a key of somebody else under the same kid (RFC 7523 §3)", async () => {
    const { app } = await aWorkload();
    await refused(show(app, await assertion({}, await aKey("one"))));
  });

  it("refuses a key that the assertion brings along (RFC 8725 §3.10)", async () => {
    const { app } = await aWorkload();
    const evil = await aKey("one");
    await refused(show(app, await assertion({}, evil, { jwk: evil.jwk, jku: address })));
  });

  it("refuses header parameters that it would have to understand (RFC 7515 §4.1.11)", async () => {
    const { app } = await aWorkload();
    const [header = "", ...rest] = (await assertion()).split(".");
    const critical = { ...(JSON.parse(atob(header)) as object), crit: ["x"], x: 1 };
    const forged = Buffer.from(JSON.stringify(critical)).toString("base64url");
    await refused(show(app, [forged, ...rest].join(".")));
  });

  it("refuses what is no JWT at all", async () => {
    const { app } = await aWorkload();
    await refused(show(app, "forged"));
    await refused(show(app, "a.b.c"));
  });

  it("refuses a request without an assertion (RFC 7521 §4.1)", async () => {
    const { app } = await aWorkload();
    assert.equal(errorOf(await app.token({ grant_type: GRANT })), "invalid_request");
  });

  it("refuses a workload that is another client: each is the one it was registered for", async () => {
    await aWorkload();
    const { app: other } = await aWorkload({ claims: { sub: "repo:acme/other:*" } });
    await refused(show(other, await assertion()));
  });

  it("wants every claim that is named, and takes what a * stands for", async () => {
    const { app } = await aWorkload({ claims: { sub: "repo:acme/app:*", environment: "prod" } });
    const prod = { sub: "repo:acme/app:pull_request", environment: "prod" };
    assert.equal((await show(app, await assertion(prod))).status, 200);
    await refused(show(app, await assertion({ ...prod, environment: "test" })));
    await refused(show(app, await assertion({ sub: prod.sub })));
    await refused(show(app, await assertion({ ...prod, environment: ["prod"] })));
  });

  it("still wants the secret of a client that has one (RFC 7521 §4.1)", async () => {
    const { app } = await aWorkload({}, { token_endpoint_auth_method: "client_secret_basic" });
    assert.equal((await show(app, await assertion())).status, 200);
    const bare = new RelyingParty(server, { ...app.credentials, clientSecret: "" });
    assert.equal(errorOf(await show(bare, await assertion())), "invalid_client");
  });

  it("stops with the workload", async () => {
    const { app, row } = await aWorkload();
    await server.database.knex.transaction((trx) => deleteWorkload(trx, row.id));
    await refused(show(app, await assertion()));
  });

  it("is written to the audit log", async () => {
    const { app, row } = await aWorkload();
    await show(app, await assertion());
    const events = await AuditEvent.query(server.database.knex)
      .where({ targetId: row.id })
      .orderBy("id");
    assert.deepEqual(
      events.map(({ type }) => type),
      ["workload.added", "workload.admitted"],
    );
  });

  it("fetches published keys once, and not again for everyone who shows a key that is not there", async () => {
    published = [key.jwk];
    fetched = 0;
    const { app } = await aWorkload({ jwks: undefined, jwks_uri: address });
    assert.equal((await show(app, await assertion())).status, 200);
    assert.equal((await show(app, await assertion())).status, 200);
    assert.equal(fetched, 1);
    const unknown = await aKey("unknown");
    for (let time = 0; time < 5; time += 1) await refused(show(app, await assertion({}, unknown)));
    assert.equal(fetched, 1);
  });

  it("leaves an issuer that is in trouble alone for a while", async () => {
    fetched = 0;
    const uri = `${address}/broken`;
    const { app } = await aWorkload({ jwks: undefined, jwks_uri: uri });
    for (let time = 0; time < 3; time += 1) await refused(show(app, await assertion()));
    assert.equal(fetched, 1);
  });

  it("refuses where keys cannot be fetched, and says nothing of why", async () => {
    const { app } = await aWorkload({ jwks: undefined, jwks_uri: "http://127.0.0.1:9/jwks" });
    const answer = await show(app, await assertion());
    assert.equal(errorOf(answer), "invalid_grant");
    assert.doesNotMatch(answer.text, /127\.0\.0\.1|ECONN/);
  });

  for (const [what, definition, words] of [
    ["no sub", { claims: { repository: "acme/app" } }, /must have sub/],
    ["a * for everything", { claims: { sub: "*" } }, /\* at its end only/],
    ["a * in the middle", { claims: { sub: "repo:*:main" } }, /\* at its end only/],
    ["no keys", { jwks: undefined }, /jwks_uri/],
    ["two kinds of keys", { jwks_uri: "https://ci.example/jwks" }, /not both/],
    ["a symmetric key", { jwks: { keys: [{ kty: "oct", k: "AAAA" }] } }, /public key/],
    ["alg none", { algorithms: ["none"] }, /algorithms/],
    ["an HMAC", { algorithms: ["HS256"] }, /algorithms/],
    ["an issuer that is no https address", { issuer_url: "http://ci.example" }, /https/],
    ["a client that is not there", { client_id: "nobody" }, /no client/],
  ] as const) {
    it(`does not let an operator register one with ${what}`, async () => {
      await assert.rejects(aWorkload(definition), words);
    });
  }

  it("does not let an operator register one for a client without the grant", async () => {
    const { clientId } = await aClient(server);
    await assert.rejects(aWorkload({ client_id: clientId }), /grant_types of the client/);
  });

  it("does not let a client use it where the profile does not have it", async () => {
    await assert.rejects(
      aClient(server, { grant_types: ["authorization_code", GRANT] }, "bank"),
      /at this issuer/,
    );
    const rows = await listWorkloads(server.database.knex);
    assert.ok(rows.every(({ client }) => client?.grantTypes.includes(GRANT)));
  });
});
