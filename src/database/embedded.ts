import { rmdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { Client, DatabaseError } from "pg";

import type { Logger } from "../lib/log.ts";
import {
  chooseAddress,
  EMBEDDED_NAME,
  initialize,
  explainFailure,
  readPassword,
  signalStop,
  spawnServer,
} from "./cluster.ts";
import type { Cluster, ServerProcess } from "./cluster.ts";
import { embeddedError, findBinaries, openDataDir, serverOwner } from "./embedded-binaries.ts";
import { readPostmaster } from "./postmaster.ts";
import type { Address, Postmaster } from "./postmaster.ts";

/** Long enough for crash recovery; a server that fails to start is noticed at once. */
const START_TIMEOUT_MS = 5 * 60_000;
const STOP_TIMEOUT_MS = 60_000;
/** An advisory lock of the maintenance database: shared by all who use the server, and of one alone who stops it. */
const USE_LOCK = 0x6c_69_6e_74_65_6c;

export interface EmbeddedOptions {
  /** Everything lives below: `postgres/`, `postgres.log` and, where needed, `postgres-bin/`. */
  readonly dataDir: string;
  readonly log: Logger;
  /** PostgreSQL settings on top of ours, which leave durability as it is. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A unix socket in a private directory, or loopback TCP with a password; the socket except on Windows. */
  readonly transport?: "socket" | "tcp";
}

/** A running server that this process uses, and whether its data directory is new. */
export interface EmbeddedPostgres {
  /** A connection string for the database `lintel`; it stays the same when the server is restarted. */
  readonly url: string;
  readonly firstStart: boolean;
  /**
   * Stops the server, unless another Lintel is connected to it: then that one stops it later. Call it after
   * every pool of this process is closed.
   */
  stop(): Promise<void>;
}

/** A server we are connected to. The open connection holds {@link USE_LOCK}: so another Lintel sees that we use it. */
interface Attachment {
  readonly server: Postmaster;
  readonly presence: Client;
}

/**
 * Runs a PostgreSQL of our own in `dataDir`, with full durability. A server that is already running there is
 * used as it is: one that outlived a kill -9 of Lintel, or one that another Lintel started. While this process
 * runs, a server that goes away is started again.
 *
 * @throws AppError `embedded_database`, whose message says what to do.
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { log } = options;
  const cluster = await prepareCluster(options);
  const firstStart = await initialize(cluster);
  const stopping = new AbortController();
  let current = await attach(cluster, await chooseAddress(cluster), stopping.signal);
  const url = addressUrl(cluster, current.server, EMBEDDED_NAME);
  let recovery: Promise<void> | undefined;
  watch();
  await createDatabase(current.presence);
  log.info({ dataDir: cluster.dataDir, firstStart }, "embedded PostgreSQL is running");

  function watch(): void {
    current.presence.once("end", () => {
      if (!stopping.signal.aborted) recovery = recover();
    });
  }

  async function recover(): Promise<void> {
    log.warn("embedded PostgreSQL went away and is started again");
    for (let wait = 500; ; wait = Math.min(wait * 2, 10_000)) {
      try {
        current = await attach(cluster, current.server, stopping.signal);
        watch();
        log.info("embedded PostgreSQL is running again");
        return;
      } catch (error) {
        if (stopping.signal.aborted) return;
        log.error({ err: error }, "embedded PostgreSQL could not be started");
        await delay(wait, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }

  async function stop(): Promise<void> {
    stopping.abort();
    await recovery;
    const { presence, server } = current;
    const isOurs = await takeAlone(presence).catch(() => true);
    if (!isOurs) {
      await presence.end().catch(() => undefined);
      log.info("embedded PostgreSQL is left running for another Lintel");
      return;
    }
    await stopServer(cluster, server.pid);
    await presence.end().catch(() => undefined);
    // A socket directory of its own goes with the server; the data directory is never empty.
    if (cluster.transport === "socket") await rmdir(server.host).catch(() => undefined);
    log.info("embedded PostgreSQL has stopped");
  }

  let stopped: Promise<void> | undefined;
  return { url, firstStart, stop: () => (stopped ??= stop()) };
}

async function prepareCluster(options: EmbeddedOptions): Promise<Cluster> {
  const dataDir = resolve(options.dataDir);
  const directory = join(dataDir, "postgres");
  const transport = options.transport ?? (process.platform === "win32" ? "tcp" : "socket");
  const owner = await serverOwner(directory);
  await openDataDir(dataDir, owner);
  return {
    dataDir,
    directory,
    owner,
    transport,
    binaries: await findBinaries(dataDir, owner),
    password: transport === "tcp" ? await readPassword(dataDir) : undefined,
    settings: options.settings ?? {},
  };
}

/** Connects to the server of the cluster, starting one when none runs. */
async function attach(
  cluster: Cluster,
  address: Address,
  stopping: AbortSignal,
): Promise<Attachment> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  let child: ServerProcess | undefined;
  let starts = 0;
  while (Date.now() < deadline) {
    stopping.throwIfAborted();
    const server = await readPostmaster(cluster.directory);
    if (server?.ready === true) {
      const presence = await tryConnect(cluster, server);
      if (presence !== undefined) return { server, presence };
    } else if (server === undefined && (child === undefined || child.exited())) {
      if (starts === 3) break;
      // A failed start may be the loser of a race, or the last backends of a killed server still leaving.
      if (starts > 0) await delay(500);
      child = await spawnServer(cluster, address);
      starts += 1;
    }
    await delay(10);
  }
  throw await explainFailure(cluster);
}

/** A connection to the maintenance database, or undefined while the server takes none or somebody stops it. */
async function tryConnect(cluster: Cluster, server: Address): Promise<Client | undefined> {
  const client = new Client({
    connectionString: addressUrl(cluster, server, "postgres"),
    application_name: "lintel embedded",
    connectionTimeoutMillis: 5000,
  });
  // The 'end' event tells the same; without a listener an 'error' event would end the process.
  client.on("error", () => undefined);
  try {
    await client.connect();
    if (await hasLock(client, "pg_try_advisory_lock_shared")) return client;
    await client.end();
    return undefined;
  } catch (error) {
    // 28xxx: the server answers, and will go on answering, that we may not come in.
    if (error instanceof DatabaseError && error.code?.startsWith("28") === true) {
      throw embeddedError(
        `PostgreSQL in ${cluster.directory} refuses Lintel: ${error.message}`,
        error,
      );
    }
    return undefined;
  }
}

/** `sslmode` and the port are spelled out because pg would otherwise take them from PGSSLMODE and PGPORT. */
function addressUrl(cluster: Cluster, address: Address, database: string): string {
  const login =
    cluster.password === undefined ? EMBEDDED_NAME : `${EMBEDDED_NAME}:${cluster.password}`;
  return `postgresql://${login}@${encodeURIComponent(address.host)}:${address.port}/${database}?sslmode=disable`;
}

async function createDatabase(client: Client): Promise<void> {
  const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [
    EMBEDDED_NAME,
  ]);
  if (rowCount === 1) return;
  try {
    await client.query(`CREATE DATABASE ${EMBEDDED_NAME} TEMPLATE template0`);
  } catch (error) {
    const raced =
      error instanceof DatabaseError && (error.code === "42P04" || error.code === "23505");
    if (!raced) throw error;
  }
}

/** Whether nobody else uses the server. Then nobody can any more: who comes now waits until it is gone. */
async function takeAlone(presence: Client): Promise<boolean> {
  await presence.query("SELECT pg_advisory_unlock_shared($1)", [USE_LOCK]);
  return hasLock(presence, "pg_try_advisory_lock");
}

async function hasLock(
  client: Client,
  take: "pg_try_advisory_lock" | "pg_try_advisory_lock_shared",
): Promise<boolean> {
  const { rows } = await client.query<{ taken: boolean }>(`SELECT ${take}($1) AS taken`, [
    USE_LOCK,
  ]);
  return rows[0]?.taken === true;
}

async function stopServer(cluster: Cluster, pid: number): Promise<void> {
  if ((await readPostmaster(cluster.directory))?.pid !== pid) return;
  await signalStop(cluster, pid);
  for (const deadline = Date.now() + STOP_TIMEOUT_MS; Date.now() < deadline; await delay(10)) {
    if ((await readPostmaster(cluster.directory))?.pid !== pid) return;
  }
  throw embeddedError(
    `PostgreSQL (process ${pid}) did not stop within ${STOP_TIMEOUT_MS / 1000} s.`,
  );
}
