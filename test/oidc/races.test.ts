import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from "jose";
import type { Knex } from "knex";
import { endSessions } from "../../src/devices/sessions.ts";
import { OAuthConsent } from "../../src/models/oauth-consent.ts";
import { OAuthGrant } from "../../src/models/oauth-grant.ts";
import { RefreshToken } from "../../src/models/refresh-token.ts";
import { Session } from "../../src/models/session.ts";
import { setPassword } from "../../src/users/passwords.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
  type Answer,
  type Credentials,
  type Target,
} from "../support/rp.ts";
import { aClient, aServer, aUser, PASSWORD, type TestServer } from "../support/server.ts";

type User = Awaited<ReturnType<typeof aUser>>;

const PARALLEL = 40;
const REPETITIONS = 3;

/** Two servers on one database: whatever is asked of both at the same moment has one outcome. */
describe("races, on two servers", () => {
  let server: TestServer;
  let nodes: Target[];
  before(async () => {
    server = await aServer({ DATABASE_POOL: "20" });
    const other = await server.another();
    nodes = [server, { issuer: server.issuer, port: other.running.port }];
  });
  after(() => server.stop());

  const nodeOf = (turn: number): Target => nodes[turn % nodes.length] ?? server;

  /** The same question, asked of both nodes in turn, all at once. */
  async function atOnce(ask: (node: Target) => Promise<Answer>): Promise<Answer[]> {
    return Promise.all(Array.from({ length: PARALLEL }, async (_, turn) => ask(nodeOf(turn))));
  }

  async function aCode(client: Credentials, changes = {}): Promise<string> {
    const user = await aUser(server);
    const app = new RelyingParty(server, client);
    const browser = new WebBrowser(server);
    const answer = await walk(server, browser, app.authorization(changes), user);
    return response(answer)["code"] ?? "";
  }

  async function tokensOf(client: Credentials): Promise<Record<string, unknown>> {
    return json(await new RelyingParty(server, client).redeem(await aCode(client)));
  }

  const count = async (from: string, bindings: Record<string, string> = {}): Promise<number> =>
    (await server.database.knex.raw(`SELECT count(*)::int AS n FROM ${from}`, bindings)).rows[0].n;

  /** Makes `requests` meet: they all wait for a lock that `hold` takes, until its transaction ends. */
  async function meeting<T>(
    hold: (trx: Knex.Transaction) => Promise<unknown>,
    requests: readonly (() => Promise<T>)[],
  ): Promise<T[]> {
    const trx = await server.database.knex.transaction();
    await hold(trx);
    const answers = Promise.all(requests.map((request) => request()));
    const waiting = `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    for (let tries = 0; (await count(waiting)) < requests.length; tries += 1) {
      assert.ok(tries < 200, "they never meet");
      await delay(10);
    }
    await trx.commit();
    return answers;
  }

  const withStatus = (answers: readonly Answer[], status: number) =>
    answers.filter((answer) => answer.status === status);

  it("redeem a code once, and what the winner got is revoked, for one of the two was no client (RFC 6749 §4.1.2, T-20)", async () => {
    for (let round = 0; round < REPETITIONS; round += 1) {
      const client = await aClient(server);
      const code = await aCode(client);
      const answers = await atOnce((node) => new RelyingParty(node, client).redeem(code));
      const won = withStatus(answers, 200);
      assert.equal(won.length, 1);
      assert.equal(withStatus(answers, 400).length, PARALLEL - 1);
      for (const lost of withStatus(answers, 400)) assert.equal(errorOf(lost), "invalid_grant");
      const tokens = json(won[0] as Answer);
      const app = new RelyingParty(server, client);
      assert.equal((await app.userinfo(String(tokens["access_token"]))).status, 401);
      const refresh = await app.token({
        grant_type: "refresh_token",
        refresh_token: String(tokens["refresh_token"]),
      });
      assert.equal(errorOf(refresh), "invalid_grant");
    }
  });

  it("give everyone who refreshes with one token the same successor, in one row (T-22)", async () => {
    for (let round = 0; round < REPETITIONS; round += 1) {
      const client = await aClient(server);
      let { refresh_token: token } = await tokensOf(client);
      const before = await RefreshToken.query(server.database.knex).resultSize();
      for (let rotation = 0; rotation < 3; rotation += 1) {
        const current = String(token);
        const answers = await atOnce((node) =>
          new RelyingParty(node, client).token({
            grant_type: "refresh_token",
            refresh_token: current,
          }),
        );
        assert.equal(withStatus(answers, 200).length, PARALLEL);
        const successors = new Set(answers.map((answer) => json(answer)["refresh_token"]));
        assert.equal(successors.size, 1);
        [token] = [...successors];
        assert.notEqual(token, current);
      }
      assert.equal(await RefreshToken.query(server.database.knex).resultSize(), before);
    }
  });

  it("end the family when a token comes back whose successor was used, and tell its owner (RFC 9700 §4.14.2, T-22)", async () => {
    const client = await aClient(server);
    const app = new RelyingParty(server, client);
    const refresh = async (token: unknown) =>
      app.token({ grant_type: "refresh_token", refresh_token: String(token) });
    const first = await tokensOf(client);
    const second = json(await refresh(first["refresh_token"]));
    const third = json(await refresh(second["refresh_token"]));
    assert.equal(errorOf(await refresh(first["refresh_token"])), "invalid_grant");
    assert.equal(errorOf(await refresh(third["refresh_token"])), "invalid_grant");
    assert.equal((await app.userinfo(String(third["access_token"]))).status, 401);
    assert.equal(await count(`audit_events WHERE type = 'token.refresh_reused'`), 1);
    assert.equal(await count(`outbox_messages WHERE template = 'token_reused'`), 1);
  });

  it("write down a replay that comes at the very moment of the first use", async () => {
    const client = await aClient(server, { refresh_reuse_interval: 0 });
    const ofClient = `audit_events e JOIN oauth_clients c ON c.id = e.client_id
      WHERE c.client_id = :clientId AND e.type = :type`;
    const { clientId } = client;
    const code = await aCode(client);
    const redeemed = await meeting(
      (trx) => trx.raw("SELECT FROM oauth_authorizations FOR UPDATE"),
      nodes.map((node) => () => new RelyingParty(node, client).redeem(code)),
    );
    assert.deepEqual(redeemed.map(({ status }) => status).toSorted(), [200, 400]);
    assert.equal(await count(ofClient, { clientId, type: "token.code_reused" }), 1);

    const tokens = await tokensOf(client);
    const token = String(tokens["refresh_token"]);
    const mails = `outbox_messages WHERE template = 'token_reused'`;
    const mailsBefore = await count(mails);
    const refreshed = await meeting(
      (trx) => trx.raw("SELECT FROM refresh_tokens FOR UPDATE"),
      nodes.map(
        (node) => () =>
          new RelyingParty(node, client).token({
            grant_type: "refresh_token",
            refresh_token: token,
          }),
      ),
    );
    assert.deepEqual(refreshed.map(({ status }) => status).toSorted(), [200, 400]);
    assert.equal(await count(ofClient, { clientId, type: "token.refresh_reused" }), 1);
    assert.equal(await count(mails), mailsBefore + 1);
    const { access_token: accessToken } = json(withStatus(refreshed, 200)[0] as Answer);
    const app = new RelyingParty(server, client);
    assert.equal((await app.userinfo(String(accessToken))).status, 401);
  });

  it("tell its owner once about a token that comes back many times at the same moment", async () => {
    const client = await aClient(server, { refresh_reuse_interval: 0 });
    const app = new RelyingParty(server, client);
    const first = await tokensOf(client);
    const mails = `outbox_messages WHERE template = 'token_reused'`;
    const mailsBefore = await count(mails);
    const refresh = async (node: Target, token: unknown) =>
      new RelyingParty(node, client).token({
        grant_type: "refresh_token",
        refresh_token: String(token),
      });
    const second = json(await refresh(server, first["refresh_token"]));
    const answers = await atOnce((node) => refresh(node, first["refresh_token"]));
    for (const answer of answers) assert.equal(errorOf(answer), "invalid_grant");
    assert.equal(await count(mails), mailsBefore + 1);
    assert.equal((await app.userinfo(String(second["access_token"]))).status, 401);
  });

  it("bring nothing for a grant that is revoked while they wait for others (RFC 7009 §2.1)", async () => {
    const client = await aClient(server);
    const app = new RelyingParty(server, client);
    const refresh = ({ refresh_token: token }: Record<string, unknown>) =>
      app.token({ grant_type: "refresh_token", refresh_token: String(token) });
    const { knex } = server.database;
    const ways = [
      ["refresh_tokens", () => tokensOf(client), refresh],
      ["oauth_authorizations", () => aCode(client), (code: string) => app.redeem(code)],
    ] as [string, () => Promise<unknown>, (given: unknown) => Promise<Answer>][];
    for (const [table, make, ask] of ways) {
      const held = await make();
      const holder = await knex.transaction();
      await holder.raw("SELECT FROM ?? FOR UPDATE", [table]);
      const given = await make();
      const first = ask(held);
      await delay(50);
      const second = ask(given);
      await delay(50);
      await knex("oauth_grants").update({ tokensValidAfter: knex.raw("clock_timestamp()") });
      const answer = await second;
      await holder.rollback();
      await first;
      assert.equal(errorOf(answer), "invalid_grant", table);
    }
  });

  it("end the family when the reuse interval of its client is over", async () => {
    const client = await aClient(server, { refresh_reuse_interval: 1 });
    const app = new RelyingParty(server, client);
    const refresh = async (token: unknown) =>
      app.token({ grant_type: "refresh_token", refresh_token: String(token) });
    const first = await tokensOf(client);
    const second = json(await refresh(first["refresh_token"]));
    assert.equal(
      json(await refresh(first["refresh_token"]))["refresh_token"],
      second["refresh_token"],
    );
    await delay(1100);
    assert.equal(errorOf(await refresh(first["refresh_token"])), "invalid_grant");
    assert.equal(errorOf(await refresh(second["refresh_token"])), "invalid_grant");
  });

  it("accept a pushed request once (RFC 9126 §4)", async () => {
    const client = await aClient(server);
    const app = new RelyingParty(server, client);
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    const pushed = json(await app.post("/request", app.parameters()));
    const path = `/auth?${new URLSearchParams({ client_id: client.clientId, request_uri: String(pushed["request_uri"]) })}`;
    const answers = await Promise.all(
      Array.from({ length: PARALLEL }, async (_, turn) => browser.copy(nodeOf(turn)).open(path)),
    );
    const outcomes = answers.map((answer) => errorOf(answer) ?? "code");
    assert.equal(outcomes.filter((outcome) => outcome === "code").length, 1);
    assert.deepEqual(new Set(outcomes), new Set(["code", "invalid_request_uri"]));
  });

  it("accept a client assertion once (RFC 7523 §3, T-26)", async () => {
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const client = await aClient(server, {
      grant_types: ["client_credentials"],
      redirect_uris: [],
      post_logout_redirect_uris: [],
      token_endpoint_auth_method: "private_key_jwt",
      jwks: { keys: [{ ...(await exportJWK(publicKey)), alg: "ES256", use: "sig", kid: "k" }] },
    });
    for (let round = 0; round < REPETITIONS; round += 1) {
      const assertion = await new SignJWT({ jti: `assertion-${round}` })
        .setProtectedHeader({ alg: "ES256", kid: "k" })
        .setIssuer(client.clientId)
        .setSubject(client.clientId)
        .setAudience(server.issuer)
        .setIssuedAt()
        .setExpirationTime("1m")
        .sign(privateKey);
      const answers = await atOnce((node) =>
        send(node, {
          path: "/token",
          fields: {
            grant_type: "client_credentials",
            client_id: client.clientId,
            client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion: assertion,
          },
        }),
      );
      assert.equal(withStatus(answers, 200).length, 1);
      assert.equal(withStatus(answers, 401).length, PARALLEL - 1);
    }
  });

  it("accept a DPoP proof once (RFC 9449 §11.1, T-26)", async () => {
    const pair = await generateKeyPair("ES256", { extractable: true });
    const jwk = await exportJWK(pair.publicKey);
    const client = await aClient(server, {
      grant_types: ["client_credentials"],
      redirect_uris: [],
      post_logout_redirect_uris: [],
    });
    const proof = await aProof(server.issuer, pair.privateKey, jwk);
    const answers = await atOnce((node) =>
      new RelyingParty(node, client).token(
        { grant_type: "client_credentials" },
        {
          authorization: `Basic ${btoa(`${client.clientId}:${client.clientSecret}`)}`,
          dpop: proof,
        },
      ),
    );
    assert.equal(withStatus(answers, 200).length, 1);
    assert.equal(json(withStatus(answers, 200)[0] as Answer)["token_type"], "DPoP");
  });

  it("keep what two tabs of one browser got for two clients at the same moment", async () => {
    for (let round = 0; round < REPETITIONS; round += 1) {
      const clients = await Promise.all(
        Array.from({ length: 8 }, async () => aClient(server, { first_party: true })),
      );
      const user = await aUser(server);
      const browser = new WebBrowser(server);
      const front = new RelyingParty(server, await aClient(server, { first_party: true }));
      await walk(server, browser, front.authorization(), user);
      const codes = await Promise.all(
        clients.map(async (client) =>
          response(await browser.copy().open(new RelyingParty(server, client).authorization())),
        ),
      );
      const answers = await Promise.all(
        clients.map(async (client, turn) =>
          new RelyingParty(nodeOf(turn), client).redeem(codes[turn]?.["code"] ?? ""),
        ),
      );
      assert.equal(withStatus(answers, 200).length, clients.length);
      const sub = json(await front.userinfo(String(json(answers[0] as Answer)["access_token"])));
      assert.equal(sub["sub"], user.id);
    }
  });

  it("give two tabs of one browser that come for one client at the same moment one grant", async () => {
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    const front = new RelyingParty(server, await aClient(server, { first_party: true }));
    await walk(server, browser, front.authorization(), user);
    const scopes = ["openid", "openid email", "openid profile", "openid phone"];
    for (const client of [
      await aClient(server, { first_party: true }),
      // The session has a grant for this one already, and each tab wants more.
      front.credentials,
    ]) {
      const answers = await meeting(
        (trx) => trx.raw("SELECT FROM sessions WHERE user_id = ? FOR UPDATE", [user.id]),
        scopes.slice(1).map((scope, turn) => async () => {
          const app = new RelyingParty(nodeOf(turn), client);
          const request = app.authorization({ scope, prompt: "none" });
          return response(await browser.copy(nodeOf(turn)).open(request));
        }),
      );
      const app = new RelyingParty(server, client);
      for (const [turn, { code = "" }] of answers.entries()) {
        const redeemed = await app.redeem(code);
        assert.equal(redeemed.status, 200);
        assert.equal(json(redeemed)["scope"], scopes[turn + 1]);
      }
      assert.equal(
        await count(
          `oauth_grants g JOIN oauth_clients c ON c.id = g.client_id WHERE c.client_id = :clientId`,
          { clientId: client.clientId },
        ),
        1,
      );
    }
  });

  it("leave what a session holds of other clients as it became meanwhile", async () => {
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    const [first, second] = [
      new RelyingParty(server, await aClient(server, { first_party: true })),
      new RelyingParty(server, await aClient(server, { first_party: true })),
    ];
    await walk(server, browser, first.authorization(), user);
    const { clientId } = first.credentials;
    const [answer] = await meeting(
      (trx) =>
        trx.raw(
          `UPDATE sessions SET authorizations = jsonb_set(authorizations, ARRAY[:clientId, 'grantId'], '"another"')
           WHERE user_id = :userId`,
          { clientId, userId: user.id },
        ),
      [() => browser.copy().open(second.authorization({ prompt: "none" }))],
    );
    assert.ok(response(answer as Answer)["code"]);
    const session = await Session.query(server.database.knex).findOne({ userId: user.id });
    assert.equal(session?.authorizations?.[clientId]?.grantId, "another");
    assert.ok(session?.authorizations?.[second.credentials.clientId]?.grantId);
  });

  it("make one row of consents given at the same moment, with all that was allowed", async () => {
    const client = await aClient(server);
    const user = await aUser(server);
    const scopes = ["openid", "openid email", "openid profile", "openid phone", "openid address"];
    const app = new RelyingParty(server, client);
    const browsers = scopes.map(() => new WebBrowser(server));
    const pages = await Promise.all(
      scopes.map(async (scope, index) =>
        walk(server, browsers[index] as WebBrowser, app.authorization({ scope }), {
          ...user,
          until: "consent",
        }),
      ),
    );
    await Promise.all(
      pages.map(async (page, index) =>
        (browsers[index] as WebBrowser).submit(page.url.href, {
          decision: "allow",
          scope: (scopes[index] as string).split(" ").slice(1),
        }),
      ),
    );
    const consents = await OAuthConsent.query(server.database.knex).where({ userId: user.id });
    assert.equal(consents.length, 1);
    assert.deepEqual(consents[0]?.scopes.toSorted(), [
      "address",
      "email",
      "openid",
      "phone",
      "profile",
    ]);
  });

  /** Opens the address that ends a sign-in in many tabs at once: exactly one comes to the client. */
  async function finishInTabs(
    browser: WebBrowser,
    location: string,
    userId: string,
  ): Promise<void> {
    const before = browser.cookie("lintel_session");
    const tabs = Array.from({ length: PARALLEL }, (_, turn) => browser.copy(nodeOf(turn)));
    const answers = await Promise.all(tabs.map(async (tab) => tab.open(location)));
    const won = answers.filter((answer) => answer.location !== undefined);
    assert.equal(won.length, 1);
    assert.ok(response(won[0] as Answer)["code"]);
    for (const [index, answer] of answers.entries()) {
      if (answer === won[0]) continue;
      assert.deepEqual([answer.status, answer.page], [400, "stale"]);
      assert.equal(tabs[index]?.cookie("lintel_session"), before);
    }
    const sessions = await Session.query(server.database.knex).where({ userId });
    assert.equal(sessions.length, 1);
  }

  for (const kind of ["sent", "pushed"])
    it(`finish a sign-in that was ${kind} once, and give nobody else a code, a session or a cookie of one (T-12)`, async () => {
      for (let repetition = 0; repetition < REPETITIONS; repetition += 1) {
        const user = await aUser(server);
        const app = new RelyingParty(server, await aClient(server));
        const browser = new WebBrowser(server);
        const { clientId } = app.credentials;
        const push = async () => {
          const pushed = json(await app.post("/request", app.parameters({ scope: "openid" })));
          const uri = encodeURIComponent(String(pushed["request_uri"]));
          return `/auth?client_id=${clientId}&request_uri=${uri}`;
        };
        const asked = kind === "sent" ? app.authorization({ scope: "openid" }) : await push();
        const page = await walk(server, browser, asked, { ...user, until: "consent" });
        const { location = "" } = await browser.submit(page.url.href, { decision: "allow" });
        await finishInTabs(browser, location, user.id);
      }
    });

  it("finish a confirmation once, also where its grant is made anew (T-12)", async () => {
    const user = await aUser(server);
    const app = new RelyingParty(server, await aClient(server));
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    const again = app.authorization({ prompt: "login" });
    const page = await walk(server, browser, again, { ...user, until: "password" });
    const { location = "" } = await browser.submit(page.url.href, { password: PASSWORD });
    await OAuthGrant.query(server.database.knex)
      .where({ userId: user.id })
      .patch({ revokedAt: new Date() });
    await finishInTabs(browser, location, user.id);
  });

  it("never bring a session back that was ended while it was saved", async () => {
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    const app = new RelyingParty(server, await aClient(server, { first_party: true }));
    await walk(server, browser, app.authorization(), user);
    const clients = await Promise.all(
      Array.from({ length: 8 }, async () => aClient(server, { first_party: true })),
    );
    const answers = await meeting(
      async (trx) =>
        Session.query(trx)
          .patch({
            endedAt: new Date(),
            endReason: "admin_revoked",
            cookieHash: null,
            cookieEnc: null,
            previousCookieHash: null,
          })
          .where({ userId: user.id }),
      clients.map((client, turn) => async () => {
        const other = new RelyingParty(nodeOf(turn), client);
        const { code = "" } = response(
          await browser.copy(nodeOf(turn)).open(other.authorization({ prompt: "none" })),
        );
        return other.redeem(code);
      }),
    );
    const [session, ...others] = await Session.query(server.database.knex).where({
      userId: user.id,
    });
    assert.deepEqual(others, []);
    assert.equal(session?.endReason, "admin_revoked");
    assert.equal(session.cookieHash, null, "no cookie opens it again");
    for (const answer of answers) assert.equal(errorOf(answer), "invalid_grant");
    const answer = await browser.open(app.authorization({ prompt: "none" }));
    assert.equal(response(answer)["error"], "login_required");
  });

  it("bring no offline access that was allowed while all sessions were ended (T-30)", async () => {
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    const before = new RelyingParty(server, await aClient(server));
    await walk(server, browser, before.authorization(), user);
    const app = new RelyingParty(server, await aClient(server));
    const asked = app.authorization({ scope: "openid offline_access", prompt: "consent" });
    const page = await walk(server, browser, asked, { ...user, until: "consent" });
    const { location = "" } = await browser.submit(page.url.href, {
      decision: "allow",
      scope: ["offline_access"],
    });
    const actor = { type: "user", id: user.id } as const;
    const ending = { userId: user.id, reason: "user_revoked", actor } as const;
    const { uid } = await Session.query(server.database.knex)
      .findOne({ userId: user.id })
      .throwIfNotFound();
    const [answer] = await meeting(
      (trx) => endSessions(trx, [uid], ending, new Date()),
      [() => browser.open(location)],
    );
    const { code = "" } = answer === undefined ? {} : response(answer);
    assert.notEqual(code, "", "it was under way");
    assert.equal(errorOf(await app.redeem(code)), "invalid_grant");
  });

  /** Sets another password as the account page does, where everything else is signed out. */
  const changePassword = (trx: Knex.Transaction, userId: string) =>
    setPassword(
      trx,
      { userId, hash: "$of$another", via: "change", signOutOthers: true, keepSession: "another" },
      new Date(),
    );

  it("begin no session with a password that is changed at that very moment (T-30)", async () => {
    const app = new RelyingParty(server, await aClient(server));
    const liveOf = (userId: string) => Session.liveOf(server.database.knex, userId, new Date());
    /** The last page before the session begins, at a client's and at a page of ours, and what is sent there. */
    const beginnings = [
      { path: app.authorization(), until: "consent", fields: () => ({ decision: "allow" }) },
      {
        path: "/account",
        until: "login",
        fields: ({ email }: User) => ({ username: email, password: PASSWORD }),
      },
    ];
    for (const { path, until, fields } of beginnings) {
      const almost = async (user: User) => {
        const browser = new WebBrowser(server);
        const page = await walk(server, browser, path, { ...user, until });
        return { browser, finish: () => browser.submit(page.url.href, fields(user)) };
      };
      const before = await aUser(server);
      const first = await almost(before);
      const { location = "" } = await first.finish();
      const [answer] = await meeting(
        (trx) => changePassword(trx, before.id),
        [() => first.browser.open(location)],
      );
      assert.equal(answer?.status, 400, "changed when it was finished");
      assert.deepEqual(await liveOf(before.id), []);

      const during = await aUser(server);
      const second = await almost(during);
      const [finished] = await meeting((trx) => changePassword(trx, during.id), [second.finish]);
      const resumed = await second.browser.open(finished?.location ?? "");
      assert.equal(resumed.status, 400, "changed while it was finished");
      assert.deepEqual(await liveOf(during.id), []);

      const long = await aUser(server);
      const { knex } = server.database;
      await knex("users")
        .where({ id: long.id })
        .update({ credentialsChangedAt: knex.raw("clock_timestamp()") });
      const third = await almost(long);
      const { location: onwards = "" } = await third.finish();
      assert.equal((await third.browser.open(onwards)).status, 303, "changed before");
    }
  });

  it("answer a tab that still sends the cookie of a moment ago, until somebody signs out", async () => {
    const client = await aClient(server, { first_party: true });
    const app = new RelyingParty(server, client);
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    const slowTab = browser.copy();
    await walk(server, browser, app.authorization({ prompt: "login" }), user);
    assert.notEqual(browser.cookie("lintel_session"), slowTab.cookie("lintel_session"));
    const answer = await slowTab.copy().open(app.authorization({ prompt: "none" }));
    assert.ok(response(answer)["code"]);

    const page = await browser.open("/session/end");
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? "";
    await browser.submit("/session/end/confirm", { xsrf, logout: "yes" });
    const afterwards = await slowTab.open(app.authorization({ prompt: "none" }));
    assert.equal(response(afterwards)["error"], "login_required");
  });

  it("answer a tab that still sends the cookie of whoever was signed in before for them, and nobody else", async () => {
    const client = await aClient(server, { first_party: true });
    const app = new RelyingParty(server, client);
    const [ada, bob] = [await aUser(server), await aUser(server, { displayName: "Bob" })];
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), ada);
    const slowTab = browser.copy();
    const again = await walk(server, browser, app.authorization({ prompt: "login" }), {
      ...ada,
      until: "password",
    });
    const change = /id="not-you" href="([^"]+)"/.exec(again.text)?.[1] ?? "";
    const subjectOf = async (answer: Answer) => {
      const { access_token: token } = json(await app.redeem(response(answer)["code"] ?? ""));
      return json(await app.userinfo(String(token)))["sub"];
    };
    assert.equal(await subjectOf(await walk(server, browser, change, bob)), bob.id);
    const silent = app.authorization({ prompt: "none" });
    assert.equal(await subjectOf(await slowTab.open(silent)), ada.id);
    assert.equal(await subjectOf(await browser.open(silent)), bob.id);
  });
});

async function aProof(issuer: string, key: CryptoKey, jwk: JWK): Promise<string> {
  return new SignJWT({ htm: "POST", htu: `${issuer}/token`, jti: "a-proof" })
    .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk })
    .setIssuedAt()
    .sign(key);
}
