import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { mock } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Client } from "pg";

import { startEmbeddedPostgres } from "../../src/database/embedded.ts";
import type { EmbeddedOptions, EmbeddedPostgres } from "../../src/database/embedded.ts";
import { AppError } from "../../src/errors.ts";
import { createLogger } from "../../src/lib/log.ts";
import { scratchDirectory } from "../support/scratch.ts";

const log = createLogger({ level: "silent" });

describe("the embedded PostgreSQL", function () {
  this.timeout(30_000);
  let dataDir: string;
  let running: EmbeddedPostgres[];

  beforeEach(async () => {
    dataDir = await mkdtemp(join(scratchDirectory(), "lintel-embedded-"));
    running = [];
  });

  afterEach(async () => {
    await Promise.all(running.map((postgres) => postgres.stop()));
    const left = await serverPid(dataDir);
    if (left !== undefined) await kill(left);
    await rm(dataDir, { recursive: true, force: true });
  });

  async function start(options?: Partial<EmbeddedOptions>): Promise<EmbeddedPostgres> {
    const postgres = await startEmbeddedPostgres({ dataDir, log, ...options });
    running.push(postgres);
    return postgres;
  }

  it("creates its data at the first start and finds it again at the second", async () => {
    const first = await start();
    assert.equal(first.firstStart, true);
    await query(first.url, "CREATE TABLE t AS SELECT 'kept' AS word");
    await first.stop();
    assert.equal(await serverPid(dataDir), undefined);

    const second = await start();
    assert.equal(second.firstStart, false);
    assert.deepEqual(await query(second.url, "SELECT word FROM t"), [{ word: "kept" }]);
  });

  it("stores UTF-8 in the C locale, with full durability and no TCP port", async () => {
    const { url } = await start();
    const rows = await query(
      url,
      `SELECT current_setting('server_encoding') AS encoding, datcollate AS collation,
              current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
              current_setting('full_page_writes') AS pages, current_setting('listen_addresses') AS tcp
         FROM pg_database WHERE datname = current_database()`,
    );
    const expected = {
      encoding: "UTF8",
      collation: "C",
      fsync: "on",
      commit: "on",
      pages: "on",
      tcp: "",
    };
    assert.deepEqual(rows, [expected]);
    const { mode } = await stat(join(dataDir, "postgres"));
    assert.equal(mode & 0o777, 0o700);
  });

  it("takes over the server that outlived a kill -9 of everything in its terminal, and stops it", async () => {
    const url = await holdAndKill(dataDir);
    const before = await serverPid(dataDir);
    assert.notEqual(before, undefined);

    const postgres = await start();
    assert.equal(postgres.url, url);
    assert.equal(postgres.firstStart, false);
    assert.equal(await serverPid(dataDir), before);
    assert.equal((await query(postgres.url, "SELECT 1 AS one")).length, 1);
    await postgres.stop();
    assert.equal(await serverPid(dataDir), undefined);
  });

  it("recovers when the server was killed too", async () => {
    await holdAndKill(dataDir);
    await kill((await serverPid(dataDir)) ?? 0);
    const { url } = await start();
    assert.equal((await query(url, "SELECT 1 AS one")).length, 1);
  });

  it("starts although the number in a stale postmaster.pid now belongs to another process", async () => {
    await holdAndKill(dataDir);
    await kill((await serverPid(dataDir)) ?? 0);
    const file = join(dataDir, "postgres", "postmaster.pid");
    const lock = join(dataDir, "postgres", ".s.PGSQL.5432.lock");
    for (const path of [file, lock]) {
      const lines = (await readFile(path, "utf8")).split("\n");
      await writeFile(path, [String(process.pid), ...lines.slice(1)].join("\n"));
    }
    const { url } = await start();
    assert.equal((await query(url, "SELECT 1 AS one")).length, 1);
  });

  it("is one server for two that start at once; the last to stop stops it", async () => {
    const [a, b] = await Promise.all([start(), start()]);
    assert.notEqual(a.firstStart, b.firstStart);
    assert.equal(a.url, b.url);
    await a.stop();
    assert.equal((await query(b.url, "SELECT 1 AS one")).length, 1);
    await b.stop();
    assert.equal(await serverPid(dataDir), undefined);
  });

  it("is not used by one that starts while another stops it: that one starts it anew", async () => {
    const first = await start();
    const before = await serverPid(dataDir);
    const stopping = Promise.withResolvers<() => void>();
    const send = process.kill.bind(process);
    const { mock: sending } = mock.method(process, "kill", (pid: number, signal: string | 0) => {
      if (signal !== "SIGINT") return send(pid, signal);
      stopping.resolve(() => send(pid, signal));
      return true;
    });
    try {
      const stopped = first.stop();
      const signal = await stopping.promise;
      const second = start();
      assert.equal(await Promise.race([second, delay(300, "waits")]), "waits");
      signal();
      await stopped;
      const { url } = await second;
      assert.notEqual(await serverPid(dataDir), before);
      assert.equal((await query(url, "SELECT 1 AS one")).length, 1);
    } finally {
      sending.restore();
    }
  });

  it("is started again under the same address when it goes away", async () => {
    const { url } = await start();
    const before = (await serverPid(dataDir)) ?? 0;
    await kill(before);
    await eventually(async () => {
      assert.equal((await query(url, "SELECT 1 AS one")).length, 1);
      assert.notEqual(await serverPid(dataDir), before);
    });
  });

  it("puts its socket elsewhere when the data directory is too long for one", async () => {
    const long = join(dataDir, "x".repeat(60), "y".repeat(60));
    await mkdir(long, { recursive: true });
    await chmod(join(dataDir), 0o711);
    const postgres = await start({ dataDir: long });
    assert.match(postgres.url, /lintel-[0-9a-f]{16}:5432/);
    assert.equal((await query(postgres.url, "SELECT 1 AS one")).length, 1);
    await postgres.stop();
  });

  it("asks for its password over TCP, the way of Windows", async () => {
    const { url } = await start({ transport: "tcp" });
    assert.match(url, /^postgresql:\/\/lintel:[0-9a-f]{64}@127\.0\.0\.1:\d+\/lintel/);
    assert.equal((await query(url, "SELECT 1 AS one")).length, 1);
    await assert.rejects(query(url.replace(/:[0-9a-f]{64}@/, ":wrong@"), "SELECT 1"), {
      code: "28P01",
    });
  });

  it("keeps statements and values out of its log", async () => {
    const { url } = await start();
    await query(url, "CREATE TABLE t (email text PRIMARY KEY)");
    await query(url, "INSERT INTO t VALUES ('ada@example.com')");
    await assert.rejects(query(url, "INSERT INTO t VALUES ('ada@example.com')"), { code: "23505" });
    const text = await readFile(join(dataDir, "postgres.log"), "utf8");
    assert.match(text, /duplicate key value/);
    assert.doesNotMatch(text, /ada@example\.com|INSERT/);
  });

  it("says that the data is of another PostgreSQL, and what to do", async () => {
    await (await start()).stop();
    await writeFile(join(dataDir, "postgres", "PG_VERSION"), "9\n");
    await assert.rejects(start(), (error) => {
      assert.ok(error instanceof AppError);
      assert.equal(error.code, "embedded_database");
      assert.match(error.message, /was written by PostgreSQL 9, and this is PostgreSQL 18/);
      return true;
    });
  });

  it("says what PostgreSQL says when it cannot start", async () => {
    await assert.rejects(start({ settings: { shared_buffers: "plenty" } }), (error) => {
      assert.ok(error instanceof AppError);
      assert.match(error.message, /invalid value for parameter "shared_buffers"/);
      assert.match(error.message, /set DATABASE_URL/);
      return true;
    });
  });

  it("says which directory is closed to the user it runs as under root", async function () {
    if (process.getuid?.() !== 0) this.skip();
    await assert.rejects(start({ dataDir: join(dataDir, "below") }), (error) => {
      assert.ok(error instanceof AppError);
      assert.ok(error.message.includes(`cannot enter ${dataDir}.`), error.message);
      return true;
    });
  });
});

/** Starts a process that uses the server, and kills its whole process group as soon as it does. */
async function holdAndKill(dataDir: string): Promise<string> {
  const script = fileURLToPath(new URL("hold-embedded.ts", import.meta.url));
  const child = spawn(process.execPath, [script, dataDir], {
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [output] = (await once(child.stdout, "data")) as [Buffer];
  process.kill(-(child.pid ?? 0), "SIGKILL");
  await once(child, "exit");
  return output.toString().trim();
}

/** The living server's process, if any. */
async function serverPid(dataDir: string): Promise<number | undefined> {
  const text = await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8").catch(() => "");
  const pid = Number(text.split("\n")[0]);
  return pid > 0 && pid !== process.pid && isAlive(pid) ? pid : undefined;
}

async function kill(pid: number): Promise<void> {
  assert.ok(pid > 1);
  process.kill(pid, "SIGKILL");
  await eventually(() => assert.equal(isAlive(pid), false));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function eventually(check: () => void | Promise<void>): Promise<void> {
  for (const deadline = Date.now() + 10_000; ; await delay(20)) {
    try {
      await check();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}
