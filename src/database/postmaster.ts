import { execFile } from "node:child_process";
import { readFile, readlink, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Where a server can be reached: a directory with its unix socket, or a loopback address. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A running server, as its own `postmaster.pid` describes it. */
export interface Postmaster extends Address {
  readonly pid: number;
  /** False while it starts (crash recovery included) or stops. */
  readonly ready: boolean;
}

/**
 * Reads `<cluster>/postmaster.pid` and tells whether that server lives. The file outlives a crash, and process
 * numbers are used again (in a container nearly always), so the number alone proves nothing: the process must
 * be one that works in this very directory. Where the number now belongs to another process, PostgreSQL would
 * refuse to start, so the file is removed here; every other stale file it replaces itself.
 *
 * @returns undefined when no server runs, or when one has not written its file yet.
 */
export async function readPostmaster(cluster: string): Promise<Postmaster | undefined> {
  const file = join(cluster, "postmaster.pid");
  const text = await readFile(file, "utf8").catch(() => "");
  // pid, data directory, start time, port, socket directory, listen address, shared memory, status
  const lines = text.split("\n").map((line) => line.trim());
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0 || !lives(pid)) return undefined;
  const port = Number(lines[3]);
  const host = lines[4] || lines[5] || "";
  if (await worksIn(pid, cluster)) return { pid, host, port, ready: lines[7] === "ready" };

  if ((await readFile(file, "utf8").catch(() => "")) === text) {
    await rm(file, { force: true });
    if (host.startsWith("/")) await rm(join(host, `.s.PGSQL.${port}.lock`), { force: true });
  }
  return undefined;
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Whether a living process is a server working in `cluster`. */
async function worksIn(pid: number, cluster: string): Promise<boolean> {
  if (process.platform === "linux") {
    const directory = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
    return directory !== undefined && directory === (await realpath(cluster));
  }
  if (process.platform === "win32") return true;
  const { stdout } = await run("ps", ["-o", "command=", "-p", String(pid)]).catch(() => ({
    stdout: "",
  }));
  return stdout.includes("postgres") && stdout.includes(cluster);
}
