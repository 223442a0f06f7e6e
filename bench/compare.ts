import { loadProcess, embeddedServer, forked, atEnd } from "./stage.ts";
import { Database, temporaryDatabase } from "./database.ts";
import type { LoadProcess } from "./load-process.ts";
import type { Options } from "./options.ts";
import { reportOf, tableOf } from "./report.ts";
import { measureAll, warmUp } from "./rounds.ts";
import { startLintel } from "./servers/lintel.ts";
import { Subject, type Measurement } from "./subject.ts";
import { EDWARDS_PATH, type Person, type Site } from "./world.ts";

/** How a Lintel is started, where not as usual. */
type Run = Pick<Parameters<typeof startLintel>[1], "workers" | "defaultMemory" | "root">;

/** Measures Lintel beside the bare engine in memory. */
export async function compare(options: Options): Promise<string> {
  const load = loadProcess();
  const server = await embeddedServer();
  const embedded = await lintelAt(server, "embedded", options);
  const subjects = [await bareEngine(embedded.site.people), embedded];
  const url = process.env["DATABASE_URL"];
  if (url !== undefined) subjects.push(await lintelOn(url, "database_url", options));
  for (const workers of options.processes)
    subjects.push(await lintelOn(server, `workers_${workers}`, options, { workers }));
  if (options.defaultMemory)
    subjects.push(await lintelOn(server, "default_memory", options, { defaultMemory: true }));
  if (options.against !== undefined)
    subjects.push(await lintelOn(server, "against", options, { root: options.against }));
  for (const { site } of subjects) await load.meet(site, options.concurrency);
  const ceiling = await ceilingOf(load, options);

  const rounds = await measureAll(subjects, load, options);
  const report = reportOf(rounds, { options, ceiling, embedded: await embedded.about() });
  return options.json ? `${JSON.stringify(report)}\n` : tableOf(report);
}

async function bareEngine(people: readonly Person[]): Promise<Subject> {
  const { child, port } = await forked("servers/bare.ts", people);
  return new Subject(siteAt("bare", port, people), child);
}

async function lintelOn(
  server: string,
  name: string,
  options: Options,
  run: Run = {},
): Promise<Subject> {
  const { url, drop } = await temporaryDatabase(server, name);
  atEnd(drop);
  return lintelAt(url, name, options, run);
}

async function lintelAt(
  url: string,
  name: string,
  { concurrency: people, profile }: Options,
  run: Run = {},
): Promise<Subject> {
  const lintel = await startLintel(url, { people, profile, ...run });
  atEnd(() => lintel.stop());
  const database = await Database.watch(url);
  atEnd(() => database.close());
  const site = { name, origin: lintel.origin, edwards: EDWARDS_PATH, people: lintel.people };
  return new Subject(site, lintel.child, {
    database,
    startMs: lintel.startedIn,
    counts: run.workers === undefined,
  });
}

/** How often the load generator can ask a server that does nothing: more than anything here answers. */
async function ceilingOf(load: LoadProcess, options: Options): Promise<Measurement> {
  const { child, port } = await forked("servers/trivial.ts", []);
  const subject = new Subject(siteAt("trivial", port, []), child);
  await load.meet(subject.site, options.concurrency);
  await warmUp(subject, load, "jwks", options);
  const measurement = await subject.measure(load, "jwks", options);
  child.disconnect();
  return measurement;
}

function siteAt(name: string, port: number, people: readonly Person[]): Site {
  return { name, origin: `http://127.0.0.1:${port}`, edwards: "", people };
}
