import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startEmbeddedPostgres } from "../src/database/embedded.ts";
import { createLogger } from "../src/lib/log.ts";
import { Database, temporaryDatabase } from "./database.ts";
import { LoadProcess } from "./load-process.ts";
import type { FlowName } from "./load/flows.ts";
import { readOptions, type Options } from "./options.ts";
import { reportOf, tableOf, type Rounds } from "./report.ts";
import { startLintel } from "./servers/lintel.ts";
import { Subject, type Measurement } from "./subject.ts";
import { EDWARDS_PATH, type Person, type Site } from "./world.ts";

/*
 * `npm run bench`: starts everything on loopback, measures, says what came of it, and stops everything.
 */

/** Seconds of what is run once at each server before it counts: code is compiled, caches fill. */
const WARM_UP = 1;

const closers: (() => unknown)[] = [];

async function main(args: readonly string[]): Promise<void> {
  const options = readOptions(args);
  if (typeof options === "string") {
    process.stderr.write(options);
    process.exitCode = args.includes("--help") ? 0 : 2;
    return;
  }
  process.once("SIGINT", () => void closeAll().finally(() => process.exit(130)));
  try {
    await bench(options);
  } finally {
    await closeAll();
  }
}

async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).toReversed()) await close();
}

async function bench(options: Options): Promise<void> {
  const load = new LoadProcess();
  closers.push(() => load.stop());
  const server = await embeddedServer();
  const embedded = await lintelAt(server, "embedded", options);
  const subjects = [await bareEngine(embedded.site.people), embedded];
  const url = process.env["DATABASE_URL"];
  if (url !== undefined) subjects.push(await lintelOn(url, "database_url", options));
  for (const workers of options.processes)
    subjects.push(await lintelOn(server, `workers_${workers}`, options, workers));
  for (const { site } of subjects) await load.meet(site, options.concurrency);
  const ceiling = await ceilingOf(load, options);

  const rounds: Rounds = new Map();
  for (const flow of options.flows) {
    say(`${flow} …`);
    try {
      rounds.set(flow, await takeTurns(subjects, load, flow, options));
    } catch (error) {
      // The others still tell something.
      say(`${flow} failed: ${error instanceof Error ? error.stack : String(error)}`);
      process.exitCode = 1;
    }
  }
  const report = reportOf(rounds, { options, ceiling, embedded: await embedded.about() });
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : tableOf(report));
}

/** Measures one flow: in every round each server once, and the order turns so that nobody is always first. */
async function takeTurns(
  subjects: readonly Subject[],
  load: LoadProcess,
  flow: FlowName,
  options: Options,
): Promise<Map<string, Measurement[]>> {
  const measured = new Map<string, Measurement[]>();
  const warmUp = { ...options, seconds: Math.min(WARM_UP, options.seconds) };
  for (const subject of subjects) await subject.measure(load, flow, warmUp);
  for (let round = 0; round < options.rounds; round += 1) {
    const first = round % subjects.length;
    for (const subject of [...subjects.slice(first), ...subjects.slice(0, first)]) {
      const { name } = subject.site;
      const measurement = await subject.measure(load, flow, options);
      measured.set(name, [...(measured.get(name) ?? []), measurement]);
    }
  }
  return measured;
}

async function bareEngine(people: readonly Person[]): Promise<Subject> {
  const { child, port } = await forked("servers/bare.ts", people);
  return new Subject(siteAt("bare", port, people), child);
}

async function embeddedServer(): Promise<string> {
  const dataDir = mkdtempSync(join(tmpdir(), "lintel-bench-"));
  closers.push(() => rmSync(dataDir, { recursive: true, force: true }));
  const log = createLogger({ level: "warn" });
  const { url, stop } = await startEmbeddedPostgres({ dataDir, log });
  closers.push(stop);
  return url;
}

async function lintelOn(
  server: string,
  name: string,
  options: Options,
  workers?: number,
): Promise<Subject> {
  const { url, drop } = await temporaryDatabase(server, name);
  closers.push(drop);
  return lintelAt(url, name, options, workers);
}

async function lintelAt(
  url: string,
  name: string,
  { concurrency: people, profile }: Options,
  workers?: number,
): Promise<Subject> {
  const lintel = await startLintel(url, { people, profile, workers });
  closers.push(() => lintel.stop());
  const database = await Database.watch(url);
  closers.push(() => database.close());
  const site = { name, origin: lintel.origin, edwards: EDWARDS_PATH, people: lintel.people };
  return new Subject(site, lintel.child, {
    database,
    startMs: lintel.startedIn,
    counts: workers === undefined,
  });
}

/** How often the load generator can ask a server that does nothing: more than anything here answers. */
async function ceilingOf(load: LoadProcess, options: Options): Promise<Measurement> {
  const { child, port } = await forked("servers/trivial.ts", []);
  const subject = new Subject(siteAt("trivial", port, []), child);
  await load.meet(subject.site, options.concurrency);
  await subject.measure(load, "jwks", { ...options, seconds: Math.min(WARM_UP, options.seconds) });
  const measurement = await subject.measure(load, "jwks", options);
  child.disconnect();
  return measurement;
}

/** Starts one of our own servers, tells it something, and waits for its port. */
async function forked(file: string, told: object): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)));
  closers.push(() => child.connected && child.disconnect());
  child.send(told);
  const [port] = (await once(child, "message")) as [number];
  return { child, port };
}

function siteAt(name: string, port: number, people: readonly Person[]): Site {
  return { name, origin: `http://127.0.0.1:${port}`, edwards: "", people };
}

/** What goes on; the table or the JSON alone is on standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

await main(process.argv.slice(2));
