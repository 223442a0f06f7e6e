import { Pool } from "undici";
import type { Site } from "../world.ts";
import { FLOWS, greet, mixed, placeAt, type FlowName, type Place } from "./flows.ts";
import { flood } from "./flood.ts";

/*
 * The load generator, a process of its own. It is told of a server and a flow, makes what the flow uses up, says that
 * it is ready, and at a word asks as fast as answers come, `slots` questions at a time.
 */

/** What it is told, one at a time. */
export type Order =
  | { readonly type: "meet"; readonly site: Site; readonly slots: number }
  | {
      readonly type: "prepare";
      readonly site: string;
      readonly flow: FlowName | "mixed" | "flood";
      readonly slots: number;
      readonly operations: number;
    }
  | { readonly type: "run"; readonly seconds: number };

/** What it answers: that it is ready, what came of a round, or what went wrong. */
export type Answer =
  | { readonly type: "ready" }
  | ({ readonly type: "ran" } & Round)
  | { readonly type: "failed"; readonly message: string };

/** What the load generator saw of one round. */
export interface Round {
  readonly operations: number;
  readonly seconds: number;
  /** Milliseconds of every operation. */
  readonly latencies: readonly number[];
  /** Of this process, in microseconds. */
  readonly cpu: number;
}

const places = new Map<string, Place>();
let ask: (slot: number) => Promise<unknown> = async () => false;
let slots = 1;

async function obey(order: Order): Promise<Answer> {
  if (order.type === "run") return { type: "ran", ...(await run(order.seconds)) };
  if (order.type === "meet") {
    await places.get(order.site.name)?.pool.close();
    const pool = new Pool(order.site.origin, { connections: order.slots, pipelining: 1 });
    const place = placeAt(order.site, pool);
    await greet(place);
    places.set(order.site.name, place);
    return { type: "ready" };
  }
  const place = places.get(order.site);
  if (place === undefined) throw new Error(`nobody has met ${order.site}`);
  ({ slots } = order);
  const flow = { ...FLOWS, mixed, flood }[order.flow];
  ask = await flow(place, slots, order.operations);
  return { type: "ready" };
}

async function run(seconds: number): Promise<Round> {
  const latencies: number[] = [];
  const before = process.cpuUsage();
  const startedAt = performance.now();
  const end = startedAt + seconds * 1000;
  let last = startedAt;
  const work = async (slot: number): Promise<void> => {
    for (let now = startedAt; now < end; now = last) {
      const asked = performance.now();
      if ((await ask(slot)) === false) return;
      last = performance.now();
      latencies.push(last - asked);
    }
  };
  await Promise.all(Array.from({ length: slots }, (_, slot) => work(slot)));
  const { user, system } = process.cpuUsage(before);
  return {
    operations: latencies.length,
    seconds: (last - startedAt) / 1000,
    latencies,
    cpu: user + system,
  };
}

process.on("message", async (order: Order) => {
  let answer: Answer;
  try {
    answer = await obey(order);
  } catch (error) {
    answer = {
      type: "failed",
      message: error instanceof Error ? (error.stack ?? "") : String(error),
    };
  }
  process.send?.(answer);
});
process.on("disconnect", () => process.exit());
