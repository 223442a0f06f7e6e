import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { schedule } from "../../src/jobs/schedule.ts";
import { createTasks, type Task } from "../../src/jobs/tasks.ts";
import {
  migrateJobs,
  startWorker,
  type Worker,
  type WorkerOptions,
} from "../../src/jobs/worker.ts";
import { openSeal } from "../../src/keys/seal.ts";
import { createLogger } from "../../src/lib/log.ts";
import { parseSender } from "../../src/mail/compose.ts";
import * as messages from "../../src/mail/messages.ts";
import { sendMail } from "../../src/mail/outbox.ts";
import { smtpTransport } from "../../src/mail/transport.ts";
import { startSmtpSink } from "../mail/smtp-sink.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const quiet = createLogger({ level: "silent" });

/** Waits for what a worker does on its own time. */
async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, "it did not happen within 15 s");
    await delay(20);
  }
}

describe("job worker", function () {
  this.timeout(30_000);
  let database: TestDatabase;
  let workers: Worker[];
  let closers: (() => unknown)[];

  beforeEach(async () => {
    database = await testDatabase();
    await migrateJobs(database.url, quiet);
    workers = [];
    closers = [];
  });

  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.stop()));
    for (const close of closers) await close();
    await database.drop();
  });

  async function start(tasks: Record<string, Task>, options: Partial<WorkerOptions> = {}) {
    const worker = await startWorker({ url: database.url, log: quiet, tasks, ...options });
    workers.push(worker);
    return worker;
  }

  const rows = async <Row>(sql: string): Promise<Row[]> =>
    (await database.knex.raw<{ rows: Row[] }>(sql)).rows;

  const addJob = (task: string, spec = "") =>
    rows(`SELECT graphile_worker.add_job('${task}', '{"n":1}'${spec})`);

  async function realTasks(onPurged?: (table: string, rows: number) => void) {
    const seal = await openSeal(database.knex, { encryptionKey: randomBytes(32) });
    const sink = await startSmtpSink();
    const transport = smtpTransport(sink.url);
    closers.push(
      () => transport.close(),
      () => sink.stop(),
    );
    let rotations = 0;
    const tasks = createTasks({
      knex: database.knex,
      log: quiet,
      mail: {
        seal,
        transport,
        log: quiet,
        from: parseSender("Lintel <no-reply@idp.example>"),
        renderMail: (template) => ({ subject: template, text: template, html: template }),
      },
      deliverLogout: async () => {},
      deliverPing: async () => {},
      writeLetter: async () => {},
      refreshMetadata: async () => {},
      rotateKeys: async () => {
        rotations += 1;
      },
      ...(onPurged === undefined ? {} : { onPurged }),
    });
    return { seal, sink, tasks, rotations: () => rotations };
  }

  it("sets its tables up once, however many nodes start together", async () => {
    await rows("DROP SCHEMA graphile_worker CASCADE");
    await Promise.all(Array.from({ length: 4 }, () => migrateJobs(database.url, quiet)));
    await migrateJobs(database.url, quiet);
    await addJob("anything");
  });

  it("runs a job once among several workers, and soon @alone", async () => {
    let runs = 0;
    const count: Task = async (payload) => {
      assert.deepEqual(payload, { n: 1 });
      runs += 1;
    };
    await start({ count });
    await start({ count });
    await delay(200);
    const added = performance.now();
    await addJob("count");
    await eventually(() => runs > 0);
    assert.ok(performance.now() - added < 1_500, "it was told and did not have to poll");
    await delay(100);
    assert.equal(runs, 1);
  });

  it("runs a job only if the transaction that added it was committed", async () => {
    const ran: unknown[] = [];
    await start({ note: async (payload) => void ran.push(payload) });
    await database.knex
      .transaction(async (trx) => {
        await trx.raw(`SELECT graphile_worker.add_job('note', '"no"')`);
        throw new Error("rolled back");
      })
      .catch(() => {});
    await database.knex.transaction((trx) =>
      trx.raw(`SELECT graphile_worker.add_job('note', '"yes"')`),
    );
    await eventually(() => ran.length > 0);
    assert.deepEqual(ran, ["yes"]);
  });

  it("tries a failed job again later", async () => {
    let runs = 0;
    await start({
      async flaky() {
        runs += 1;
        if (runs === 1) throw new Error("not yet");
      },
    });
    await addJob("flaky");
    await eventually(() => runs === 2);
    await eventually(async () => (await rows("SELECT FROM graphile_worker.jobs")).length === 0);
  });

  it("opens at most three connections", async () => {
    await start({ slow: () => delay(300) }, { concurrency: 2 });
    for (let n = 0; n < 6; n += 1) await addJob("slow");
    await delay(200);
    const open = await rows(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lintel jobs'`,
    );
    assert.ok(open.length > 0 && open.length <= 3, String(open.length));
  });

  it("finishes running jobs before it stops, and leaves no connection behind", async () => {
    let finished = false;
    const worker = await start({
      async slow() {
        await delay(400);
        finished = true;
      },
    });
    await addJob("slow");
    await eventually(
      async () =>
        (await rows("SELECT FROM graphile_worker.jobs WHERE locked_at IS NOT NULL")).length > 0,
    );
    await worker.stop();
    assert.ok(finished);
    await worker.stop();
    // The server notices a moment later than the client.
    await eventually(async () => {
      const open = await rows(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lintel jobs'`,
      );
      return open.length === 0;
    });
    assert.deepEqual(await rows("SELECT FROM graphile_worker.jobs"), []);
  });

  it("survives the loss of all its connections", async () => {
    // A set: a job whose end could not be noted runs again.
    const ran = new Set<unknown>();
    await start({ note: async (payload) => void ran.add(payload) });
    await delay(200);
    for (let round = 1; round <= 3; round += 1) {
      await rows(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'lintel jobs'`);
      await rows(`SELECT graphile_worker.add_job('note', '${round}')`);
      await eventually(() => ran.has(round));
    }
  });

  it("survives the loss of its connections while it notes that a job is done", async () => {
    let cuts = 0;
    await start({
      async cut() {
        cuts += 1;
        if (cuts > 3) return;
        await rows(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'lintel jobs'`);
      },
    });
    await addJob("cut");
    await addJob("cut");
    await eventually(async () => (await rows("SELECT FROM graphile_worker.jobs")).length === 0);
    assert.ok(cuts >= 2);
  });

  it("needs no prepared statements behind a pooler (R-20)", async () => {
    let prepared: unknown[] = ["not asked"];
    await start(
      {
        async look(_payload, helpers) {
          prepared = (await helpers.query("SELECT name FROM pg_prepared_statements")).rows;
        },
      },
      { pooled: true, concurrency: 1 },
    );
    for (let n = 0; n < 3; n += 1) await addJob("look");
    await eventually(async () => (await rows("SELECT FROM graphile_worker.jobs")).length === 0);
    assert.deepEqual(prepared, []);
  });

  it("logs through ours, and says nothing of a payload (T-118)", async () => {
    const lines: string[] = [];
    const log = createLogger({
      level: "trace",
      destination: { write: (line: string) => void lines.push(line) },
    });
    await start({ fail: () => Promise.reject(new Error("on purpose")) }, { log });
    await rows(`SELECT graphile_worker.add_job('fail', '{"canary":"canary"}', max_attempts => 1)`);
    await eventually(() => lines.some((line) => line.includes("on purpose")));
    assert.ok(lines.every((line) => typeof JSON.parse(line) === "object"));
    assert.ok(!lines.join("").includes("canary"));
  });

  it("knows a task for everything that recurs", async () => {
    const names = schedule().map(({ task }) => task);
    assert.deepEqual(names, ["purge", "ensure_partitions", "rotate_keys", "refresh_metadata"]);
  });

  describe("with the real tasks", () => {
    it("delivers mail while the server is away and back (R-14)", async () => {
      const { seal, sink, tasks } = await realTasks();
      sink.refuse = (line) => (line.startsWith("MAIL") ? "451 4.3.2 later" : undefined);
      await start(tasks);
      for (let n = 0; n < 5; n += 1) {
        await database.knex.transaction((trx) =>
          sendMail(
            trx,
            { seal },
            { mail: messages.test({ at: new Date() }), to: `u${n}@rp.example`, locale: "en" },
          ),
        );
      }
      const tried = `SELECT FROM outbox_messages WHERE attempts > 0 AND status =`;
      await eventually(async () => (await rows(`${tried} 'queued'`)).length === 5);
      sink.refuse = () => undefined;
      await eventually(async () => (await rows(`${tried} 'sent'`)).length === 5);
      const recipients = sink.received.flatMap((mail) => mail.recipients).sort();
      assert.deepEqual(
        recipients,
        [0, 1, 2, 3, 4].map((n) => `<u${n}@rp.example>`),
      );
    });

    it("purges until nothing expired is left, and keeps one job waiting at most", async () => {
      const purged = new Map<string, number>();
      const { tasks } = await realTasks((table, n) =>
        purged.set(table, (purged.get(table) ?? 0) + n),
      );
      await rows(`INSERT INTO replay_guards
        SELECT sha256(int4send(n)), '2020-01-01' FROM generate_series(1, 12000) n`);
      await start(tasks);
      await addJob("purge", `, job_key => 'purge'`);
      await eventually(async () => {
        assert.ok((await rows("SELECT FROM graphile_worker.jobs")).length <= 2);
        return (await rows("SELECT FROM replay_guards")).length === 0;
      });
      await eventually(async () => (await rows("SELECT FROM graphile_worker.jobs")).length === 0);
      assert.deepEqual([...purged], [["replay_guards", 12_000]]);
    });

    it("keeps partitions and keys fresh", async () => {
      const { tasks, rotations } = await realTasks();
      const [newest] = await rows<{ name: string }>(
        `SELECT max(inhrelid::regclass::text) AS name FROM pg_inherits WHERE inhparent = 'oidc_artifacts'::regclass`,
      );
      await rows(`DROP TABLE ${newest?.name}`);
      await start(tasks);
      await addJob("ensure_partitions");
      await addJob("rotate_keys");
      await eventually(async () => (await rows("SELECT FROM graphile_worker.jobs")).length === 0);
      const [found] = await rows<{ oid: string | null }>(
        `SELECT to_regclass('${newest?.name}') AS oid`,
      );
      assert.ok(found?.oid);
      assert.equal(rotations(), 1);
    });
  });
});
