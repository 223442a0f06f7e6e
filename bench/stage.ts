import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startEmbeddedPostgres } from "../src/database/embedded.ts";
import { createLogger } from "../src/lib/log.ts";
import { LoadProcess } from "./load-process.ts";

/*
 * What a run starts, and stops when it ends, whichever way it ends.
 */

const closers: (() => unknown)[] = [];
let closing: Promise<void> | undefined;

/** Stops something when the run ends; what was started last goes first. */
export function atEnd(close: () => unknown): void {
  closers.push(close);
}

/** Stops everything; asked again, by whom the first to be stopped threw, it waits until all is. */
export function closeAll(): Promise<void> {
  return (closing ??= closeEach());
}

async function closeEach(): Promise<void> {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
}

/** Starts the load generator. */
export function loadProcess(): LoadProcess {
  const load = new LoadProcess();
  atEnd(() => load.stop());
  return load;
}

/** Starts a PostgreSQL server of the run's own; returns its address. */
export async function embeddedServer(settings: Record<string, string> = {}): Promise<string> {
  const dataDir = mkdtempSync(join(tmpdir(), "lintel-bench-"));
  atEnd(() => rmSync(dataDir, { recursive: true, force: true }));
  const log = createLogger({ level: "warn" });
  const { url, stop } = await startEmbeddedPostgres({ dataDir, log, settings });
  atEnd(stop);
  return url;
}

/** Starts one of our own servers, tells it something, and waits for its port. */
export async function forked(
  file: string,
  told: object,
): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)));
  atEnd(() => child.connected && child.disconnect());
  child.send(told);
  const [port] = (await once(child, "message")) as [number];
  return { child, port };
}

/** What goes on; the table or the JSON alone is on standard output. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
