import assert from 'node:assert/strict';
import { json, RelyingParty, response, send, walk, WebBrowser } from '../support/rp.ts';
import { aClient, aServer, aUser, PASSWORD, type TestServer } from '../support/server.ts';

/** What a thief of the database or of the log gets: nothing that signs anybody in. */
describe('at rest', () => {
  let server: TestServer;
  const secrets = new Map<string, string>();
  let email: string;

  before(async () => {
    server = await aServer();
    const client = await aClient(server);
    const app = new RelyingParty(server, client);
    const user = await aUser(server, { email: 'somebody.in.particular@example.com' });
    ({ email } = user);
    const browser = new WebBrowser(server);
    const keep = (name: string, value: unknown) => secrets.set(name, String(value));
    keep('password', PASSWORD);
    keep('client secret', client.clientSecret);

    await walk(server, new WebBrowser(server), app.authorization(), { email, password: 'a wrong one' });
    const page = await walk(
      server,
      browser,
      app.authorization({
        scope: 'openid email offline_access',
        prompt: 'consent',
        login_hint: 'a.hint@example.com',
        state: 'the-state-of-the-app',
      }),
      { email, until: 'consent' },
    );
    keep('interaction', page.url.pathname.split('/')[2]);
    const answer = await walk(server, browser, page.url.href, { email });
    keep('code', response(answer)['code']);
    keep('session cookie', browser.cookie('lintel_session'));
    const tokens = json(await app.redeem(response(answer)['code'] ?? ''));
    for (const name of ['access_token', 'refresh_token', 'id_token']) keep(name, tokens[name]);
    const refreshed = json(
      await app.token({
        grant_type: 'refresh_token',
        refresh_token: String(tokens['refresh_token']),
      }),
    );
    keep('second refresh token', refreshed['refresh_token']);
    await app.userinfo(String(refreshed['access_token']));
    const pushed = json(await app.post('/request', app.parameters()));
    keep('pushed request', String(pushed['request_uri']).split(':').at(-1));
    await send(server, { path: `/nowhere?token=${secrets.get('access_token')}` });
  });
  after(() => server.stop());

  it('holds no password, token, code, cookie or secret in any column of any table (T-64)', async () => {
    const { knex } = server.database;
    const { rows: tables }: { rows: { name: string }[] } = await knex.raw(`
      SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND n.nspname IN ('public', 'graphile_worker')`);
    let scanned = 0;
    for (const { name } of tables) {
      const { rows }: { rows: { row: string }[] } = await knex.raw(
        `SELECT to_jsonb(t)::text AS row FROM ${name} t`,
      );
      scanned += rows.length;
      for (const { row } of rows) {
        for (const [what, value] of secrets) {
          const forms = [value, Buffer.from(value).toString('hex'), Buffer.from(value).toString('base64')];
          for (const form of forms) assert.ok(!row.includes(form), `${name} holds the ${what}`);
        }
        assert.ok(!row.includes('a.hint@example.com'), `${name} holds what an interaction was told`);
      }
    }
    assert.ok(scanned > 20);
  });

  it('logs none of them, and nobody’s address (T-118)', () => {
    const log = server.logged();
    assert.match(log, /"msg":"request"/);
    for (const [what, value] of secrets) assert.ok(!log.includes(value), `the log has the ${what}`);
    assert.ok(!log.includes(email));
    assert.ok(!log.includes('a.hint@example.com'));
    assert.ok(!log.includes('127.0.0.1'));
    assert.ok(!log.includes('the-state-of-the-app'));
    for (const line of log.trim().split('\n')) assert.doesNotThrow(() => JSON.parse(line));
  });
});
