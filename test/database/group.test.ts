import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTo, createServer } from "node:net";
import type { Knex } from "knex";
import { connect } from "../../src/database/connect.ts";
import { runStatement, type Statement } from "../../src/database/statement.ts";
import { defer, runInUnitOfWork, writer } from "../../src/database/transaction.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const add = (id: number): Statement => ({
  sql: "INSERT INTO things (id) VALUES (CAST(:id AS integer))",
  bindings: { id },
});

describe("deferred writes", () => {
  let database: TestDatabase;
  let knex: Knex;
  let other: Knex;

  before(async () => {
    database = await testDatabase({ empty: true });
    ({ knex } = database);
    await knex.raw("CREATE TABLE things (id integer PRIMARY KEY)");
    other = connect({ url: database.url, applicationName: "lintel test" });
  });
  after(async () => {
    await other?.destroy();
    await database?.drop();
  });
  beforeEach(() => knex("things").delete());

  const ids = async (): Promise<number[]> => other("things").orderBy("id").pluck("id");
  const transactions = async (): Promise<number> => {
    const { rows } = await other.raw("SELECT count(DISTINCT xmin::text)::int AS n FROM things");
    return rows[0].n;
  };
  const unit = (id: number): Promise<void> => runInUnitOfWork(knex, () => defer(knex, add(id)));

  it("are committed when the unit resolves, and not seen before", async () => {
    await runInUnitOfWork(knex, async () => {
      await defer(knex, add(1));
      assert.deepEqual(await ids(), []);
    });
    assert.deepEqual(await ids(), [1]);
  });

  it("are committed with what the unit wrote otherwise", async () => {
    await runInUnitOfWork(knex, async () => {
      await defer(knex, add(2));
      await runStatement(await writer(knex), add(1));
    });
    assert.deepEqual(await ids(), [1, 2]);
    assert.equal(await transactions(), 1);
  });

  it("are dropped with the unit", async () => {
    await runInUnitOfWork(
      knex,
      () => defer(knex, add(1)),
      () => false,
    );
    await assert.rejects(
      runInUnitOfWork(knex, async () => {
        await defer(knex, add(1));
        throw new Error("no");
      }),
    );
    assert.deepEqual(await ids(), []);
  });

  it("fail the unit that has written otherwise, and undo it", async () => {
    await unit(1);
    const failing = runInUnitOfWork(knex, async () => {
      await runStatement(await writer(knex), add(2));
      await defer(knex, add(1));
    });
    await assert.rejects(failing, /duplicate key/);
    assert.deepEqual(await ids(), [1]);
  });

  it("of units that end together share transactions", async () => {
    await Promise.all(Array.from({ length: 40 }, (_, id) => unit(id)));
    assert.equal((await ids()).length, 40);
    assert.ok((await transactions()) <= 3);
  });

  it("fail alone: what others wrote in the same group is kept", async () => {
    await unit(7);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, (_, id) =>
        runInUnitOfWork(knex, async () => {
          await defer(knex, add(id));
          await defer(knex, add(id + 100));
        }),
      ),
    );
    const failed = outcomes.flatMap(({ status }, id) => (status === "rejected" ? [id] : []));
    assert.deepEqual(failed, [7]);
    assert.ok(!(await ids()).includes(107), "all of a unit is kept, or nothing");
    assert.equal((await ids()).length, 23);
  });

  it("fail where they cannot be sent, before anything is", async () => {
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;
    for (const value of [undefined, circular, { n: 1n }]) {
      const failing = runInUnitOfWork(knex, async () => {
        await runStatement(await writer(knex), add(1));
        await defer(knex, { ...add(2), bindings: { id: value } });
      });
      await assert.rejects(failing, TypeError);
    }
    assert.deepEqual(await ids(), []);
  });

  it("leave the connection in order where one cannot be sent", async () => {
    const one = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    const put = (value: unknown): Promise<void> =>
      runInUnitOfWork(one, () => defer(one, { ...add(0), bindings: { id: value } }));
    try {
      await assert.rejects(put({ n: 1n }), TypeError);
      await put(1);
      await assert.rejects(put({ n: 1n }), TypeError);
      await put(2);
    } finally {
      await one.destroy();
    }
    assert.deepEqual(await ids(), [1, 2]);
  });

  it("are what they were when they were deferred", async () => {
    const bindings = { id: 1 };
    await runInUnitOfWork(knex, async () => {
      await defer(knex, { ...add(1), bindings });
      bindings.id = 2;
    });
    assert.deepEqual(await ids(), [1]);
  });

  it("fail where the connection breaks, and the next ones work", async () => {
    const sleep: Statement = { sql: "SELECT pg_sleep(5) WHERE :now <> ''", bindings: { now: "x" } };
    const broken = Promise.allSettled([
      runInUnitOfWork(knex, () => defer(knex, add(1))),
      ...[2, 3].map((id) =>
        runInUnitOfWork(knex, async () => {
          await defer(knex, add(id));
          await defer(knex, sleep);
        }),
      ),
    ]);
    for (let killed = 0; killed === 0;) {
      const { rows } = await other.raw(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'",
      );
      killed = rows.length;
    }
    const outcomes = await broken;
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "rejected"],
    );
    await unit(4);
    assert.deepEqual(await ids(), [1, 4]);
  });

  describe("behind a proxy that pools transactions", () => {
    let proxied: Knex;
    let close: () => void;
    before(async () => {
      const proxy = await aProxy(database.url);
      ({ close } = proxy);
      proxied = connect({ url: proxy.url, applicationName: "lintel test", poolMax: 3 });
    });
    after(async () => {
      await proxied?.destroy();
      close?.();
    });

    it("work, and nothing is prepared", async () => {
      await Promise.all(
        Array.from({ length: 20 }, (_, id) =>
          runInUnitOfWork(proxied, async () => {
            await defer(proxied, add(id));
            if (id % 3 === 0) await runStatement(await writer(proxied), add(id + 100));
          }),
        ),
      );
      assert.equal((await ids()).length, 27);
      const { rows } = await proxied.raw("SELECT count(*)::int AS n FROM pg_prepared_statements");
      assert.equal(rows[0].n, 0);
    });

    it("undo all of a unit when one fails", async () => {
      await unit(1);
      const failing = runInUnitOfWork(proxied, async () => {
        await runStatement(await writer(proxied), add(2));
        await defer(proxied, add(1));
      });
      await assert.rejects(failing, /duplicate key/);
      await runInUnitOfWork(proxied, () => defer(proxied, add(3)));
      assert.deepEqual(await ids(), [1, 3]);
    });
  });

  it("are prepared once a connection where there is no proxy", async () => {
    const one = connect({ url: database.url, applicationName: "lintel test", poolMax: 1 });
    try {
      for (const id of [1, 2, 3]) await runInUnitOfWork(one, () => defer(one, add(id)));
      const { rows } = await one.raw("SELECT statement FROM pg_prepared_statements");
      assert.equal(rows.length, 1);
    } finally {
      await one.destroy();
    }
  });
});

/** Passes everything on but the process number of the server, instead of which it tells its own, as pgbouncer does. */
async function aProxy(database: string): Promise<{ url: string; close: () => void }> {
  const url = new URL(database);
  const directory = decodeURIComponent(url.hostname);
  const server = createServer((client) => {
    const upstream = directory.startsWith("/")
      ? connectTo(`${directory}/.s.PGSQL.${url.port || "5432"}`)
      : connectTo(Number(url.port || 5432), url.hostname);
    let isKnown = false;
    upstream.on("data", (data: Buffer) => {
      // BackendKeyData: the byte K, a length of 12, the process number, a secret.
      const at = isKnown ? -1 : data.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]));
      if (at >= 0) data.writeInt32BE(1, at + 5);
      isKnown ||= at >= 0;
      client.write(data);
    });
    client.on("data", (data: Buffer) => upstream.write(data));
    for (const [socket, peer] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      socket.on("close", () => peer.destroy()).on("error", () => peer.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const login = url.password === "" ? url.username : `${url.username}:${url.password}`;
  return {
    url: `postgresql://${login}@127.0.0.1:${port}${url.pathname}?sslmode=disable`,
    close: () => server.close(),
  };
}
