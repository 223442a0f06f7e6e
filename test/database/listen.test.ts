import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

import { listen } from "../../src/database/listen.ts";
import { createLogger } from "../../src/lib/log.ts";
import { testDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const log = createLogger({ level: "silent" });

describe("listen", function () {
  this.timeout(20_000);
  let database: TestDatabase;
  let received: string[];
  let reconnects: number;

  before(async () => {
    database = await testDatabase({ empty: true });
  });

  beforeEach(() => {
    received = [];
    reconnects = 0;
  });

  after(() => database.drop());

  function start(url = database.url): ReturnType<typeof listen> {
    return listen({
      url,
      channels: ["lintel_clients", 'Odd "name"'],
      onNotify: (channel, payload) => {
        received.push(`${channel}:${payload}`);
      },
      onReconnect: () => {
        reconnects += 1;
      },
      log,
    });
  }

  async function notify(channel: string, payload: string): Promise<void> {
    await database.knex.raw("SELECT pg_notify(?, ?)", [channel, payload]);
  }

  async function listeners(): Promise<number[]> {
    return database
      .knex("pg_stat_activity")
      .whereRaw("datname = current_database()")
      .where({ application_name: "lintel listen" })
      .pluck("pid");
  }

  it("hands on the notifications of its channels and of no other", async () => {
    const listener = await start();
    await notify("lintel_clients", "a");
    await notify("something_else", "b");
    await notify('Odd "name"', "");
    await until(() => received.length === 2);
    assert.deepEqual(received, ["lintel_clients:a", 'Odd "name":']);
    assert.equal(reconnects, 0);
    await listener.stop();
    await until(async () => (await listeners()).length === 0);
  });

  it("comes back after its connection was terminated, and says that it may have missed something", async () => {
    const listener = await start();
    for (const expected of [1, 2]) {
      const [pid] = await listeners();
      await database.knex.raw("SELECT pg_terminate_backend(?, 5000)", [pid ?? 0]);
      await until(() => reconnects === expected);
      await notify("lintel_clients", String(expected));
      await until(() => received.length === expected);
    }
    await listener.stop();
  });

  it("starts without a database, keeps trying, and stops at once when told to", async () => {
    const listener = await start("postgresql://lintel@127.0.0.1:1/lintel");
    await delay(50);
    const begin = Date.now();
    await listener.stop();
    assert.ok(Date.now() - begin < 500);
    assert.equal(reconnects, 0);
  });

  it("says that it may have missed something when the first attempt failed", async () => {
    const name = new URL(database.url).pathname.slice(1);
    const admin = await testDatabase({ empty: true });
    await database.knex.destroy();
    await admin.knex.raw("ALTER DATABASE ?? WITH ALLOW_CONNECTIONS false", [name]);
    const listener = await start();
    await admin.knex.raw("ALTER DATABASE ?? WITH ALLOW_CONNECTIONS true", [name]);
    await until(() => reconnects === 1);
    await listener.stop();
    database.knex.initialize();
    await admin.drop();
  });

  it("survives a callback that throws", async () => {
    let calls = 0;
    const listener = await listen({
      url: database.url,
      channels: ["lintel_clients"],
      onNotify: () => {
        calls += 1;
        throw new Error("cache");
      },
      onReconnect: () => undefined,
      log,
    });
    await notify("lintel_clients", "");
    await notify("lintel_clients", "");
    await until(() => calls === 2);
    await listener.stop();
  });
});

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 8000; !(await holds()); await delay(10)) {
    assert.ok(Date.now() < deadline, "it did not happen within 8 s");
  }
}
