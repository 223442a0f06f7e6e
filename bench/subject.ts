import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Database } from "./database.ts";
import type { LoadProcess } from "./load-process.ts";
import type { FlowName } from "./load/flows.ts";
import { usageOf } from "./processes.ts";
import { percentile } from "./statistics.ts";
import type { Site } from "./world.ts";

/** One round of one flow at one server. Times are in microseconds but for latencies, which are in milliseconds. */
export interface Measurement {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Per operation; undefined where nobody can tell. */
  readonly nodeCpu: number | undefined;
  readonly postgresCpu: number | undefined;
  readonly statements: number | undefined;
  /** Bytes of write-ahead log per operation. */
  readonly wal: number | undefined;
  /** Blocks of 8 kB per operation that PostgreSQL had not in its own memory. */
  readonly blocks: number | undefined;
  /** Bytes of the server process after the round. */
  readonly memory: number | undefined;
  /** How much of one core the load generator used; near 1, it is what was measured. */
  readonly loadShare: number;
}

/** Before a server has been measured: how many operations a round may have, per second of it. */
const FIRST_GUESS = 400;
/** What is made for a round may be this much more than the last one used. */
const ROOM = 1.4;

/** What a Lintel has and the bare engine has not. */
interface Storage {
  readonly database: Database;
  /** Milliseconds from the start of its process to the first answer. */
  readonly startMs: number;
  /** Whether it counts its statements; several processes do not add them up. */
  readonly counts: boolean;
  /** Gives the purge something to do in a round. */
  readonly litter?: () => Promise<void>;
}

/** A server under measurement, with what is read of it before and after a round. */
export class Subject {
  readonly site: Site;
  readonly #child: ChildProcess;
  readonly #storage: Storage | undefined;
  readonly #lastRate = new Map<FlowName | "mixed", number>();

  constructor(site: Site, child: ChildProcess, storage?: Storage) {
    this.site = site;
    this.#child = child;
    this.#storage = storage;
  }

  /** What is to be known of a Lintel beside its rounds. */
  async about(): Promise<{ postgres: string | undefined; startMs: number | undefined }> {
    const postgres = await this.#storage?.database.version();
    return { postgres, startMs: this.#storage?.startMs };
  }

  async measure(
    load: LoadProcess,
    flow: FlowName | "mixed",
    { seconds, concurrency }: { seconds: number; concurrency: number },
  ): Promise<Measurement> {
    const rate = this.#lastRate.get(flow) ?? FIRST_GUESS;
    await load.prepare(this.site, flow, concurrency, Math.ceil(rate * seconds * ROOM));
    await this.#storage?.litter?.();
    const before = await this.#read();
    const round = await load.run(seconds);
    const after = await this.#read();
    const { operations } = round;
    const each = (name: "nodeCpu" | "postgresCpu" | "statements" | "wal" | "blocks") => {
      const [from, to] = [before[name], after[name]];
      return from === undefined || to === undefined ? undefined : (to - from) / operations;
    };
    const perSecond = operations / round.seconds;
    this.#lastRate.set(flow, perSecond);
    return {
      perSecond,
      p50: percentile(round.latencies, 0.5),
      p99: percentile(round.latencies, 0.99),
      nodeCpu: each("nodeCpu"),
      postgresCpu: each("postgresCpu"),
      statements: each("statements"),
      wal: each("wal"),
      blocks: each("blocks"),
      memory: after.memory,
      loadShare: round.cpu / 1e6 / round.seconds,
    };
  }

  async #read() {
    const usage = this.#child.pid === undefined ? undefined : usageOf(this.#child.pid);
    const database = await this.#storage?.database.read();
    return {
      nodeCpu: usage?.cpu,
      memory: usage?.memory,
      postgresCpu: database?.cpu,
      wal: database?.wal,
      blocks: database?.blocks,
      statements: this.#storage?.counts === true ? await this.#statements() : undefined,
    };
  }

  async #statements(): Promise<number> {
    const answered = once(this.#child, "message") as Promise<[number]>;
    this.#child.send("statements");
    return (await answered)[0];
  }
}
