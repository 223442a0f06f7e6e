import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "../../src/database/connect.ts";
import { startEmbeddedPostgres } from "../../src/database/embedded.ts";
import { testLog } from "../support/database.ts";
import { aProcess, type TestProcess } from "../support/process.ts";
import {
  errorOf,
  json,
  RelyingParty,
  response,
  walk,
  WebBrowser,
  type Answer,
} from "../support/rp.ts";
import { aClient, aUser } from "../support/server.ts";

const FAMILIES = 6;
const SHOPPERS = 3;
const KILLS = 3;

/** A server, and how it is killed, or what it stands on, and comes back. */
interface Victim {
  readonly server: Pick<TestProcess, "issuer" | "port"> & {
    readonly database: Pick<TestProcess["database"], "knex">;
  };
  kill(): Promise<void>;
  comeBack(): Promise<void>;
}

/** The server as a process that is killed without warning while it answers, several times. */
describe("kill -9 of the server under load", () => {
  let server: TestProcess;
  before(async () => {
    server = await aProcess({ LOG_LEVEL: "silent" });
  });
  after(() => server?.dispose());

  it("loses nothing that was acknowledged, and spends nothing twice", async function () {
    this.timeout(60_000);
    await killUnderLoad({
      server,
      kill: async () => void (await server.end("SIGKILL")),
      comeBack: () => server.boot(),
    });
  });

  it("finishes what is in progress when it is asked to stop", async () => {
    const client = await aClient(server, { first_party: true });
    const app = new RelyingParty(server, client);
    const user = await aUser(server);
    const codes = await Promise.all(
      Array.from({ length: 4 }, async () =>
        response(await walk(server, new WebBrowser(server), app.authorization(), user)),
      ),
    );
    const answers = codes.map(async ({ code = "" }) => app.redeem(code));
    await delay(5);
    assert.equal(await server.end("SIGTERM"), 0);
    for (const answer of await Promise.all(answers)) assert.equal(answer.status, 200);
  });
});

/** PostgreSQL, with the durability of production and unlike that of the other tests. */
describe("kill -9 of the database under load", () => {
  const dataDir = mkdtempSync(join(tmpdir(), "lintel-durable-"));
  const closers: (() => Promise<unknown>)[] = [];
  after(async () => {
    for (const close of closers.toReversed()) await close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  it("loses nothing that was acknowledged, and spends nothing twice", async function () {
    this.timeout(60_000);
    const postgres = await startEmbeddedPostgres({ dataDir, log: testLog });
    closers.push(() => postgres.stop());
    const { url } = postgres;
    const server = await aProcess({ LOG_LEVEL: "silent", DATABASE_URL: url });
    closers.push(() => server.dispose());
    const knex = connect({ url, applicationName: "lintel test", poolMax: 1 });
    closers.push(() => knex.destroy());
    await killUnderLoad({
      server: { issuer: server.issuer, port: server.port, database: { knex } },
      async kill() {
        const { rows } = await knex.raw<{ rows: { pid: number }[] }>(
          "SELECT pid FROM pg_stat_activity WHERE application_name = 'lintel' ORDER BY query_start DESC LIMIT 1",
        );
        // When one of its processes dies, PostgreSQL ends all the others at once and recovers from its log.
        process.kill(rows[0]?.pid ?? Number.NaN, "SIGKILL");
      },
      async comeBack() {
        const ready = async () => (await fetch(`http://127.0.0.1:${server.port}/readyz`)).ok;
        for (let tries = 0; !(await ready()); tries += 1) {
          assert.ok(tries < 200, "the server finds its database again");
          await delay(50);
        }
        await knex.raw("SELECT 1").catch(() => undefined);
      },
    });
  });
});

/** What a client asks over and over again until nobody answers; whatever is answered must be a success. */
async function untilItBreaks(ask: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      await ask();
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      return;
    }
  }
}

/** An answer; that somebody should come back later is none. */
function answered(answer: Answer): Answer {
  if (errorOf(answer) === "temporarily_unavailable") throw new Error("not now");
  return answer;
}

async function killUnderLoad({ server, kill, comeBack }: Victim): Promise<void> {
  const rowsOf = async (from: string, bindings: Record<string, string> = {}): Promise<number> =>
    (await server.database.knex.raw(`SELECT count(*)::int AS n FROM ${from}`, bindings)).rows[0].n;
  const user = await aUser(server);
  const browser = new WebBrowser(server);
  const app = new RelyingParty(server, await aClient(server, { first_party: true }));
  await walk(server, browser, app.authorization(), user);
  const silently = (party: RelyingParty): Promise<Answer> =>
    browser.copy().open(party.authorization({ prompt: "none" }));

  /** What each client was told last; what it asked and got no answer to may have happened or not. */
  const families: { refreshToken: string; accessToken: string }[] = [];
  const known = new Set<string>();
  const learn = (family: { refreshToken: string; accessToken: string }, answer: Answer): void => {
    const tokens = json(answer);
    family.refreshToken = String(tokens["refresh_token"]);
    family.accessToken = String(tokens["access_token"]);
    for (const token of [family.refreshToken, family.accessToken]) {
      assert.ok(!known.has(token), "nothing is issued twice");
      known.add(token);
    }
  };
  const refresh = (family: { refreshToken: string }): Promise<Answer> =>
    app.token({ grant_type: "refresh_token", refresh_token: family.refreshToken });
  for (let index = 0; index < FAMILIES; index += 1) {
    const family = { refreshToken: "", accessToken: "" };
    const { code = "" } = response(await silently(app));
    learn(family, await app.redeem(code));
    families.push(family);
  }

  const totals = { refreshed: 0, redeemed: 0, unanswered: 0 };
  for (let round = 0; round < KILLS; round += 1) {
    const credentials = await aClient(server, { first_party: true });
    const shop = new RelyingParty(server, credentials);
    /** Codes that were on their way to the token endpoint when it died, and tokens that came back from there. */
    const asked = new Set<string>();
    const bought = new Map<string, string>();
    const load = [
      ...families.map((family) =>
        untilItBreaks(async () => {
          const answer = answered(await refresh(family));
          assert.equal(answer.status, 200, answer.text);
          learn(family, answer);
          totals.refreshed += 1;
        }),
      ),
      ...Array.from({ length: SHOPPERS }, () =>
        untilItBreaks(async () => {
          const { code } = response(answered(await silently(shop)));
          assert.ok(code, "the session in the browser works");
          asked.add(code);
          const answer = answered(await shop.redeem(code));
          assert.equal(answer.status, 200, answer.text);
          bought.set(code, String(json(answer)["access_token"]));
          asked.delete(code);
        }),
      ),
    ];
    await delay(500 + round * 130);
    // A busy machine gets there later.
    const isEnough = () => totals.refreshed > 17 * (round + 1) && bought.size > 3;
    for (const until = Date.now() + 12_000; !isEnough() && Date.now() < until;) await delay(10);
    await kill();
    await Promise.all(load);
    await comeBack();
    totals.redeemed += bought.size;
    totals.unanswered += asked.size;

    for (const family of families) {
      const { status } = await app.userinfo(family.accessToken);
      assert.equal(status, 200, "an acknowledged access token answers");
      // It is current, or its successor was made and never heard of.
      const answer = await refresh(family);
      assert.equal(answer.status, 200, "an acknowledged refresh token refreshes");
      learn(family, answer);
    }
    for (const accessToken of bought.values()) {
      const { status } = await shop.userinfo(accessToken);
      assert.equal(status, 200, "an acknowledged access token answers");
    }

    // One family and one access token for each code that was spent: all of an exchange was kept, or nothing.
    const { clientId } = credentials;
    const ofShop = `JOIN oauth_grants g ON g.id = t.grant_id JOIN oauth_clients c ON c.id = g.client_id
      WHERE c.client_id = :clientId`;
    const spent = await rowsOf(`oauth_authorizations t ${ofShop} AND t.consumed_at IS NOT NULL`, {
      clientId,
    });
    assert.ok(spent >= bought.size && spent <= bought.size + asked.size);
    assert.equal(await rowsOf(`refresh_tokens t ${ofShop}`, { clientId }), spent);
    assert.equal(await rowsOf(`oidc_artifacts t ${ofShop}`, { clientId }), spent);

    // Whoever asks again gets tokens if the code was not spent, and else learns that it was.
    for (const code of asked) {
      const answer = await shop.redeem(code);
      assert.ok(answer.status === 200 || errorOf(answer) === "invalid_grant", answer.text);
    }
    for (const code of bought.keys())
      assert.equal(errorOf(await shop.redeem(code)), "invalid_grant");
    assert.ok(response(await silently(app))["code"], "the session in the browser still works");
  }
  assert.ok(totals.refreshed > 50 && totals.redeemed > 10, JSON.stringify(totals));
}
