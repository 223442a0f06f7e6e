import { availableParallelism } from "node:os";
import { errors } from "../errors.ts";

/** Keeps password hashing from taking the whole machine: few jobs run, some wait, the rest is told to come back. */
export interface HashQueue {
  /**
   * Runs a job when its turn comes.
   *
   * @throws AppError `busy` (503, Retry-After) at once where the queue is full or the wait would be too long.
   */
  run<T>(job: () => Promise<T>): Promise<T>;
  /** Throws what `run` would throw now. */
  assertRoom(): void;
  /** Most jobs that run at once. */
  readonly concurrency: number;
  /** Jobs that run now. */
  readonly running: number;
  /** Jobs that wait for their turn. */
  readonly waiting: number;
}

export interface HashQueueOptions {
  /** Most jobs that run at once. */
  readonly concurrency?: number;
  /** Most jobs that wait. */
  readonly maxWaiting?: number;
  /** Longest estimated wait, in milliseconds. */
  readonly maxWaitMs?: number;
}

/** libuv's pool has four threads unless the environment says otherwise; signatures need one of them. */
const POOL_SHARE = 3;

/** Weight of the newest job in the running average of how long one takes. */
const SMOOTHING = 0.2;

/**
 * A queue in front of libuv's thread pool. Hashes that waited inside the pool would hold up every signature and file
 * access behind them, and more hashes at once than cores are slower for everybody.
 */
export function createHashQueue({
  concurrency = Math.max(1, Math.min(availableParallelism() - 1, POOL_SHARE)),
  maxWaiting = 64,
  maxWaitMs = 2000,
}: HashQueueOptions = {}): HashQueue {
  const line: (() => void)[] = [];
  let running = 0;
  let averageMs = 0;

  function assertRoom(): void {
    if (running < concurrency) return;
    const waitMs = ((line.length + 1) / concurrency) * averageMs;
    if (line.length >= maxWaiting || waitMs > maxWaitMs)
      throw errors.busy(Math.max(1, Math.ceil(waitMs / 1000)));
  }

  async function run<T>(job: () => Promise<T>): Promise<T> {
    assertRoom();
    if (running < concurrency) running += 1;
    else await new Promise<void>((resolve) => line.push(resolve));
    const startedAt = performance.now();
    try {
      return await job();
    } finally {
      const tookMs = performance.now() - startedAt;
      averageMs = averageMs === 0 ? tookMs : averageMs + SMOOTHING * (tookMs - averageMs);
      const next = line.shift();
      // The place passes on to who waits longest; it is free only when nobody waits.
      if (next === undefined) running -= 1;
      else next();
    }
  }

  return Object.freeze({
    run,
    assertRoom,
    concurrency,
    get running() {
      return running;
    },
    get waiting() {
      return line.length;
    },
  });
}
