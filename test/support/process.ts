import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { testDatabase, type TestDatabase } from "./database.ts";
import type { Target } from "./rp.ts";
import { freePort } from "./server.ts";

const LAUNCHER = fileURLToPath(new URL("../../src/lintel.mjs", import.meta.url));

/** A Lintel in a process of its own, over a database of its own: it can be killed, and started again. */
export interface TestProcess extends Target {
  readonly database: TestDatabase;
  /** All that it printed so far, on both streams, over all of its lives. */
  readonly printed: () => { readonly out: string; readonly err: string };
  /** Starts it and waits until it answers. */
  boot(): Promise<void>;
  /** The number of the process that runs now. */
  readonly pid: () => number;
  /** Sends a signal, waits until the process is gone, and says how it went: its exit code, `null` when killed. */
  end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null>;
  /** Kills it if it still runs, and drops what it leaves. */
  dispose(): Promise<void>;
}

/**
 * Starts a server as `npm start` does; `settings` are environment variables on top of the usual ones, `args` options
 * of `lintel start`.
 */
export async function aProcess(
  settings: Record<string, string> = {},
  args: readonly string[] = [],
): Promise<TestProcess> {
  const database = await testDatabase();
  const dataDir = mkdtempSync(join(tmpdir(), "lintel-process-"));
  const [port, demoPort] = [await freePort(), await freePort()];
  const environment = {
    PATH: process.env["PATH"],
    NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
    PORT: String(port),
    DEMO_PORT: String(demoPort),
    DATABASE_URL: database.url,
    DATA_DIR: dataDir,
    ENCRYPTION_KEY: randomBytes(32).toString("base64"),
    ...settings,
  };
  const printed = { out: "", err: "" };
  let child: ChildProcess | undefined;

  async function end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null;
    const gone = once(child, "close");
    child.kill(signal);
    const [code] = (await gone) as [number | null];
    return code;
  }

  const started: TestProcess = {
    issuer: settings["ISSUER"] ?? `http://localhost:${port}`,
    port,
    database,
    pid: () => child?.pid ?? 0,
    printed: () => ({ ...printed }),
    async boot() {
      const booting = spawn(process.execPath, [LAUNCHER, "start", ...args], { env: environment });
      child = booting;
      booting.stdout.setEncoding("utf8").on("data", (text: string) => (printed.out += text));
      booting.stderr.setEncoding("utf8").on("data", (text: string) => (printed.err += text));
      for (let tries = 0; tries < 600; tries += 1) {
        if (booting.exitCode !== null) break;
        const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
        if (answer?.ok === true) return;
        await delay(50);
      }
      throw new Error(`The server does not start: ${printed.err}`);
    },
    end,
    async dispose() {
      await end("SIGKILL");
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  try {
    await started.boot();
  } catch (error) {
    await started.dispose();
    throw error;
  }
  return started;
}
