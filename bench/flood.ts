import { setTimeout as delay } from "node:timers/promises";
import type { Options } from "./options.ts";
import { aboutOf, machineOf, markdown } from "./report.ts";
import { startLintel } from "./servers/lintel.ts";
import { atEnd, embeddedServer, loadProcess, say } from "./stage.ts";
import { median, percentile, rounded } from "./statistics.ts";
import type { FlowName } from "./load/flows.ts";
import type { Round } from "./load/main.ts";
import { EDWARDS_PATH } from "./world.ts";

/** Seconds until everybody of a flood waits, and how much longer than the flow it goes on. */
const LEAD = 1.5;
/** What clients ask, unless the command line says otherwise. */
const TOKENS = new Set<FlowName>([
  "client_credentials_jwt",
  "client_credentials_opaque",
  "refresh",
  "introspection",
]);

/** One flow, with nothing beside and with a flood of passwords. */
interface Beside {
  readonly quiet_p50_ms: number | undefined;
  readonly quiet_p99_ms: number | undefined;
  readonly p50_ms: number | undefined;
  readonly p99_ms: number | undefined;
  /** Of every round, the 99th percentile with the flood by that without. */
  readonly p99_ratio: number | undefined;
  readonly quiet_per_second: number | undefined;
  readonly per_second: number | undefined;
  /** Passwords that were checked meanwhile. */
  readonly passwords_per_second: number | undefined;
}

/** Measures flows with and without so many people beside who send passwords, in rounds that take turns. */
export async function beside(options: Options, people: number): Promise<string> {
  const { concurrency, profile, processes, flows, seconds } = options;
  const load = loadProcess();
  const crowd = loadProcess();
  const url = await embeddedServer();
  const [workers] = processes;
  const lintel = await startLintel(url, { people: concurrency, profile, workers });
  atEnd(() => lintel.stop());
  const site = {
    name: "lintel",
    origin: lintel.origin,
    edwards: EDWARDS_PATH,
    people: lintel.people,
  };
  await load.meet(site, concurrency);
  await crowd.meet(site, people);
  await crowd.prepare(site, "flood", people, 0);
  await crowd.run(1);

  const measured: Record<string, Beside> = {};
  for (const flow of flows.filter((name) => flows.length < 5 || TOKENS.has(name))) {
    say(`${flow} …`);
    const quiet: Round[] = [];
    const flooded: Round[] = [];
    const passwords: number[] = [];
    for (let round = 0; round <= options.rounds; round += 1) {
      await load.prepare(site, flow, concurrency, Math.ceil(2000 * seconds));
      const alone = await load.run(seconds);
      await load.prepare(site, flow, concurrency, Math.ceil(2000 * seconds));
      const rush = crowd.run(seconds + 2 * LEAD);
      await delay(LEAD * 1000);
      const together = await load.run(seconds);
      const { operations, seconds: took } = await rush;
      // The first is to compile code and fill caches.
      if (round === 0) continue;
      quiet.push(alone);
      flooded.push(together);
      passwords.push(operations / took);
    }
    measured[flow] = compared(quiet, flooded, passwords);
  }
  const machine = { ...machineOf(options), people, workers: workers ?? 0 };
  return options.json
    ? `${JSON.stringify({ machine, flows: measured })}\n`
    : tableOf(machine, measured);
}

function compared(quiet: Round[], flooded: Round[], passwords: readonly number[]): Beside {
  const at = (rounds: readonly Round[], share: number) =>
    rounds.map(({ latencies }) => percentile(latencies, share));
  const rate = (rounds: readonly Round[]) =>
    rounded(median(rounds.map(({ operations, seconds }) => operations / seconds)));
  const before = at(quiet, 0.99);
  const ratios = at(flooded, 0.99).map((p99, round) => p99 / (before[round] ?? Number.NaN));
  return {
    quiet_p50_ms: rounded(median(at(quiet, 0.5)), 2),
    quiet_p99_ms: rounded(median(before), 2),
    p50_ms: rounded(median(at(flooded, 0.5)), 2),
    p99_ms: rounded(median(at(flooded, 0.99)), 2),
    p99_ratio: rounded(median(ratios), 2),
    quiet_per_second: rate(quiet),
    per_second: rate(flooded),
    passwords_per_second: rounded(median(passwords)),
  };
}

function tableOf(
  machine: Record<string, unknown>,
  measured: Readonly<Record<string, Beside>>,
): string {
  const columns = ["flow", "p50 ms", "p99 ms", "p50 beside", "p99 beside", "p99 ratio"];
  const rates = ["per s", "per s beside", "passwords/s"];
  const rows = Object.entries(measured).map(([name, one]): unknown[] =>
    Object.values({ name, ...one }),
  );
  return `${aboutOf(machine)}\n\n${markdown([...columns, ...rates], rows)}`;
}
