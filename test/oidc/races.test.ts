import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import {
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
} from 'jose';
import { OAuthConsent } from '../../src/models/oauth-consent.ts';
import { RefreshToken } from '../../src/models/refresh-token.ts';
import { Session } from '../../src/models/session.ts';
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
} from '../support/rp.ts';
import { aClient, aServer, aUser, type TestServer } from '../support/server.ts';

const PARALLEL = 40;
const REPETITIONS = 3;

/** Two servers on one database: whatever is asked of both at the same moment has one outcome. */
describe('races, on two servers', () => {
  let server: TestServer;
  let nodes: Target[];
  before(async () => {
    server = await aServer({ DATABASE_POOL: '20' });
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
    return response(answer)['code'] ?? '';
  }

  async function tokensOf(client: Credentials): Promise<Record<string, unknown>> {
    return json(await new RelyingParty(server, client).redeem(await aCode(client)));
  }

  const withStatus = (answers: readonly Answer[], status: number) =>
    answers.filter((answer) => answer.status === status);

  it('redeem a code once, and what the winner got is revoked, for one of the two was no client (RFC 6749 §4.1.2, T-20)', async () => {
    for (let round = 0; round < REPETITIONS; round += 1) {
      const client = await aClient(server);
      const code = await aCode(client);
      const answers = await atOnce((node) => new RelyingParty(node, client).redeem(code));
      const won = withStatus(answers, 200);
      assert.equal(won.length, 1);
      assert.equal(withStatus(answers, 400).length, PARALLEL - 1);
      for (const lost of withStatus(answers, 400)) assert.equal(errorOf(lost), 'invalid_grant');
      const tokens = json(won[0] as Answer);
      const app = new RelyingParty(server, client);
      assert.equal((await app.userinfo(String(tokens['access_token']))).status, 401);
      const refresh = await app.token({
        grant_type: 'refresh_token',
        refresh_token: String(tokens['refresh_token']),
      });
      assert.equal(errorOf(refresh), 'invalid_grant');
    }
  });

  it('give everyone who refreshes with one token the same successor, in one row (T-22)', async () => {
    for (let round = 0; round < REPETITIONS; round += 1) {
      const client = await aClient(server);
      let { refresh_token: token } = await tokensOf(client);
      const before = await RefreshToken.query(server.database.knex).resultSize();
      for (let rotation = 0; rotation < 3; rotation += 1) {
        const current = String(token);
        const answers = await atOnce((node) =>
          new RelyingParty(node, client).token({
            grant_type: 'refresh_token',
            refresh_token: current,
          }),
        );
        assert.equal(withStatus(answers, 200).length, PARALLEL);
        const successors = new Set(answers.map((answer) => json(answer)['refresh_token']));
        assert.equal(successors.size, 1);
        [token] = [...successors];
        assert.notEqual(token, current);
      }
      assert.equal(await RefreshToken.query(server.database.knex).resultSize(), before);
    }
  });

  it('end the family when a token comes back whose successor was used, and tell its owner (RFC 9700 §4.14.2, T-22)', async () => {
    const client = await aClient(server);
    const app = new RelyingParty(server, client);
    const refresh = async (token: unknown) =>
      app.token({ grant_type: 'refresh_token', refresh_token: String(token) });
    const first = await tokensOf(client);
    const second = json(await refresh(first['refresh_token']));
    const third = json(await refresh(second['refresh_token']));
    assert.equal(errorOf(await refresh(first['refresh_token'])), 'invalid_grant');
    assert.equal(errorOf(await refresh(third['refresh_token'])), 'invalid_grant');
    assert.equal((await app.userinfo(String(third['access_token']))).status, 401);
    const { knex } = server.database;
    assert.equal(await count(`audit_events WHERE type = 'token.refresh_reused'`), 1);
    assert.equal(await count(`outbox_messages WHERE template = 'token_reused'`), 1);
    async function count(from: string): Promise<number> {
      const { rows } = await knex.raw(`SELECT count(*)::int AS n FROM ${from}`);
      return rows[0].n;
    }
  });

  it('end the family when the reuse interval of its client is over', async () => {
    const client = await aClient(server, { refresh_reuse_interval: 1 });
    const app = new RelyingParty(server, client);
    const refresh = async (token: unknown) =>
      app.token({ grant_type: 'refresh_token', refresh_token: String(token) });
    const first = await tokensOf(client);
    const second = json(await refresh(first['refresh_token']));
    assert.equal(json(await refresh(first['refresh_token']))['refresh_token'], second['refresh_token']);
    await delay(1100);
    assert.equal(errorOf(await refresh(first['refresh_token'])), 'invalid_grant');
    assert.equal(errorOf(await refresh(second['refresh_token'])), 'invalid_grant');
  });

  it('accept a pushed request once (RFC 9126 §4)', async () => {
    const client = await aClient(server);
    const app = new RelyingParty(server, client);
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    const pushed = json(await app.post('/request', app.parameters()));
    const path = `/auth?${new URLSearchParams({ client_id: client.clientId, request_uri: String(pushed['request_uri']) })}`;
    const answers = await Promise.all(
      Array.from({ length: PARALLEL }, async () => browser.copy().open(path)),
    );
    const outcomes = answers.map((answer) => errorOf(answer) ?? 'code');
    assert.equal(outcomes.filter((outcome) => outcome === 'code').length, 1);
    assert.deepEqual(new Set(outcomes), new Set(['code', 'invalid_request_uri']));
  });

  it('accept a client assertion once (RFC 7523 §3, T-26)', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const client = await aClient(server, {
      grant_types: ['client_credentials'],
      redirect_uris: [],
      post_logout_redirect_uris: [],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig', kid: 'k' }] },
    });
    for (let round = 0; round < REPETITIONS; round += 1) {
      const assertion = await new SignJWT({ jti: `assertion-${round}` })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setIssuer(client.clientId)
        .setSubject(client.clientId)
        .setAudience(server.issuer)
        .setIssuedAt()
        .setExpirationTime('1m')
        .sign(privateKey);
      const answers = await atOnce((node) =>
        send(node, {
          path: '/token',
          fields: {
            grant_type: 'client_credentials',
            client_id: client.clientId,
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
            client_assertion: assertion,
          },
        }),
      );
      assert.equal(withStatus(answers, 200).length, 1);
      assert.equal(withStatus(answers, 401).length, PARALLEL - 1);
    }
  });

  it('accept a DPoP proof once (RFC 9449 §11.1, T-26)', async () => {
    const pair = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(pair.publicKey);
    const client = await aClient(server, {
      grant_types: ['client_credentials'],
      redirect_uris: [],
      post_logout_redirect_uris: [],
    });
    const proof = await aProof(server.issuer, pair.privateKey, jwk);
    const answers = await atOnce((node) =>
      new RelyingParty(node, client).token(
        { grant_type: 'client_credentials' },
        {
          authorization: `Basic ${btoa(`${client.clientId}:${client.clientSecret}`)}`,
          dpop: proof,
        },
      ),
    );
    assert.equal(withStatus(answers, 200).length, 1);
    assert.equal(json(withStatus(answers, 200)[0] as Answer)['token_type'], 'DPoP');
  });

  it('keep what two tabs of one browser got for two clients at the same moment', async () => {
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
          new RelyingParty(nodeOf(turn), client).redeem(codes[turn]?.['code'] ?? ''),
        ),
      );
      assert.equal(withStatus(answers, 200).length, clients.length);
      const sub = json(await front.userinfo(String(json(answers[0] as Answer)['access_token'])));
      assert.equal(sub['sub'], user.id);
    }
  });

  it('make one row of consents given at the same moment, with all that was allowed', async () => {
    const client = await aClient(server);
    const user = await aUser(server);
    const scopes = ['openid', 'openid email', 'openid profile', 'openid phone', 'openid address'];
    const app = new RelyingParty(server, client);
    const browsers = scopes.map(() => new WebBrowser(server));
    const pages = await Promise.all(
      scopes.map(async (scope, index) =>
        walk(server, browsers[index] as WebBrowser, app.authorization({ scope }), {
          ...user,
          until: 'consent',
        }),
      ),
    );
    await Promise.all(
      pages.map(async (page, index) =>
        (browsers[index] as WebBrowser).submit(page.url.href, {
          decision: 'allow',
          scope: (scopes[index] as string).split(' ').slice(1),
        }),
      ),
    );
    const consents = await OAuthConsent.query(server.database.knex).where({ userId: user.id });
    assert.equal(consents.length, 1);
    assert.deepEqual(consents[0]?.scopes.toSorted(), [
      'address',
      'email',
      'openid',
      'phone',
      'profile',
    ]);
  });

  it('never bring a session back that was ended while it was used', async () => {
    const client = await aClient(server, { first_party: true });
    const app = new RelyingParty(server, client);
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    const { knex } = server.database;
    const uses = Array.from({ length: PARALLEL }, async () =>
      browser.copy().open(app.authorization({ prompt: 'login' })),
    );
    await Session.query(knex)
      .patch({ endedAt: new Date(), endReason: 'admin_revoked' })
      .where({ userId: user.id });
    await Promise.all(uses);
    const alive = await Session.query(knex).where({ userId: user.id }).whereNull('endedAt');
    assert.equal(alive.length, 0);
    const answer = await browser.open(app.authorization({ prompt: 'none' }));
    assert.equal(response(answer)['error'], 'login_required');
  });

  it('answer a tab that still sends the cookie of a moment ago, until somebody signs out', async () => {
    const client = await aClient(server, { first_party: true });
    const app = new RelyingParty(server, client);
    const user = await aUser(server);
    const browser = new WebBrowser(server);
    await walk(server, browser, app.authorization(), user);
    const slowTab = browser.copy();
    await walk(server, browser, app.authorization({ prompt: 'login' }), user);
    assert.notEqual(browser.cookie('lintel_session'), slowTab.cookie('lintel_session'));
    const answer = await slowTab.copy().open(app.authorization({ prompt: 'none' }));
    assert.ok(response(answer)['code']);

    const page = await browser.open('/session/end');
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    await browser.submit('/session/end/confirm', { xsrf, logout: 'yes' });
    const afterwards = await slowTab.open(app.authorization({ prompt: 'none' }));
    assert.equal(response(afterwards)['error'], 'login_required');
  });
});

async function aProof(issuer: string, key: CryptoKey, jwk: JWK): Promise<string> {
  return new SignJWT({ htm: 'POST', htu: `${issuer}/token`, jti: 'a-proof' })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
    .setIssuedAt()
    .sign(key);
}
