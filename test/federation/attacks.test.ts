import assert from "node:assert/strict";
import { SignJWT, UnsecuredJWT } from "jose";
import { after, afterEach, before, describe, it } from "mocha";
import type { TraceStep } from "../../src/federation/connector.ts";
import { Identity } from "../../src/models/identity.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { Session } from "../../src/models/session.ts";
import { connectionTo } from "../support/counterparts.ts";
import { RelyingParty } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";
import { now, sign } from "../support/signing.ts";
import { publicPem, Upstream } from "../support/upstream.ts";
import { Visitor } from "../support/visitor.ts";

/** An answer as the browser would bring it, for a test to change. */
type Parameters = Record<string, string>;

/** Attacks on a sign-in at an OpenID provider, through the pages: none ends in a session (T-90, T-95). */
describe("attacks on a sign-in at an OpenID provider", () => {
  let server: TestServer;
  let upstream: Upstream;
  let provider: IdentityProvider;
  let app: RelyingParty;

  before(async () => {
    server = await aServer();
    upstream = await Upstream.start();
    app = new RelyingParty(server, await aClient(server));
    const { knex } = server.database;
    const row = connectionTo(upstream, server.deps.seal);
    provider = await IdentityProvider.query(knex).insertAndFetch(row);
  });
  afterEach(() => upstream.mend());
  after(async () => {
    await server.stop();
    await upstream.stop();
  });

  /** Somebody who pressed the button at the sign-in page of an app, and is on the way. */
  async function leaves(visitor = new Visitor()): Promise<{ visitor: Visitor; to: string }> {
    await visitor.open(server.issuer + app.authorization());
    const href = /href="([^"]*\/federation\/acme)"/.exec(visitor.html)?.[1] ?? "";
    await visitor.open(server.issuer + href);
    assert.equal(new URL(visitor.location ?? "").origin, upstream.issuer);
    return { visitor, to: visitor.location ?? "" };
  }

  const callback = (parameters: Parameters): string =>
    `${server.issuer}/federation/acme/callback?${new URLSearchParams(parameters)}`;

  /** A sign-in whose answer is changed on its way. */
  async function signIn(change: (answer: Parameters) => Parameters = (same) => same) {
    const { visitor, to } = await leaves();
    const { parameters } = upstream.agree(to);
    return visitor.open(callback(change({ ...parameters })));
  }

  /** Nobody is signed in, and what happened can be read under the number on the page. */
  async function assertFailed(visitor: Visitor, reason: string, rule: string): Promise<void> {
    assert.equal(visitor.page, "federation-error");
    assert.equal(/data-reason="(\w+)"/.exec(visitor.html)?.[1], reason);
    const { knex } = server.database;
    assert.equal(await Session.query(knex).whereNotNull("userId").resultSize(), 0);
    assert.equal(await Identity.query(knex).resultSize(), 0);
    const supportId = /id="correlation-id">([^<]+)</.exec(visitor.html)?.[1] ?? "";
    const [trace]: { steps: TraceStep[] }[] = await knex("federation_traces").where({ supportId });
    const failed = trace?.steps.at(-1);
    assert.equal(failed?.step, "failed");
    assert.equal(failed.detail?.["rule"], rule);
    assert.notEqual(failed.detail?.["hint"] ?? "", "");
  }

  it("with an ID token that nobody signed", async () => {
    upstream.signer = (claims) => Promise.resolve(new UnsecuredJWT(claims).encode());
    await assertFailed(await signIn(), "invalid", "oidc.alg");
  });

  it("with an ID token signed with the public key as a secret", async () => {
    const secret = Buffer.from(publicPem(upstream.key));
    upstream.signer = (claims) =>
      new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(secret);
    await assertFailed(await signIn(), "invalid", "oidc.alg");
  });

  for (const [what, claims, reason, rule] of [
    ["of another issuer", { iss: "https://attacker.example" }, "invalid", "oidc.iss"],
    ["for another client", { aud: "another" }, "invalid", "oidc.aud"],
    ["for others as well", { aud: ["lintel-at-upstream", "x"] }, "invalid", "oidc.aud"],
    ["given to another", { azp: "x" }, "invalid", "oidc.azp"],
    ["of another sign-in", { nonce: "another" }, "invalid", "oidc.nonce"],
    ["that has expired", { exp: now() - 120 }, "expired", "oidc.exp"],
    ["of nobody", { sub: "" }, "invalid", "oidc.sub"],
    ["of somebody else than userinfo", { sub: "mallory" }, "invalid", "oidc.userinfo_sub"],
  ] as const)
    it(`with an ID token ${what}`, async () => {
      upstream.claims = claims;
      await assertFailed(await signIn(), reason, rule);
    });

  it("with an answer of another provider's", async () => {
    const visitor = await signIn((answer) => ({ ...answer, iss: "https://attacker.example" }));
    await assertFailed(visitor, "invalid", "oauth.iss");
  });

  it("with somebody else's code", async () => {
    const { parameters } = upstream.agree((await leaves()).to);
    const visitor = await signIn((answer) => ({ ...answer, code: parameters["code"] ?? "" }));
    await assertFailed(visitor, "expired", "oauth.token_error");
  });

  it("with a provider that is down, slow to recover, or redirects us", async () => {
    upstream.replaced.set("/token", () => ({ status: 500, json: {} }));
    await assertFailed(await signIn(), "unavailable", "http.status");
    const headers = { location: "http://169.254.169.254/latest/meta-data" };
    upstream.replaced.set("/token", () => ({ status: 302, headers, json: {} }));
    await assertFailed(await signIn(), "unavailable", "http.redirect");
    upstream.replaced.set("/token", () => ({ body: "x".repeat(300_000) }));
    await assertFailed(await signIn(), "unavailable", "http.too_large");
  });

  it("with what no database keeps, and more than anybody reads", async () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`x${at}`, "y"]));
    const { visitor, to } = await leaves();
    const { parameters } = upstream.refuse(to, "odd\u0007error", "z".repeat(2_000));
    await visitor.open(callback({ ...parameters, ...many }));
    await assertFailed(visitor, "refused", "oauth.error");
    upstream.signer = (claims) => sign(upstream.key, claims, { kid: "nul\u0000" });
    await assertFailed(await signIn(), "invalid", "oidc.key");
    upstream.mend();
    upstream.claims = { ...many, nonce: "\u0000" };
    await assertFailed(await signIn(), "invalid", "oidc.nonce");
  });

  it("with the address of somebody who has an account (T-90)", async () => {
    const { email, id } = await aUser(server);
    upstream.person["email"] = email;
    const visitor = await signIn();
    assert.equal(visitor.page, "link");
    const { knex } = server.database;
    assert.equal(await Session.query(knex).where({ userId: id }).resultSize(), 0);
    assert.equal(await Identity.query(knex).where({ providerId: provider.id }).resultSize(), 0);
  });

  it("end in a session where nobody attacks", async () => {
    const visitor = await signIn();
    assert.equal(visitor.page, "consent");
  });
});
