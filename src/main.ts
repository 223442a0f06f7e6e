import { availableParallelism } from "node:os";
import { createApp } from "./app.ts";
import { ConfigError, readConfig, type Config } from "./config.ts";
import { openDeps, type Deps } from "./deps.ts";
import { AppError } from "./errors.ts";
import { drain, listenOn } from "./http/listen.ts";
import { listen } from "./http/listeners.ts";
import { createLogger, type Logger } from "./lib/log.ts";
import { sayThatItServes, startWorkers, workerOf } from "./workers.ts";
import { issueSetupLink } from "./setup/setup-link.ts";

/** A running server, as `start` made it. */
export interface Running {
  readonly deps: Deps;
  /** The port it listens on, which matters when it was told to take any. */
  readonly port: number;
  /** Takes no new requests, finishes those in progress, and closes everything. */
  stop(): Promise<void>;
}

/**
 * Starts the server: everything is opened and checked before anything listens.
 *
 * @param worker which of several processes of one server this is, if any: the first does what must be done once.
 * @throws AppError when the schema, the encryption key or the machine are not as they must be.
 */
export async function start(
  config: Config,
  log: Logger = createLogger({ level: config.logLevel }),
  worker?: { isFirst: boolean; workers: number },
): Promise<Running> {
  const hashes =
    worker && Math.min(3, Math.max(1, Math.floor(availableParallelism() / worker.workers)));
  const deps = await openDeps(config, log, hashes);
  const closers: (() => Promise<unknown>)[] = [() => deps.close()];
  const stop = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed()) await closer();
  };
  try {
    const { handler, metrics, close } = await createApp(deps, {
      runsJobs: worker?.isFirst !== false,
    });
    closers.push(close);
    const servers = await listen(handler, config, log);
    closers.push(() => servers.close());
    if (worker !== undefined) metrics.shareWithOthers();
    else if (config.metricsPort !== undefined) {
      const metricsServer = await listenOn(metrics.handler, config.metricsPort, config.metricsHost);
      closers.push(() => drain(metricsServer));
    }
    if (config.mode === "development" && worker?.isFirst !== false) {
      const { startDemo } = await import("./demo/start.ts");
      const demo = await startDemo(deps);
      closers.push(() => drain(demo));
    }
    return { deps, port: servers.port, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Runs the server as a process: `npm start`, `lintel start`.
 *
 * @param workers how many processes share its ports; without it this one serves by itself.
 */
export async function run(environment: NodeJS.ProcessEnv, workers?: number): Promise<void> {
  let running: { stop(): Promise<void> } | undefined;
  const shutDown = async (): Promise<void> => {
    process.removeListener("SIGINT", shutDown).removeListener("SIGTERM", shutDown);
    await running?.stop();
    process.exit(0);
  };
  const worker = workerOf(environment);
  try {
    const config = readConfig(environment);
    process.on("SIGTERM", shutDown);
    // Of what a terminal tells them all, only the process that holds the workers together takes notice.
    if (worker === undefined) process.on("SIGINT", shutDown);
    else process.on("SIGINT", () => undefined).on("SIGHUP", () => undefined);
    if (workers !== undefined && worker === undefined) {
      running = await startWorkers(workers, config, createLogger({ level: config.logLevel }));
      if (running === undefined) process.exit(1);
      return;
    }
    const server = await start(config, undefined, worker);
    running = server;
    if (worker !== undefined) sayThatItServes();
    if (worker?.isFirst !== false) await announce(server.deps);
  } catch (error) {
    const isExplained = error instanceof ConfigError || error instanceof AppError;
    console.error(isExplained ? error.message : error);
    process.exit(1);
  }
}

/** What somebody who just started Lintel wants to know. */
async function announce({ config, knex }: Deps): Promise<void> {
  if (config.mode !== "development") return;
  const lines = [`Issuer        ${config.issuer}`];
  const setupLink = await issueSetupLink(knex, config, new Date()).catch(() => undefined);
  if (setupLink !== undefined) lines.push(`First admin   ${setupLink}  (works once, for an hour)`);
  lines.push(`Demo app      http://localhost:${config.demoPort}`);
  if (config.smtpUrl === undefined) lines.push(`Mailbox       ${config.issuer}/dev/mail`);
  lines.push(`Gallery       ${config.issuer}/dev/pages`);
  lines.push(
    config.databaseUrl === undefined
      ? `Database      embedded PostgreSQL in ${config.dataDir}; set DATABASE_URL to use your own`
      : "Database      DATABASE_URL",
    "Production    set NODE_ENV=production, ISSUER, DATABASE_URL and ENCRYPTION_KEY; `lintel doctor` checks them",
  );
  console.log(`\nLintel is running.\n\n${lines.map((line) => `  ${line}`).join("\n")}\n`);
}

if (import.meta.main) await run(process.env);
