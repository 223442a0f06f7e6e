import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "mocha";
import { UpstreamError, type Connector, type Departure } from "../../src/federation/connector.ts";
import { openOidc } from "../../src/federation/oidc/connector.ts";
import { newConnectionKey, publicHalf } from "../../src/federation/oidc/keys.ts";
import { uuidv7 } from "../../src/lib/uuid.ts";
import { IdentityProvider } from "../../src/models/identity-provider.ts";
import { SITE } from "../support/counterparts.ts";
import { response, walk, WebBrowser, xsrfOf } from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

const trace = () => undefined;

/** The connector against a provider that we did not write for it: keys, requests ahead, levels and logouts are real. */
describe("a connection to another Lintel, with a key and requests that are sent ahead", () => {
  let work: TestServer;
  let connector: Connector;
  let listener: Server;
  const messages: string[] = [];

  before(async () => {
    work = await aServer();
    listener = createServer((request, reply) => {
      void text(request).then((body) => {
        messages.push(new URLSearchParams(body).get("logout_token") ?? "");
        reply.end();
      });
    });
    await once(listener.listen(0, "127.0.0.1"), "listening");
    const { port } = listener.address() as AddressInfo;
    const jwk = await newConnectionKey();
    const { clientId } = await aClient(work, {
      first_party: true,
      redirect_uris: [SITE.callback],
      post_logout_redirect_uris: [SITE.signedOut],
      token_endpoint_auth_method: "private_key_jwt",
      jwks: { keys: [publicHalf(jwk)] },
      require_pushed_authorization_requests: true,
      backchannel_logout_uri: `http://127.0.0.1:${port}/`,
      backchannel_logout_session_required: true,
    });
    const needs = work.deps;
    const id = uuidv7();
    const place = { table: "identity_providers", column: "private_key_enc", id };
    const row = IdentityProvider.fromJson({
      id,
      slug: "acme",
      kind: "oidc",
      name: "Work",
      clientId,
      clientSecretEnc: null,
      privateKeyEnc: needs.seal.encrypt(JSON.stringify(jwk), place),
      issuer: work.issuer,
      settings: { require_pushed_authorization_requests: true, sign_out: true },
      attributeMapping: {},
      groupMapping: {},
      roleMapping: {},
      organizationId: null,
    });
    connector = openOidc(row, SITE, needs);
  });
  after(async () => {
    listener.close();
    await work.stop();
  });

  async function signIn(
    user: { email: string },
    departure: Partial<Departure> = {},
    browser = new WebBrowser(work),
  ) {
    const leaving = await connector.leave({ state: randomUUID(), ...departure }, trace);
    const answer = await walk(work, browser, leaving.to.url, user);
    const { secrets } = leaving;
    const brought = { method: "GET", parameters: response(answer), secrets } as const;
    return { browser, brought, identity: await connector.arrive(brought, trace) };
  }

  it("says who somebody is", async () => {
    const user = await aUser(work);
    const { identity } = await signIn(user);
    const { issuer, subject, email, emailVerified, amr, session, tokens } = identity;
    assert.deepEqual(
      { issuer, subject, email, emailVerified, amr },
      {
        issuer: work.issuer,
        subject: user.id,
        email: user.email,
        emailVerified: true,
        amr: ["pwd"],
      },
    );
    assert.notEqual(session?.index ?? "", "");
    assert(tokens?.scopes.includes("openid"));
  });

  it("knows that a code is used once, though the browser brings it twice", async () => {
    const { brought } = await signIn(await aUser(work));
    await assert.rejects(
      connector.arrive(brought, trace),
      (error) => error instanceof UpstreamError && error.reason === "expired",
    );
  });

  it("has somebody sign in anew who is signed in there", async () => {
    const user = await aUser(work);
    const { browser, identity: first } = await signIn(user);
    const { identity: again } = await signIn(user, { fresh: true }, browser);
    assert((again.authTime ?? 0) >= (first.authTime ?? Infinity));
    assert.equal(again.subject, first.subject);
  });

  it("tells who went back", async () => {
    const leaving = await connector.leave({ state: randomUUID() }, trace);
    const browser = new WebBrowser(work);
    const page = await walk(work, browser, leaving.to.url);
    const action = /action="([^"]*\/cancel)"/.exec(page.text)?.[1] ?? "";
    let answer = await browser.submit(action, {});
    if (new URL(answer.location ?? "").origin === work.issuer)
      answer = await walk(work, browser, answer.location ?? "");
    const { secrets } = leaving;
    const brought = { method: "GET", parameters: response(answer), secrets } as const;
    await assert.rejects(
      connector.arrive(brought, trace),
      (error) => error instanceof UpstreamError && error.reason === "cancelled",
    );
  });

  it("reads whose session ended there (OIDC Back-Channel Logout §2.5)", async () => {
    const user = await aUser(work);
    const { browser, identity } = await signIn(user);
    const page = await browser.open("/session/end");
    await browser.submit("/session/end/confirm", { xsrf: xsrfOf(page), logout: "yes" });
    for (let times = 0; times < 100 && messages.length === 0; times += 1)
      await new Promise((resolve) => setTimeout(resolve, 100));
    const parameters = { logout_token: messages.at(-1) ?? "" };
    const ended = await connector.readLogout?.({ method: "POST", parameters }, trace);
    assert.deepEqual(ended, {
      issuer: work.issuer,
      subject: user.id,
      index: identity.session?.index,
    });
  });

  it("leads to where somebody is signed out there (OIDC RP-Initiated Logout §2)", async () => {
    const { browser, identity } = await signIn(await aUser(work));
    const to = await connector.signOut?.(identity.session ?? {}, "a-state");
    const page = await browser.open(to?.url ?? "");
    assert.equal(page.status, 200);
    const done = await browser.submit("/session/end/confirm", {
      xsrf: xsrfOf(page),
      logout: "yes",
    });
    assert.equal(done.location, `${SITE.signedOut}?state=a-state`);
  });

  it("can be tried without a person", async () => {
    const steps: string[] = [];
    await connector.test((step) => steps.push(step));
    assert.equal(steps.at(-1), "client accepted");
    assert(!steps.some((step) => step.startsWith("not among")), steps.join());
  });
});
