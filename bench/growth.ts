import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { statfsSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { aHttpsServer } from "../test/support/https.ts";
import { Database, temporaryDatabase } from "./database.ts";
import { growthOf, growthTableOf, type Grown } from "./growth-report.ts";
import type { LoadProcess } from "./load-process.ts";
import type { Options, Population } from "./options.ts";
import { measureAll } from "./rounds.ts";
import { crowdOf, Rows } from "./rows.ts";
import { startLintel } from "./servers/lintel.ts";
import { atEnd, embeddedServer, loadProcess, say } from "./stage.ts";
import { sum } from "./statistics.ts";
import { Subject } from "./subject.ts";
import { EDWARDS_PATH, type Caller } from "./world.ts";

/** Rows of each kind that end before a round, so that the purge works in all of them alike. */
const LITTER = 2_000;
/** Bytes that each of the people takes on disk, and what the write-ahead log of filling takes beside them. */
const BYTES_EACH = 4200;
const LOG = 2 ** 33;
const SETTINGS = { max_wal_size: "8GB" };

/** Measures Lintel on databases that differ in nothing but how full they are; the first is what the others are compared with. */
export async function growth(options: Options): Promise<string> {
  assertRoom(options.populations);
  const load = loadProcess();
  const shared = Math.round(totalmem() / 2 ** 20 / 4);
  const server = await embeddedServer({ ...SETTINGS, shared_buffers: `${shared}MB` });
  const subjects: Subject[] = [];
  const grown: Grown[] = [];
  for (const population of options.populations) {
    const { subject, ...made } = await populated(server, population, { load, options });
    subjects.push(subject);
    grown.push(made);
  }
  const rounds = await measureAll(subjects, load, options);
  const about = await subjects[0]?.about();
  const report = growthOf(rounds, { options, grown, postgres: about?.postgres });
  return options.json ? `${JSON.stringify(report)}\n` : growthTableOf(report);
}

/** A disk that runs full stops more than this run. */
function assertRoom(populations: readonly Population[]): void {
  const needed = sum(populations.map(({ rows }) => rows)) * BYTES_EACH;
  const { bavail, bsize } = statfsSync(tmpdir());
  const [need, room] = [Math.min(needed * 3, needed + LOG), bavail * bsize].map((bytes) =>
    Math.ceil(bytes / 2 ** 30),
  );
  if ((need ?? 0) > (room ?? 0))
    throw new Error(
      `${tmpdir()} has ${room} GB, and this needs ${need}; TMPDIR names another place`,
    );
}

async function populated(
  server: string,
  { rows, clients }: Population,
  { load, options }: { load: LoadProcess; options: Options },
): Promise<Grown & { subject: Subject }> {
  const name = `rows_${rows}_clients_${clients}`;
  say(`${name} …`);
  const { url, drop } = await temporaryDatabase(server, name);
  atEnd(drop);
  const { callers, keyServer } = await applications(clients);
  const { profile } = options;
  const lintel = await startLintel(url, { people: 1, callers, keyServer, profile });
  atEnd(() => lintel.stop());
  const site = { name, origin: lintel.origin, edwards: EDWARDS_PATH, people: lintel.people };
  // One person signs in as people do; everybody else is a copy.
  await load.meet(site, 1);
  await load.prepare(site, "refresh", 1, 0);
  const people = await Rows.open(url, callers);
  atEnd(() => people.close());
  const startedAt = performance.now();
  const tables = await people.fill(rows);
  const seconds = (performance.now() - startedAt) / 1000;
  const crowd = await crowdOf(url, { count: rows, callers, encryptionKey: lintel.encryptionKey });
  await load.meet({ ...site, crowd }, options.concurrency);
  const database = await Database.watch(url);
  atEnd(() => database.close());
  const storage = {
    database,
    startMs: lintel.startedIn,
    counts: true,
    litter: () => people.litter(LITTER),
  };
  const subject = new Subject(site, lintel.child, storage);
  return { name, rows, clients, seconds, tables, subject };
}

/** Applications of which a tenth, and at least one of several, has keys at a server that is started for them. */
async function applications(
  count: number,
): Promise<{ callers: Caller[]; keyServer: string | undefined }> {
  const withKeys = count === 1 ? 0 : Math.max(1, Math.floor(count / 10));
  const keys = new Map<string, KeyObject>();
  const callers = Array.from({ length: count }, (_, index): Caller => {
    const id = `bench-${index}`;
    if (index >= withKeys) return { id };
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    keys.set(`/${id}`, createPublicKey(privateKey));
    const pkcs8 = privateKey.export({ format: "der", type: "pkcs8" });
    return { id, privateKey: pkcs8.toString("base64") };
  });
  if (withKeys === 0) return { callers, keyServer: undefined };
  const { origin, close } = await aHttpsServer((request, response) => {
    const key = keys.get(request.url ?? "");
    const jwk = { ...key?.export({ format: "jwk" }), use: "sig", alg: "ES256" };
    response.setHeader("Content-Type", "application/jwk-set+json");
    response.end(JSON.stringify({ keys: key === undefined ? [] : [jwk] }));
  });
  atEnd(close);
  return { callers, keyServer: origin };
}
