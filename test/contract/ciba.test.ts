import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { decodeJwt, exportJWK, generateKeyPair, SignJWT, type CryptoKey } from "jose";
import { DECOUPLED_GRANTS } from "../../src/issuers.ts";
import { sha256 } from "../../src/lib/secret.ts";
import { AuditEvent } from "../../src/models/audit-event.ts";
import { DecoupledAuthorization } from "../../src/models/decoupled-authorization.ts";
import { LoginThrottle } from "../../src/models/login-throttle.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import { Session } from "../../src/models/session.ts";
import { disableUser } from "../../src/users/users.ts";
import { LOOPBACK } from "../support/loopback-certificate.ts";
import {
  errorOf,
  json,
  RelyingParty,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Fields,
} from "../support/rp.ts";
import { aClient, aServer, aUser, type TestServer } from "../support/server.ts";

const GRANT = DECOUPLED_GRANTS.ciba;

/** OpenID Connect Client-Initiated Backchannel Authentication (CIBA) Core 1.0. */
describe("CIBA", () => {
  let server: TestServer;
  let till: RelyingParty;
  let user: { id: string; email: string };
  let listener: Server;
  let endpoint: string;
  const pings: { authorization: string; type: string; body: Record<string, unknown> }[] = [];
  const answers: number[] = [];
  const trusted = getCACertificates("default");

  before(async () => {
    setDefaultCACertificates([...trusted, LOOPBACK.cert]);
    server = await aServer({ ACR_VALUES: "urn:x:plain=1,urn:x:strong=2" });
    listener = createServer(LOOPBACK, (request, reply) => {
      void text(request).then((body) => {
        pings.push({
          authorization: request.headers.authorization ?? "",
          type: request.headers["content-type"] ?? "",
          body: JSON.parse(body) as Record<string, unknown>,
        });
        reply.writeHead(answers.shift() ?? 204).end();
      });
    });
    await once(listener.listen(0, "127.0.0.1"), "listening");
    endpoint = `https://localhost:${(listener.address() as AddressInfo).port}/ping`;
    till = await aTill();
  });
  beforeEach(async () => {
    user = await aUser(server);
  });
  after(async () => {
    listener.close();
    await server.stop();
    setDefaultCACertificates(trusted);
  });

  /** A confidential client that nobody is sent back to. */
  async function aTill(metadata: Record<string, unknown> = {}): Promise<RelyingParty> {
    const client = await aClient(server, {
      client_name: "Acme Till",
      redirect_uris: [],
      post_logout_redirect_uris: [],
      grant_types: [GRANT, "refresh_token"],
      backchannel_token_delivery_mode: "poll",
      ...metadata,
    });
    return new RelyingParty(server, client);
  }
  const aPingedTill = () =>
    aTill({
      backchannel_token_delivery_mode: "ping",
      backchannel_client_notification_endpoint: endpoint,
    });

  const request = (fields: Fields = {}, client = till) =>
    client.post("/backchannel", { scope: "openid email", login_hint: user.email, ...fields });

  async function start(fields: Fields = {}, client = till): Promise<string> {
    const answer = await request(fields, client);
    assert.equal(answer.status, 200, answer.text);
    return String(json(answer)["auth_req_id"]);
  }

  /** Takes the time away that a request has, so that it no longer waits. */
  const endAll = () =>
    DecoupledAuthorization.query(server.database.knex).patch({ expiresAt: new Date() });

  const poll = (id: string, client = till) => client.token({ grant_type: GRANT, auth_req_id: id });

  const rowOf = async (id: string) => {
    const row = await DecoupledAuthorization.query(server.database.knex).findOne({
      codeHash: sha256(id),
    });
    assert.ok(row);
    return row;
  };
  const pageOf = async (id: string) => `/approve/${(await rowOf(id)).id}`;
  const outcomeOf = ({ text: html }: Answer) => /data-outcome="([^"]*)"/.exec(html)?.[1];

  /** Opens the page of a request and signs in where that is asked for. */
  const prove = (
    browser: WebBrowser,
    path: string,
    who: { email: string; password?: string } = user,
  ): Promise<Answer> => walk(server, browser, path, who);

  async function decide(id: string, decision = "approve", browser = new WebBrowser(server)) {
    const path = await pageOf(id);
    const page = await prove(browser, path);
    assert.equal(page.page, "ciba", page.text);
    return browser.submit(path, { decision });
  }

  describe("the client’s request", () => {
    it("is answered with auth_req_id, expires_in and interval that nobody keeps (CIBA Core §7.3)", async () => {
      const answer = await request();
      const { auth_req_id: id, expires_in: seconds, interval } = json(answer);
      assert.match(String(id), /^[A-Za-z0-9._-]{22,}$/);
      assert.equal(seconds, 300);
      assert.equal(interval, 5);
      assert.match(answer.headers["cache-control"] ?? "", /no-store/);
    });

    it("is authenticated like a token request (CIBA Core §7.1)", async () => {
      const wrong = await send(server, {
        path: "/backchannel",
        fields: { client_id: till.credentials.clientId, scope: "openid", login_hint: user.email },
      });
      assert.equal(wrong.status, 401);
      assert.equal(errorOf(wrong), "invalid_client");
    });

    it("is refused to clients that did not register the grant (CIBA Core §7.1)", async () => {
      const web = new RelyingParty(server, await aClient(server));
      const answer = await request({}, web);
      assert.equal(answer.status, 400);
      assert.equal(errorOf(answer), "unauthorized_client");
    });

    it("must ask for openid (CIBA Core §7.1)", async () => {
      assert.equal(errorOf(await request({ scope: "email" })), "invalid_request");
      assert.equal(errorOf(await request({ scope: undefined })), "invalid_request");
    });

    it("must have a hint, and only one (CIBA Core §7.1)", async () => {
      assert.equal(errorOf(await request({ login_hint: undefined })), "invalid_request");
      const two = { id_token_hint: "x.y.z" };
      assert.equal(errorOf(await request(two)), "invalid_request");
    });

    it("takes an address, a username or a subject as login_hint (CIBA Core §7.1)", async () => {
      const { knex } = server.database;
      await knex("users")
        .where({ id: user.id })
        .update({ username: "ada.l", username_norm: "ada.l" });
      for (const hint of [user.email.toUpperCase(), "ada.l", user.id])
        assert.equal((await rowOf(await start({ login_hint: hint }))).userId, user.id, hint);
    });

    it("takes an ID token of ours as id_token_hint (CIBA Core §7.1)", async () => {
      const id = await start();
      await decide(id);
      const { id_token: hint } = json(await poll(id));
      const again = await start({ login_hint: undefined, id_token_hint: String(hint) });
      assert.equal((await rowOf(again)).userId, user.id);
    });

    it("is answered alike for nobody and for somebody disabled (CIBA Core §13)", async () => {
      await server.database.knex.transaction((trx) => disableUser(trx, user.id, {}, new Date()));
      const disabled = await request();
      const nobody = await request({ login_hint: "nobody@example.com" });
      for (const answer of [disabled, nobody]) assert.equal(answer.status, 400);
      assert.equal(errorOf(nobody), "unknown_user_id");
      assert.deepEqual(json(disabled), json(nobody));
    });

    it("does not take an address for somebody who only claims it (CIBA Core §14)", async () => {
      await server.database
        .knex("user_emails")
        .where({ user_id: user.id })
        .update({ verified_at: null });
      assert.equal(errorOf(await request()), "unknown_user_id");
    });

    it("is stopped where a client tries out whom we know (CIBA Core §13)", async () => {
      const prying = await aTill();
      let last: Answer | undefined;
      for (let tries = 0; tries < 31; tries += 1)
        last = await request({ login_hint: `nobody-${tries}@example.com` }, prying);
      assert.equal(last?.status, 429);
      assert.equal((await request({}, till)).status, 200, "others are not");
      await LoginThrottle.query(server.database.knex).delete();
    });

    it("does not take login_hint_token, which it does not advertise (CIBA Core §7.1)", async () => {
      const answer = await request({ login_hint: undefined, login_hint_token: "x" });
      assert.equal(errorOf(answer), "invalid_request");
    });

    it("is refused for a binding message that could deceive (CIBA Core §7.1, §13)", async () => {
      for (const message of ["a\u202eb", "line\nbreak", "x".repeat(101), " "])
        assert.equal(
          errorOf(await request({ binding_message: message })),
          "invalid_binding_message",
        );
    });

    it("may ask for less time, not for more than ten minutes (CIBA Core §7.1)", async () => {
      assert.equal(json(await request({ requested_expiry: "60" }))["expires_in"], 60);
      assert.equal(json(await request({ requested_expiry: "99999" }))["expires_in"], 600);
      for (const wrong of ["0", "-1", "soon"])
        assert.equal(errorOf(await request({ requested_expiry: wrong })), "invalid_request");
    });

    it("is refused where five of the client wait for the same person (CIBA Core §13, §14)", async () => {
      for (let count = 0; count < 5; count += 1) await start();
      const answer = await request();
      assert.equal(answer.status, 403);
      assert.equal(errorOf(answer), "access_denied");
      assert.equal((await request({}, await aTill())).status, 200, "other clients are not");
    });

    it("is advertised with its endpoint, its modes and its grant (CIBA Core §4)", async () => {
      const metadata = json(await send(server, { path: "/.well-known/openid-configuration" }));
      assert.equal(metadata["backchannel_authentication_endpoint"], `${server.issuer}/backchannel`);
      assert.deepEqual(metadata["backchannel_token_delivery_modes_supported"], ["poll", "ping"]);
      assert.equal(metadata["backchannel_user_code_parameter_supported"], false);
      assert.ok((metadata["grant_types_supported"] as string[]).includes(GRANT));
    });

    it("is for clients that keep a secret or a key (CIBA Core §4)", async () => {
      await assert.rejects(
        aTill({ token_endpoint_auth_method: "none" }),
        /token_endpoint_auth_method must not be none/,
      );
    });
  });

  describe("a signed request", () => {
    let key: CryptoKey;
    let signing: RelyingParty;
    before(async () => {
      const pair = await generateKeyPair("ES256");
      key = pair.privateKey;
      signing = await aTill({
        backchannel_authentication_request_signing_alg: "ES256",
        jwks: { keys: [{ ...(await exportJWK(pair.publicKey)), alg: "ES256", use: "sig" }] },
      });
    });

    function sign(changes: Record<string, unknown> = {}): Promise<string> {
      const now = Math.floor(Date.now() / 1000);
      const claims = {
        iss: signing.credentials.clientId,
        aud: server.issuer,
        iat: now,
        nbf: now,
        exp: now + 60,
        jti: randomUUID(),
        scope: "openid",
        login_hint: user.email,
        ...changes,
      };
      return new SignJWT(claims).setProtectedHeader({ alg: "ES256" }).sign(key);
    }
    const post = async (jwt: string) => signing.post("/backchannel", { request: jwt });

    it("is taken, and its parameters with it (CIBA Core §7.1.1)", async () => {
      const answer = await post(await sign());
      assert.equal(answer.status, 200, answer.text);
    });

    it("is demanded of a client that registered an algorithm for it (CIBA Core §4)", async () => {
      assert.equal(errorOf(await request({}, signing)), "invalid_request");
    });

    for (const name of ["iss", "aud", "exp", "iat", "nbf", "jti"])
      it(`is refused without ${name} (CIBA Core §7.1.1)`, async () => {
        assert.equal(errorOf(await post(await sign({ [name]: undefined }))), "invalid_request");
      });

    it("is refused for another audience, another issuer or when it is over (CIBA Core §7.1.1)", async () => {
      const past = Math.floor(Date.now() / 1000) - 60;
      for (const changes of [
        { aud: "https://other.example" },
        { iss: "somebody" },
        { exp: past, nbf: past - 60 },
      ])
        assert.equal(errorOf(await post(await sign(changes))), "invalid_request");
    });

    it("is taken once (CIBA Core §7.1.1)", async () => {
      const jwt = await sign();
      assert.equal((await post(jwt)).status, 200);
      assert.equal(errorOf(await post(jwt)), "invalid_request");
    });

    it("is refused with a foreign signature (CIBA Core §7.1.1)", async () => {
      const jwt = await sign();
      const foreign = await generateKeyPair("ES256");
      const claims = decodeJwt(jwt);
      const forged = await new SignJWT(claims)
        .setProtectedHeader({ alg: "ES256" })
        .sign(foreign.privateKey);
      assert.equal(errorOf(await post(forged)), "invalid_request");
    });
  });

  describe("the person", () => {
    it("gets a mail with a link, and finds the request on the home page (CIBA Core §8)", async () => {
      const id = await start();
      const { knex } = server.database;
      const mail = await OutboxMessage.query(knex).findOne({
        userId: user.id,
        template: "ciba_request",
      });
      assert.ok(mail);
      const browser = new WebBrowser(server);
      const web = new RelyingParty(server, await aClient(server, { first_party: true }));
      await walk(server, browser, web.authorization(), user);
      const home = await browser.open("/");
      assert.ok(home.text.includes(`href="${await pageOf(id)}"`));
    });

    it("sees who asks, the binding message and the scopes before deciding (CIBA Core §7.1, §8)", async () => {
      const id = await start({ binding_message: "Till 4 <b>12.50 €</b>" });
      const page = await prove(new WebBrowser(server), await pageOf(id));
      assert.match(page.text, /Acme Till/);
      assert.match(page.text, /id="binding-message"><bdi>Till 4 &lt;b&gt;12.50 €/);
      assert.match(page.text, /See your email address/);
      assert.match(page.text, /id="ciba-warning"/);
    });

    it("sees it without a password within five minutes of signing in, not later (CIBA Core §8)", async () => {
      const id = await start();
      const path = await pageOf(id);
      const browser = new WebBrowser(server);
      const web = new RelyingParty(server, await aClient(server, { first_party: true }));
      await walk(server, browser, web.authorization(), user);
      assert.equal((await browser.open(path)).page, "ciba");
      await Session.query(server.database.knex)
        .where({ userId: user.id })
        .patch({ loggedInAt: new Date(Date.now() - 301_000) });
      assert.equal((await walk(server, browser, path)).page, "password");
      await browser.submit(path, { decision: "approve" });
      assert.equal((await rowOf(id)).status, "pending");
      assert.equal((await prove(browser, path)).page, "ciba");
    });

    it("approves, and the client gets tokens for them (CIBA Core §10.1.1)", async () => {
      const id = await start({ binding_message: "Till 4" });
      assert.equal(outcomeOf(await decide(id)), "approved");
      const answer = await poll(id);
      assert.equal(answer.status, 200, answer.text);
      const tokens = json(answer);
      const claims = decodeJwt(String(tokens["id_token"]));
      assert.equal(claims.sub, user.id);
      assert.ok(Math.abs(Number(claims["auth_time"]) - Date.now() / 1000) < 300);
      assert.equal(json(await till.userinfo(String(tokens["access_token"])))["email"], user.email);
      assert.equal(tokens["refresh_token"], undefined, "nothing outlives what has no session");
    });

    for (const [asked, named] of [
      ["urn:x:strong urn:x:plain", "urn:x:plain"],
      ["urn:x:strong", "1"],
      [undefined, "1"],
    ] as const)
      it(`says how the person signed in, by the name in acr_values ${asked ?? "that is not there"} (CIBA Core §7.1, OIDC Core §2)`, async () => {
        const id = await start({ acr_values: asked });
        await decide(id);
        const tokens = json(await poll(id));
        assert.equal(decodeJwt(String(tokens["id_token"]))["acr"], named);
      });

    it("gives refresh tokens for offline_access only", async () => {
      const id = await start({ scope: "openid offline_access" });
      await decide(id);
      const { refresh_token: token } = json(await poll(id));
      const again = await till.token({ grant_type: "refresh_token", refresh_token: String(token) });
      assert.equal(again.status, 200, again.text);
    });

    it("denies, and the client is told so (CIBA Core §11)", async () => {
      const id = await start();
      assert.equal(outcomeOf(await decide(id, "deny")), "denied");
      assert.equal(errorOf(await poll(id)), "access_denied");
    });

    it("says that it was somebody else, which denies it and is in the audit (CIBA Core §14)", async () => {
      const id = await start();
      assert.equal(outcomeOf(await decide(id, "report")), "reported");
      assert.equal(errorOf(await poll(id)), "access_denied");
      const events = await AuditEvent.query(server.database.knex)
        .where({ targetId: (await rowOf(id)).id })
        .orderBy("occurredAt");
      assert.deepEqual(
        events.map(({ type }) => type),
        ["ciba.requested", "ciba.reported"],
      );
    });

    it("finds nothing to decide once it is decided or over, or where nothing was (CIBA Core §8)", async () => {
      const [decided, expired] = [await start(), await start()];
      const paths = [await pageOf(decided), await pageOf(expired), `/approve/${randomUUID()}`];
      await decide(decided);
      await DecoupledAuthorization.query(server.database.knex)
        .findById((await rowOf(expired)).id)
        .patch({ expiresAt: new Date(Date.now() - 1000) });
      for (const path of [...paths, "/approve/x"]) {
        const page = await new WebBrowser(server).open(path);
        assert.equal(page.status, 410);
        assert.equal(outcomeOf(page), "over");
      }
    });
  });

  describe("the client’s questions", () => {
    it("are answered with authorization_pending, and slow_down where they come too fast (CIBA Core §11)", async () => {
      const id = await start();
      assert.equal(errorOf(await poll(id)), "authorization_pending");
      assert.equal(errorOf(await poll(id)), "slow_down");
      assert.equal((await rowOf(id)).pollInterval, 10);
    });

    it("are answered with expired_token when it is over (CIBA Core §11)", async () => {
      const id = await start();
      await DecoupledAuthorization.query(server.database.knex)
        .findById((await rowOf(id)).id)
        .patch({ expiresAt: new Date(Date.now() - 1000) });
      assert.equal(errorOf(await poll(id)), "expired_token");
    });

    it("are answered with invalid_grant for another client’s request (CIBA Core §11)", async () => {
      const id = await start();
      await decide(id);
      assert.equal(errorOf(await poll(id, await aTill())), "invalid_grant");
      assert.equal((await poll(id)).status, 200);
    });

    it("are answered with tokens once, also in parallel (CIBA Core §10.1)", async () => {
      const id = await start();
      await decide(id);
      const all = await Promise.all([poll(id), poll(id), poll(id)]);
      assert.equal(all.filter(({ status }) => status === 200).length, 1);
      assert.equal(errorOf(await poll(id)), "invalid_grant");
    });

    it("are answered with access_denied when the user was disabled meanwhile (T-30)", async () => {
      const id = await start();
      await server.database.knex.transaction((trx) => disableUser(trx, user.id, {}, new Date()));
      assert.equal(errorOf(await poll(id)), "access_denied");
    });

    it("bring nothing when the user was disabled after approving (T-30)", async () => {
      const id = await start();
      await decide(id);
      await server.database.knex.transaction((trx) => disableUser(trx, user.id, {}, new Date()));
      assert.equal(errorOf(await poll(id)), "invalid_grant");
    });
  });

  describe("a ping", () => {
    const TOKEN = "8d67dc78-7faa-4d41-aabd-67707b374255";

    async function settled(id: string) {
      for (let tries = 0; tries < 200; tries += 1) {
        const row = await rowOf(id);
        if (row.pingedAt !== null) return row;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      throw new Error("the client was not pinged");
    }

    it("needs a client_notification_token in the request (CIBA Core §7.1)", async () => {
      const pinged = await aPingedTill();
      assert.equal(errorOf(await request({}, pinged)), "invalid_request");
      for (const wrong of ["a b", "x".repeat(1025)])
        assert.equal(
          errorOf(await request({ client_notification_token: wrong }, pinged)),
          "invalid_request",
        );
    });

    it("brings the auth_req_id with the client’s token, and then the tokens can be had (CIBA Core §10.2)", async () => {
      const pinged = await aPingedTill();
      const id = await start({ client_notification_token: TOKEN }, pinged);
      await decide(id);
      await settled(id);
      const [ping] = pings.splice(0);
      assert.equal(ping?.authorization, `Bearer ${TOKEN}`);
      assert.match(ping?.type ?? "", /^application\/json/);
      assert.deepEqual(ping?.body, { auth_req_id: id });
      assert.equal((await poll(id, pinged)).status, 200);
    });

    it("comes for a denial, too (CIBA Core §10.2)", async () => {
      const pinged = await aPingedTill();
      const id = await start({ client_notification_token: TOKEN }, pinged);
      await decide(id, "deny");
      await settled(id);
      assert.equal(pings.splice(0).length, 1);
      assert.equal(errorOf(await poll(id, pinged)), "access_denied");
    });

    it("is tried again until the client has taken it (CIBA Core §10.2)", async () => {
      answers.push(500);
      const pinged = await aPingedTill();
      const id = await start({ client_notification_token: TOKEN }, pinged);
      await decide(id);
      assert.equal((await settled(id)).pingAttempts, 2);
      assert.equal(pings.splice(0).length, 2);
    });

    it("follows no redirect (CIBA Core §10.2)", async () => {
      answers.push(302);
      const pinged = await aPingedTill();
      const id = await start({ client_notification_token: TOKEN }, pinged);
      await decide(id);
      assert.equal((await settled(id)).pingAttempts, 2);
      pings.splice(0);
    });
  });

  describe("attacks", () => {
    it("ask one person so often and no more, however soon each request ends (CIBA Core §13)", async () => {
      const client = await aTill();
      const statuses: number[] = [];
      for (let n = 0; n < 31; n += 1) {
        statuses.push((await request({}, client)).status);
        await endAll();
      }
      assert.deepEqual(new Set(statuses.slice(0, 30)), new Set([200]));
      assert.equal(statuses[30], 429);
    });

    it("are nothing for clients where anybody may register (CIBA Core §13)", async () => {
      const open = await aServer({ REGISTRATION: "open" });
      try {
        const answer = await send(open, {
          path: "/reg",
          body: JSON.stringify({
            grant_types: [GRANT],
            response_types: [],
            backchannel_token_delivery_mode: "poll",
          }),
          headers: { "content-type": "application/json" },
        });
        assert.equal(errorOf(answer), "invalid_client_metadata");
        assert.match(answer.text, /where anybody may register/);
      } finally {
        await open.stop();
      }
    });

    it("another person’s password opens nothing and says nothing (CIBA Core §14)", async () => {
      const id = await start();
      const other = await aUser(server);
      const path = await pageOf(id);
      // They are asked to sign in as somebody else, and asked again.
      await assert.rejects(walk(server, new WebBrowser(server), path, other), /never arrives/);
      assert.equal((await rowOf(id)).status, "pending");
    });

    it("a wrong password opens nothing, and the sixth is not looked at (T-63)", async () => {
      const path = await pageOf(await start());
      const browser = new WebBrowser(server);
      for (let tries = 0; tries < 5; tries += 1)
        assert.equal((await prove(browser, path, { ...user, password: "wrong" })).status, 401);
      assert.equal((await prove(browser, path)).status, 429);
      await LoginThrottle.query(server.database.knex).delete();
    });

    it("another person’s session opens nothing, and the right person may take its place (CIBA Core §14)", async () => {
      const id = await start();
      const path = await pageOf(id);
      const browser = new WebBrowser(server);
      const web = new RelyingParty(server, await aClient(server, { first_party: true }));
      await walk(server, browser, web.authorization(), await aUser(server));
      assert.equal((await walk(server, browser, path)).page, "login");
      await browser.submit(path, { decision: "approve" });
      assert.equal((await rowOf(id)).status, "pending");
      assert.equal((await prove(browser, path)).page, "ciba");
    });

    it("no decision without a session, and none in a browser that has another’s (CIBA Core §14)", async () => {
      const id = await start();
      const path = await pageOf(id);
      await prove(new WebBrowser(server), path);
      await new WebBrowser(server).submit(path, { decision: "approve" });
      assert.equal((await rowOf(id)).status, "pending");
    });

    it("another site cannot send the decision (CSRF)", async () => {
      const id = await start();
      const path = await pageOf(id);
      const browser = new WebBrowser(server);
      await prove(browser, path);
      const headers = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
      assert.equal((await browser.submit(path, { decision: "approve" }, headers)).status, 403);
      assert.equal((await rowOf(id)).status, "pending");
    });

    it("of parallel decisions one counts", async () => {
      const id = await start();
      const path = await pageOf(id);
      const browser = new WebBrowser(server);
      await prove(browser, path);
      const all = await Promise.all(
        ["approve", "deny", "approve"].map((decision) => browser.submit(path, { decision })),
      );
      assert.equal(all.filter((answer) => outcomeOf(answer) !== "over").length, 1);
    });

    it("neither the auth_req_id nor the client’s token is stored in the clear (T-64)", async () => {
      const pinged = await aPingedTill();
      const token = "a-token-that-nobody-reads";
      const id = await start({ client_notification_token: token }, pinged);
      const { rows } = await server.database.knex.raw(
        "SELECT to_jsonb(t)::text AS row FROM decoupled_authorizations t",
      );
      for (const { row } of rows as { row: string }[]) {
        assert.ok(!row.includes(id));
        assert.ok(!row.includes(token) && !row.includes(user.email));
      }
    });
  });
});

/** FAPI: Client Initiated Backchannel Authentication Profile, what it asks beyond CIBA Core. */
describe("CIBA at an issuer of the preset fapi1", () => {
  let server: TestServer;
  let user: { id: string; email: string };
  let key: CryptoKey;
  let client: { clientId: string };
  let jwks: { keys: object[] };

  before(async () => {
    server = await aServer({ PRESET: "fapi1" });
    user = await aUser(server);
    const pair = await generateKeyPair("PS256");
    key = pair.privateKey;
    jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), alg: "PS256", use: "sig" }] };
    client = await aClient(server, metadata());
  });
  after(() => server.stop());

  const metadata = (changes: Record<string, unknown> = {}) => ({
    redirect_uris: [],
    post_logout_redirect_uris: [],
    grant_types: [GRANT],
    token_endpoint_auth_method: "private_key_jwt",
    backchannel_token_delivery_mode: "poll",
    backchannel_authentication_request_signing_alg: "PS256",
    id_token_signed_response_alg: "PS256",
    dpop_bound_access_tokens: true,
    jwks,
    ...changes,
  });

  async function sign(claims: Record<string, unknown>): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const all = { iss: client.clientId, iat: now, nbf: now, exp: now + 60, jti: randomUUID() };
    return new SignJWT({ ...all, aud: server.issuer, ...claims })
      .setProtectedHeader({ alg: "PS256" })
      .sign(key);
  }

  async function post(fields: Fields): Promise<Answer> {
    const assertion = await sign({ sub: client.clientId });
    return send(server, {
      path: "/backchannel",
      fields: {
        client_id: client.clientId,
        client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion: assertion,
        ...fields,
      },
    });
  }
  const asked = () => ({ scope: "openid", login_hint: user.email, binding_message: "1234" });

  it("takes signed requests (FAPI-CIBA §5.2.2)", async () => {
    const answer = await post({ request: await sign(asked()) });
    assert.equal(answer.status, 200, answer.text);
  });

  it("takes no others (FAPI-CIBA §5.2.2)", async () => {
    assert.equal(errorOf(await post(asked())), "invalid_request");
  });

  it("wants a binding message (FAPI-CIBA §5.2.2)", async () => {
    const request = await sign({ ...asked(), binding_message: undefined });
    assert.equal(errorOf(await post({ request })), "invalid_binding_message");
  });

  it("takes no request that is good for more than an hour (FAPI-CIBA §5.2.2)", async () => {
    const exp = Math.floor(Date.now() / 1000) + 3700;
    assert.equal(
      errorOf(await post({ request: await sign({ ...asked(), exp }) })),
      "invalid_request",
    );
  });

  it("has no client that does not sign its requests (FAPI-CIBA §5.2.2)", async () => {
    await assert.rejects(
      aClient(server, metadata({ backchannel_authentication_request_signing_alg: undefined })),
      /backchannel_authentication_request_signing_alg must be given at this issuer/,
    );
  });

  it("gives tokens that are bound to the client’s key, and no others (FAPI-CIBA §5.2.2)", async () => {
    const auth_req_id = String(json(await post({ request: await sign(asked()) }))["auth_req_id"]);
    const row = await DecoupledAuthorization.query(server.database.knex).findOne({
      codeHash: sha256(auth_req_id),
    });
    const path = `/approve/${row?.id}`;
    const browser = new WebBrowser(server);
    await walk(server, browser, path, user);
    await browser.submit(path, { decision: "approve" });

    const pair = await generateKeyPair("ES256");
    const jwk = await exportJWK(pair.publicKey);
    const dpop = await new SignJWT({ htm: "POST", htu: `${server.issuer}/token` })
      .setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk })
      .setIssuedAt()
      .setJti(randomUUID())
      .sign(pair.privateKey);
    const ask = async (headers: Record<string, string>) =>
      send(server, {
        path: "/token",
        headers,
        fields: {
          grant_type: GRANT,
          auth_req_id,
          client_id: client.clientId,
          client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
          client_assertion: await sign({ sub: client.clientId }),
        },
      });
    assert.equal((await ask({})).status, 400);
    const answer = await ask({ dpop });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(json(answer)["token_type"], "DPoP");
  });

  it("has no device flow", async () => {
    assert.equal((await send(server, { path: "/device/auth", fields: {} })).status, 404);
  });
});
