import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chown, lstat, mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import type { AppError } from "../errors.ts";
import { sha256 } from "../lib/secret.ts";
import { embeddedError } from "./embedded-binaries.ts";
import type { Binaries, Owner } from "./embedded-binaries.ts";
import type { Address } from "./postmaster.ts";

const run = promisify(execFile);

/** The longest directory whose socket's path fits `sun_path` (104 bytes on macOS, 108 on Linux). */
const SOCKET_DIRECTORY_MAX = 103 - "/.s.PGSQL.5432".length;
const LOG_MAX_BYTES = 10 * 1024 * 1024;

/** One PostgreSQL data directory and how its server is run. */
export interface Cluster {
  readonly dataDir: string;
  /** `<dataDir>/postgres`, what PostgreSQL calls PGDATA. */
  readonly directory: string;
  readonly binaries: Binaries;
  readonly owner: Owner | undefined;
  readonly transport: "socket" | "tcp";
  /** Required over TCP; over the socket the directory's permissions decide. */
  readonly password: string | undefined;
  readonly settings: Readonly<Record<string, string>>;
}

/** The superuser and the database of an embedded server. */
export const EMBEDDED_NAME = "lintel";

/**
 * Creates the data directory (`initdb`, UTF-8 in the C locale) unless it is there. It is made under another
 * name and renamed when whole, so an interrupted start leaves nothing half made, and of two processes one wins.
 *
 * @returns whether this call created it.
 */
export async function initialize(cluster: Cluster): Promise<boolean> {
  if (await exists(join(cluster.directory, "PG_VERSION"))) return false;
  const building = `${cluster.directory}.${process.pid}-${randomBytes(4).toString("hex")}`;
  const passwordFile = `${building}.password`;
  try {
    await mkdir(building, { mode: 0o700 });
    if (cluster.owner !== undefined) await chown(building, cluster.owner.uid, cluster.owner.gid);
    const access = ["--auth-local=trust", "--auth-host=reject"];
    if (cluster.password !== undefined) {
      await writeFile(passwordFile, cluster.password, { mode: 0o600 });
      if (cluster.owner !== undefined) {
        await chown(passwordFile, cluster.owner.uid, cluster.owner.gid);
      }
      access.splice(0, 2, "--auth=scram-sha-256", `--pwfile=${passwordFile}`);
    }
    const sync = cluster.settings["fsync"] === "off" ? ["--no-sync"] : [];
    await run(
      cluster.binaries.initdb,
      [
        `--pgdata=${building}`,
        `--username=${EMBEDDED_NAME}`,
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
        ...access,
        ...sync,
      ],
      processOptions(cluster, building),
    );
    await rename(building, cluster.directory);
    return true;
  } catch (error) {
    if (await exists(join(cluster.directory, "PG_VERSION"))) return false;
    throw embeddedError(`initdb failed: ${explain(error)}`, error);
  } finally {
    await rm(building, { recursive: true, force: true });
    await rm(passwordFile, { force: true });
  }
}

/** The password of a server on TCP, made once and kept beside its data. */
export async function readPassword(dataDir: string): Promise<string> {
  const file = join(dataDir, "postgres.password");
  try {
    await writeFile(file, randomBytes(32).toString("hex"), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return readFile(file, "utf8");
}

/** Where a server of this cluster shall listen: its data directory, or a private one where that path is too long. */
export async function chooseAddress(cluster: Cluster): Promise<Address> {
  if (cluster.transport === "tcp") return { host: "127.0.0.1", port: await freePort() };
  // A comma or a quote would end the path in PostgreSQL's list of socket directories.
  if (
    Buffer.byteLength(cluster.directory) <= SOCKET_DIRECTORY_MAX &&
    !/[,"]/.test(cluster.directory)
  ) {
    return { host: cluster.directory, port: 5432 };
  }
  const name = sha256(cluster.directory).toString("hex").slice(0, 16);
  return {
    host: await privateDirectory(join(tmpdir(), `lintel-${name}`), cluster.owner),
    port: 5432,
  };
}

/** A running child and how it ended, if it did. */
export interface ServerProcess {
  readonly exit: Promise<void>;
  readonly exited: () => boolean;
}

/**
 * Starts `postgres`. It is detached, so a Ctrl-C in the terminal reaches Lintel only, which drains and then
 * stops it; and what it says goes to `<dataDir>/postgres.log` without statements or values.
 */
export async function spawnServer(cluster: Cluster, address: Address): Promise<ServerProcess> {
  const settings = {
    listen_addresses: cluster.transport === "tcp" ? address.host : "",
    unix_socket_directories: cluster.transport === "tcp" ? "" : `"${address.host}"`,
    unix_socket_permissions: "0700",
    port: String(address.port),
    log_checkpoints: "off",
    log_error_verbosity: "terse",
    log_min_error_statement: "panic",
    ...cluster.settings,
  };
  const log = await openLog(cluster.dataDir);
  try {
    const child = spawn(
      cluster.binaries.postgres,
      [
        "-D",
        cluster.directory,
        ...Object.entries(settings).flatMap(([k, v]) => ["-c", `${k}=${v}`]),
      ],
      {
        ...processOptions(cluster, cluster.directory),
        detached: true,
        windowsHide: true,
        stdio: ["ignore", log.fd, log.fd],
      },
    );
    let exited = false;
    const exit = new Promise<void>((resolve) => {
      const end = (): void => {
        exited = true;
        resolve();
      };
      child.once("exit", end);
      child.once("error", end);
    });
    child.unref();
    return { exit, exited: () => exited };
  } finally {
    await log.close();
  }
}

/** Asks the server for a fast shutdown: sessions end, what was committed stays, a checkpoint is written. */
export async function signalStop(cluster: Cluster, pid: number): Promise<void> {
  if (process.platform === "win32") {
    await run(cluster.binaries.pg_ctl, ["stop", "-m", "fast", "-W", "-D", cluster.directory]);
  } else {
    process.kill(pid, "SIGINT");
  }
}

/** Why the server did not start, in its own words, and what can be done. */
export async function explainFailure(cluster: Cluster): Promise<AppError> {
  const data = (
    await readFile(join(cluster.directory, "PG_VERSION"), "utf8").catch(() => "")
  ).trim();
  const { stdout } = await run(cluster.binaries.postgres, ["--version"]).catch(() => ({
    stdout: "",
  }));
  const program = /\d+/.exec(stdout)?.[0] ?? "";
  if (program !== "" && data !== "" && program !== data) {
    return embeddedError(
      `The data in ${cluster.directory} was written by PostgreSQL ${data}, and this is PostgreSQL ${program}. ` +
        "Dump it with the Lintel that wrote it and restore the dump here, or set another DATA_DIR to start anew.",
    );
  }
  const log = await readFile(logFile(cluster.dataDir), "utf8").catch(() => "");
  return embeddedError(
    `PostgreSQL did not start in ${cluster.directory}. Its log, ${logFile(cluster.dataDir)}, ends with:\n` +
      `${log.trim().split("\n").slice(-4).join("\n")}\n` +
      "Correct the cause, or set DATABASE_URL to another server.",
  );
}

function logFile(dataDir: string): string {
  return join(dataDir, "postgres.log");
}

async function openLog(dataDir: string): Promise<Awaited<ReturnType<typeof open>>> {
  const file = logFile(dataDir);
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size > LOG_MAX_BYTES) await rename(file, `${file}.1`);
  return open(file, "a", 0o600);
}

/** Nothing of our environment reaches the server: PGOPTIONS, PGPORT and the like would change what it does. */
function processOptions(
  cluster: Cluster,
  cwd: string,
): { cwd: string; env: Record<string, string>; uid?: number; gid?: number } {
  return { ...cluster.owner, cwd, env: { LC_ALL: "C", TZ: "UTC" } };
}

function explain(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message?: string };
  const text =
    (stderr === undefined || stderr.trim() === "" ? message : stderr.trim()) ?? String(error);
  return /shared librar|Library not loaded/i.test(text)
    ? `${text}\nThe package's install script did not run; run \`npm rebuild\`, or set DATABASE_URL.`
    : text;
}

async function privateDirectory(path: string, owner: Owner | undefined): Promise<string> {
  const uid = owner?.uid ?? process.getuid?.();
  try {
    await mkdir(path, { mode: 0o700 });
    if (owner !== undefined) await chown(path, owner.uid, owner.gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const found = await lstat(path);
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return path;
  throw embeddedError(
    `${path} is needed for PostgreSQL's socket and belongs to someone else. ` +
      "Remove it, or set DATA_DIR to a shorter path.",
  );
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
