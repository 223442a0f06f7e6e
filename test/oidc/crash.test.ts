import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { errorOf, json, RelyingParty, response, walk, WebBrowser } from '../support/rp.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import { aClient, aUser, freePort } from '../support/server.ts';

const LAUNCHER = fileURLToPath(new URL('../../src/lintel.mjs', import.meta.url));

/** The server as a process that is killed without warning while it answers, several times. */
describe('kill -9 under load', () => {
  let database: TestDatabase;
  let dataDir: string;
  let port: number;
  let demoPort: number;
  let child: ChildProcess;

  before(async () => {
    database = await testDatabase();
    dataDir = mkdtempSync(join(tmpdir(), 'lintel-crash-'));
    [port, demoPort] = [await freePort(), await freePort()];
    await boot();
  });
  after(async () => {
    child.kill('SIGKILL');
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const issuer = () => `http://localhost:${port}`;
  const target = () => ({ issuer: issuer(), port });

  async function boot(): Promise<void> {
    child = spawn(process.execPath, [LAUNCHER, 'start'], {
      stdio: 'ignore',
      env: {
        PATH: process.env['PATH'],
        PORT: String(port),
        DEMO_PORT: String(demoPort),
        DATABASE_URL: database.url,
        DATA_DIR: dataDir,
        LOG_LEVEL: 'silent',
      },
    });
    for (let tries = 0; ; tries += 1) {
      try {
        if ((await fetch(`${issuer()}/readyz`)).ok) return;
      } catch {
        // Not there yet.
      }
      assert.ok(tries < 200, 'the server does not start');
      await delay(50);
    }
  }

  it('loses nothing that was acknowledged, and spends nothing twice', async function () {
    this.timeout(60_000);
    const client = await aClient({ database }, { first_party: true });
    const app = new RelyingParty(target(), client);
    const user = await aUser({ database });
    const browser = new WebBrowser(target());
    const sessions = 6;
    const first = await walk(target(), browser, app.authorization(), user);
    assert.ok(response(first)['code']);

    /** Everything a client was told, newest last; what it asked and got no answer to may have happened or not. */
    const families: { acknowledged: string[]; accessToken: string }[] = [];
    const redeemed: string[] = [];
    for (let index = 0; index < sessions; index += 1) {
      const { code = '' } = response(await browser.open(app.authorization()));
      const tokens = json(await app.redeem(code));
      redeemed.push(code);
      families.push({
        acknowledged: [String(tokens['refresh_token'])],
        accessToken: String(tokens['access_token']),
      });
    }

    for (let round = 0; round < 3; round += 1) {
      let running = true;
      const load = families.map(async (family) => {
        while (running) {
          try {
            const answer = await app.token({
              grant_type: 'refresh_token',
              refresh_token: family.acknowledged.at(-1) ?? '',
            });
            if (answer.status !== 200) break;
            const tokens = json(answer);
            family.acknowledged.push(String(tokens['refresh_token']));
            family.accessToken = String(tokens['access_token']);
          } catch {
            break;
          }
        }
      });
      await delay(400 + round * 130);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await Promise.all(load);
      running = false;
      await boot();

      for (const family of families) {
        const userinfo = await app.userinfo(family.accessToken);
        assert.equal(userinfo.status, 200, 'an acknowledged access token answers');
        // The last acknowledged token is current, or its successor was issued and never heard of.
        const answer = await app.token({
          grant_type: 'refresh_token',
          refresh_token: family.acknowledged.at(-1) ?? '',
        });
        assert.equal(answer.status, 200, 'an acknowledged refresh token refreshes');
        family.acknowledged.push(String(json(answer)['refresh_token']));
        family.accessToken = String(json(answer)['access_token']);
      }
      assert.ok(families.every(({ acknowledged }) => new Set(acknowledged).size === acknowledged.length));
      const silent = await browser.open(app.authorization({ prompt: 'none' }));
      assert.ok(response(silent)['code'], 'the session in the browser still works');
    }
    assert.ok(families.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0) > 50);
    for (const code of redeemed) assert.equal(errorOf(await app.redeem(code)), 'invalid_grant');
  });

  it('finishes what is in progress when it is asked to stop', async () => {
    const client = await aClient({ database }, { first_party: true });
    const app = new RelyingParty(target(), client);
    const user = await aUser({ database });
    const codes = await Promise.all(
      Array.from({ length: 4 }, async () =>
        response(await walk(target(), new WebBrowser(target()), app.authorization(), user)),
      ),
    );
    const answers = codes.map(async ({ code = '' }) => app.redeem(code));
    await delay(5);
    child.kill('SIGTERM');
    const [exitCode] = (await once(child, 'exit')) as [number | null];
    assert.equal(exitCode, 0);
    for (const answer of await Promise.all(answers)) assert.equal(answer.status, 200);
    await boot();
  });
});
