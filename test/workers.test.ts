import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { basic, json, RelyingParty, send } from "./support/rp.ts";
import { aProcess, type TestProcess } from "./support/process.ts";
import { aClient, freePort } from "./support/server.ts";

describe("lintel start --workers", function () {
  this.timeout(60_000);
  let server: TestProcess;
  let metricsPort: number;

  before(async () => {
    metricsPort = await freePort();
    server = await aProcess({ METRICS_PORT: String(metricsPort) }, ["--workers", "2"]);
    await until(() => serving().size === 2);
  });
  after(() => server?.dispose());

  interface Line {
    readonly msg: string;
    readonly worker: number;
    readonly pid: number;
  }
  const logged = (): Line[] =>
    server
      .printed()
      .out.split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
  /** The process of each worker, as the last word about it was. */
  const serving = (): Map<number, number> =>
    new Map(
      logged()
        .filter(({ msg }) => msg === "worker serves")
        .map(({ worker, pid }) => [worker, pid]),
    );
  const times = (message: string): number => logged().filter(({ msg }) => msg === message).length;
  const isAlive = (pid: number): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  async function until(is: () => boolean): Promise<void> {
    for (let tries = 0; !is(); tries += 1) {
      assert.ok(tries < 400, server.printed().out + server.printed().err);
      await delay(50);
    }
  }
  const metrics = async (): Promise<string> =>
    (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();

  it("shares the port among processes that all know what one of them wrote", async () => {
    const { clientId, clientSecret } = await aClient(server, {
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    });
    const app = new RelyingParty(server, { clientId, clientSecret, redirectUri: "" });
    const headers = { authorization: basic(clientId, clientSecret), connection: "close" };
    const { access_token: token } = json(
      await app.token({ grant_type: "client_credentials" }, headers),
    );
    const answers = await Promise.all(
      Array.from({ length: 6 }, () =>
        app.post("/token/introspection", { token: String(token) }, headers),
      ),
    );
    for (const answer of answers) assert.equal(json(answer)["active"], true);
  });

  it("adds up the metrics of all", async () => {
    const count = async (): Promise<number> => {
      const line = /lintel_http_request_duration_seconds_count\{route="healthz"[^}]*\} (\d+)/.exec(
        await metrics(),
      );
      return Number(line?.[1] ?? 0);
    };
    const before = await count();
    const headers = { connection: "close" };
    for (let asked = 0; asked < 8; asked += 1) await send(server, { path: "/healthz", headers });
    assert.equal(await count(), before + 8);
  });

  it("has one of them do the jobs and the greeting", async () => {
    assert.equal(server.printed().out.split("Lintel is running.").length, 2);
    const { rows } = await server.database.knex.raw(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%jobs:insert%'",
    );
    assert.equal(rows[0].n, 1);
  });

  it("replaces a worker that is killed", async () => {
    const before = serving();
    process.kill(before.get(2) ?? 0, "SIGKILL");
    await until(() => serving().get(2) !== before.get(2));
    assert.equal(serving().get(1), before.get(1));
    assert.equal((await send(server, { path: "/readyz" })).status, 200);
  });

  it("restarts them one after another at SIGHUP, and every request is answered", async () => {
    const before = serving();
    let isDone = false;
    let answered = 0;
    const load = Array.from({ length: 4 }, async () => {
      while (!isDone) {
        const headers = { connection: "close" };
        assert.equal((await send(server, { path: "/jwks", headers })).status, 200);
        answered += 1;
      }
    });
    process.kill(server.pid(), "SIGHUP");
    await until(() => times("every worker was restarted") === 1);
    isDone = true;
    await Promise.all(load);
    assert.ok(answered > 0);
    for (const [worker, pid] of before) {
      assert.notEqual(serving().get(worker), pid);
      assert.ok(!isAlive(pid));
    }
  });

  it("ends them all at SIGTERM", async () => {
    const pids = [...serving().values()];
    assert.equal(await server.end("SIGTERM"), 0);
    for (const pid of pids) assert.ok(!isAlive(pid));
  });

  it("ends where the first cannot start, and says why once", async () => {
    await assert.rejects(
      aProcess({ DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" }, ["--workers", "2"]),
      (error: Error) => error.message.includes("ECONNREFUSED"),
    );
  });
});
