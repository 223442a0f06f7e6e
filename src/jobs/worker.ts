import { EventEmitter } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import {
  Logger as WorkerLogger,
  parseCronItems,
  run,
  runMigrations,
  type CronItem,
  type Runner,
  type RunnerOptions,
  type WorkerEvents,
} from "graphile-worker";
import { Pool } from "pg";
import type { Logger } from "../lib/log.ts";
import type { Task } from "./tasks.ts";

const SCHEMA = "graphile_worker";
const POOL_MAX = 3;
const POLL_MS = 2_000;
const RESTART_MS = 2_000;
/** What a runner gets to finish its jobs after it failed to note the end of one. */
const FAILED_RUNNER_MS = 5_000;

/** How jobs run in this process. */
export interface WorkerOptions {
  /** The database, without a transaction-pooling proxy where there is a choice. */
  readonly url: string;
  /** `url` leads through such a proxy: no prepared statements, and jobs start when polled for, within two seconds. */
  readonly pooled?: boolean;
  readonly tasks: Readonly<Record<string, Task>>;
  /** What recurs; without it this process only runs jobs that others add. */
  readonly schedule?: readonly CronItem[];
  /** Jobs at the same time. */
  readonly concurrency?: number;
  readonly log: Logger;
}

/** A running worker. */
export interface Worker {
  /** Takes no more jobs and resolves when the running ones are done, or gave up after their signal. */
  stop(): Promise<void>;
}

/**
 * Runs jobs until stopped, over at most three connections of its own. A worker that ends by itself, because the
 * database went away in the wrong moment, is replaced. A job may therefore run twice, and must bear it. Signals are
 * the caller's business.
 *
 * @throws when the first start fails.
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { log } = options;
  const stopping = new AbortController();
  const pool = openPool(options.url, log);
  const events: WorkerEvents = new EventEmitter();
  let lockedBy: string | undefined;
  // graphile-worker counts a failed batch twice when two fail together, and then never ends by itself: a runner that
  // reports one is waited for a moment, and left behind.
  let failed = Promise.withResolvers<void>();
  events.on("pool:create", ({ workerPool }) => {
    lockedBy = workerPool.id;
    failed = Promise.withResolvers<void>();
  });
  events.on("pool:fatalError", () => failed.resolve());
  const runnerOptions: RunnerOptions = {
    events,
    pgPool: pool,
    schema: SCHEMA,
    taskList: options.tasks,
    parsedCronItems: parseCronItems([...(options.schedule ?? [])]),
    concurrency: options.concurrency ?? 2,
    pollInterval: POLL_MS,
    noPreparedStatements: options.pooled === true,
    noHandleSignals: true,
    logger: workerLogger(log),
    // Without batches nobody waits for a job to be marked as done: a stop would lose that, and a broken connection
    // would end the process. In batches it is retried, and waited for.
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  };

  let runner: Runner;
  try {
    runner = await run(runnerOptions);
  } catch (error) {
    await pool.end();
    throw error;
  }
  const supervised = supervise();

  return {
    async stop() {
      if (!stopping.signal.aborted) {
        stopping.abort();
        // A runner that is already on its way down refuses to be stopped.
        await Promise.race([runner.stop().catch(() => {}), leftBehind()]);
      }
      await supervised;
    },
  };

  async function supervise(): Promise<void> {
    while (!stopping.signal.aborted) {
      await Promise.race([
        runner.promise.catch((error: unknown) => log.error({ err: error }, "job worker failed")),
        leftBehind(),
      ]);
      if (stopping.signal.aborted) break;
      log.warn("job worker ended, starting another");
      // Of one that was left behind, this ends the schedule.
      void runner.stop().catch(() => {});
      await restart();
    }
    await pool.end();
  }

  async function leftBehind(): Promise<void> {
    await failed.promise;
    await delay(FAILED_RUNNER_MS, undefined, { ref: false });
  }

  async function restart(): Promise<void> {
    while (!stopping.signal.aborted) {
      await delay(RESTART_MS, undefined, { signal: stopping.signal }).catch(() => {});
      try {
        // Jobs that the old worker could not mark as done would stay locked for four hours; they run again instead.
        await pool.query(`SELECT ${SCHEMA}.force_unlock_workers($1::text[])`, [[lockedBy]]);
        // graphile-worker remembers options objects, and releases what it remembers.
        runner = await run({ ...runnerOptions });
        if (stopping.signal.aborted) await runner.stop();
        return;
      } catch (error) {
        log.error({ err: error }, "job worker not started");
      }
    }
  }
}

/** Brings graphile-worker's tables up to date. Nodes that start together do it once. */
export async function migrateJobs(url: string, log: Logger): Promise<void> {
  const pool = openPool(url, log);
  try {
    await runMigrations({ pgPool: pool, schema: SCHEMA, logger: workerLogger(log) });
  } finally {
    await pool.end();
  }
}

function openPool(url: string, log: Logger): Pool {
  const pool = new Pool({
    connectionString: url,
    application_name: "lintel jobs",
    max: POOL_MAX,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  });
  // A connection that breaks is replaced by the pool or reported by its query; unheard, the event would end the process.
  const ignore = ({ message }: Error) => log.debug({ detail: message }, "job connection lost");
  pool.on("error", ignore);
  pool.on("connect", (client) => client.on("error", ignore));
  return pool;
}

/** graphile-worker's log in ours. What it says of single jobs is detail; failures and warnings keep their level. */
function workerLogger(log: Logger): WorkerLogger {
  return new WorkerLogger((scope) => (level, message) => {
    const entry = { job: scope.jobId, task: scope.taskIdentifier, detail: message };
    if (level === "error") log.error(entry, "job worker");
    else if (level === "warning") log.warn(entry, "job worker");
    else log.debug(entry, "job worker");
  });
}
