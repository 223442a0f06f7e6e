import cluster, { type Worker } from "node:cluster";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "./config.ts";
import { drain, listenOn } from "./http/listen.ts";
import type { Logger } from "./lib/log.ts";
import { workersMetrics } from "./metrics/metrics.ts";

/*
 * One server as several processes that share its ports (Node's cluster). This one serves nobody: it starts workers,
 * replaces those that end, adds up their metrics, and restarts them one after another at SIGHUP.
 */

/** Tells a worker which one it is; the first also does what must be done once: jobs, the demo, the greeting. */
const NUMBER = "LINTEL_WORKER";
/** And how many there are, by which it shares the cores. */
const COUNT = "LINTEL_WORKERS";
const READY = "ready";
/** Milliseconds before a worker that ended by itself is replaced, so that one that cannot start is no loop. */
const PAUSE = 1000;

/** Which of how many workers a process is; undefined where it is none. */
export function workerOf(
  environment: NodeJS.ProcessEnv,
): { isFirst: boolean; workers: number } | undefined {
  if (!cluster.isWorker) return undefined;
  return { isFirst: environment[NUMBER] === "1", workers: Number(environment[COUNT]) };
}

/** Tells the process that started this worker that it serves. */
export function sayThatItServes(): void {
  process.send?.(READY);
}

/** What runs of the server, seen from the process that holds it together. */
export interface Workers {
  /** Has every worker finish what is in progress and end. */
  stop(): Promise<void>;
}

/**
 * Starts the workers, the first one alone, because it may have to make the database first.
 *
 * @returns undefined where the first does not come up; it has said why.
 */
export async function startWorkers(
  count: number,
  { metricsPort, metricsHost }: Pick<Config, "metricsPort" | "metricsHost">,
  log: Logger,
): Promise<Workers | undefined> {
  const team = new Team(count, log);
  if (!(await team.start())) return undefined;
  const metrics =
    metricsPort === undefined
      ? undefined
      : await listenOn(workersMetrics(), metricsPort, metricsHost);
  const restart = (): void => void team.restart();
  process.on("SIGHUP", restart);
  return {
    async stop() {
      process.off("SIGHUP", restart);
      await Promise.all([team.stop(), metrics && drain(metrics)]);
    },
  };
}

class Team {
  readonly #count: number;
  readonly #log: Logger;
  readonly #members = new Map<number, Worker>();
  #isStopping = false;
  #restarting: Promise<void> = Promise.resolve();

  constructor(count: number, log: Logger) {
    this.#count = count;
    this.#log = log;
  }

  /** @returns whether the first one serves; the others follow. */
  async start(): Promise<boolean> {
    if (!(await this.#bringUp(1))) return false;
    const others = Array.from({ length: this.#count - 1 }, (_, index) => index + 2);
    await Promise.all(others.map((number) => this.#keepUp(number)));
    return true;
  }

  /** Replaces each worker by a new one, which serves before the old one ends; one after another. */
  restart(): Promise<void> {
    this.#restarting = this.#restarting.then(async () => {
      for (let number = 1; number <= this.#count; number += 1) {
        if (this.#isStopping) return;
        if (await this.#bringUp(number)) continue;
        this.#log.error({ worker: number }, "the new worker did not start; the old one stays");
        return;
      }
      this.#log.info("every worker was restarted");
    });
    return this.#restarting;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
    await Promise.all(workers.map(end));
  }

  /** @returns whether a new worker serves; if so the one before it has ended. */
  async #bringUp(number: number): Promise<boolean> {
    const worker = cluster.fork({ [NUMBER]: String(number), [COUNT]: String(this.#count) });
    if (!(await serves(worker))) return false;
    const before = this.#members.get(number);
    this.#members.set(number, worker);
    this.#log.info({ worker: number, pid: worker.process.pid }, "worker serves");
    worker.once("exit", (code, signal) => {
      if (this.#isStopping || this.#members.get(number) !== worker) return;
      this.#members.delete(number);
      this.#log.error({ worker: number, code, signal }, "worker ended and is replaced");
      void this.#keepUp(number);
    });
    if (before !== undefined) await end(before);
    return true;
  }

  async #keepUp(number: number): Promise<void> {
    while (!this.#isStopping && !this.#members.has(number)) {
      if (await this.#bringUp(number)) return;
      await delay(PAUSE);
    }
  }
}

async function serves(worker: Worker): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  worker.on("message", (message) => {
    if (message === READY) resolve(true);
  });
  worker.once("exit", () => resolve(false));
  return promise;
}

async function end(worker: Worker): Promise<void> {
  if (worker.isDead()) return;
  const gone = once(worker, "exit");
  worker.process.kill("SIGTERM");
  await gone;
}
