import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { AppError } from "../../src/errors.ts";

/** A job that runs until told to stop. */
function openJob(): { job: () => Promise<string>; finish: () => void } {
  const { promise, resolve } = Promise.withResolvers<string>();
  return { job: () => promise, finish: () => resolve("done") };
}

function isBusy(error: unknown): boolean {
  assert.ok(error instanceof AppError);
  assert.deepEqual([error.code, error.status], ["temporarily_unavailable", 503]);
  assert.ok((error.retryAfter ?? 0) >= 1);
  return true;
}

describe("the hash queue", () => {
  it("runs no more jobs at once than it may, in the order they came", async () => {
    const queue = createHashQueue({ concurrency: 2, maxWaiting: 20 });
    const order: number[] = [];
    let most = 0;
    await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        queue.run(async () => {
          order.push(index);
          most = Math.max(most, queue.running);
          await delay(2);
        }),
      ),
    );
    assert.equal(most, 2);
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual([queue.running, queue.waiting], [0, 0]);
  });

  it("answers 503 with Retry-After at once when it is full, and takes jobs again later (T-71)", async () => {
    const queue = createHashQueue({ concurrency: 1, maxWaiting: 1 });
    const [running, waiting] = [openJob(), openJob()];
    const results = [queue.run(running.job), queue.run(waiting.job)];
    assert.deepEqual([queue.running, queue.waiting], [1, 1]);
    await assert.rejects(queue.run(running.job), isBusy);
    assert.throws(() => queue.assertRoom(), isBusy);
    running.finish();
    waiting.finish();
    assert.deepEqual(await Promise.all(results), ["done", "done"]);
    queue.assertRoom();
    assert.equal(await queue.run(() => Promise.resolve(1)), 1);
  });

  it("turns away who would wait too long, judged by how long jobs take", async () => {
    const queue = createHashQueue({ concurrency: 1, maxWaiting: 1000, maxWaitMs: 50 });
    await queue.run(() => delay(40));
    const jobs = [openJob(), openJob()];
    const results = jobs.map(({ job }) => queue.run(job));
    assert.throws(() => queue.assertRoom(), { code: "temporarily_unavailable" });
    for (const { finish } of jobs) finish();
    await Promise.all(results);
  });

  it("passes a failure on and gives its place to the next", async () => {
    const queue = createHashQueue({ concurrency: 1 });
    const failing = queue.run(() => Promise.reject(new Error("no")));
    const next = queue.run(() => Promise.resolve("yes"));
    await assert.rejects(failing, /no/);
    assert.equal(await next, "yes");
    assert.equal(queue.running, 0);
  });
});
