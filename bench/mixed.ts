import { once } from "node:events";
import type { ChildProcess } from "node:child_process";
import type { Options } from "./options.ts";
import { aboutOf, machineOf, markdown } from "./report.ts";
import { startLintel } from "./servers/lintel.ts";
import { atEnd, embeddedServer, loadProcess, say } from "./stage.ts";
import { percentile, rounded } from "./statistics.ts";
import { usageOf } from "./processes.ts";
import { EDWARDS_PATH } from "./world.ts";

/** How many times memory is read, unless that were more often than every second. */
const READINGS = 30;
const MEGABYTE = 2 ** 20;

interface Reading {
  readonly minute: number | undefined;
  readonly per_second: number | undefined;
  readonly p99_ms: number | undefined;
  /** Of Lintel, per operation. */
  readonly node_cpu_us: number | undefined;
  /** Resident, of the one process of Lintel; left out where there is no /proc. */
  readonly memory_mb: number | undefined;
  /** What V8 has taken for objects, and what of it they use. */
  readonly heap_mb: number | undefined;
  readonly heap_used_mb: number | undefined;
}

/** Runs everything at once for so many minutes, and says what memory did meanwhile. */
export async function mixedLoad(options: Options, minutes: number): Promise<string> {
  const load = loadProcess();
  const url = await embeddedServer();
  const { concurrency, profile } = options;
  const lintel = await startLintel(url, { people: concurrency, profile });
  atEnd(() => lintel.stop());
  const { origin, people, child } = lintel;
  await load.meet({ name: "mixed", origin, edwards: EDWARDS_PATH, people }, concurrency);
  const slice = Math.max(1, (minutes * 60) / READINGS);
  const { reading: idle, cpu } = await read(child, 0);
  const readings = [idle];
  await load.prepare({ name: "mixed" }, "mixed", concurrency, 0);
  const startedAt = performance.now();
  let spent = cpu;
  for (let at = 0; at < minutes; at = (performance.now() - startedAt) / 60_000) {
    const { operations, seconds, latencies } = await load.run(slice);
    const now = await read(child, (performance.now() - startedAt) / 60_000);
    readings.push({
      ...now.reading,
      per_second: rounded(operations / seconds),
      p99_ms: rounded(percentile(latencies, 0.99), 2),
      node_cpu_us: rounded((now.cpu - spent) / operations),
    });
    spent = now.cpu;
    say(JSON.stringify(readings.at(-1)));
  }
  const machine = { ...machineOf(options), start_ms: rounded(lintel.startedIn) };
  return options.json ? `${JSON.stringify({ machine, readings })}\n` : tableOf(machine, readings);
}

async function read(
  child: ChildProcess,
  minute: number,
): Promise<{ reading: Reading; cpu: number }> {
  const answered = once(child, "message") as Promise<[NodeJS.MemoryUsage]>;
  child.send("memory");
  const [{ heapTotal, heapUsed }] = await answered;
  const usage = child.pid === undefined ? undefined : usageOf(child.pid);
  const reading = {
    minute: rounded(minute, 2),
    per_second: undefined,
    p99_ms: undefined,
    node_cpu_us: undefined,
    memory_mb: rounded(usage && usage.memory / MEGABYTE),
    heap_mb: rounded(heapTotal / MEGABYTE),
    heap_used_mb: rounded(heapUsed / MEGABYTE),
  };
  return { reading, cpu: usage?.cpu ?? Number.NaN };
}

function tableOf(machine: Record<string, unknown>, readings: readonly Reading[]): string {
  const columns = ["minute", "per s", "p99 ms", "Node µs", "MB", "heap MB", "used MB"];
  const rows = readings.map((one) => Object.values(one).map((value) => value ?? "–"));
  return `${aboutOf(machine)}\n\n${markdown(columns, rows)}`;
}
