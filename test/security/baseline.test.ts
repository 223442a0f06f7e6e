import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { aClient, aUser, type TestServer } from '../support/server.ts';
import {
  aProductionServer,
  errorOf,
  json,
  RelyingParty,
  response,
  send,
  walk,
  WebBrowser,
} from '../support/rp.ts';

describe('x', () => {
  let server: TestServer;
  before(async () => { server = await aProductionServer(); });
  after(async () => { await server?.stop(); });
  it('disc', async () => {
    const a = await send(server, { path: '/.well-known/openid-configuration' });
    console.log(a.status, a.headers, JSON.stringify(json(a), null, 1));
    const user = await aUser(server);
    const rp = new RelyingParty(server, await aClient(server));
    const b = new WebBrowser(server);
    const first = await b.open(rp.authorization());
    console.log(first.status, first.setCookies, first.location);
    const t = Date.now();
    const done = await walk(server, b, rp.authorization(), user);
    console.log(done.status, done.location, done.setCookies, done.text, Date.now() - t);
    const r = await rp.redeem(response(done)['code'] ?? '');
    console.log(r.status, r.text, r.headers);
    void errorOf; void connect; void assert;
  });
});
