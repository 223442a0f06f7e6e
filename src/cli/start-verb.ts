import { availableParallelism } from "node:os";
import type { Io } from "./io.ts";
import { UsageError, verb, type Verb } from "./verb.ts";

/** What the verb starts but does not know; loaded when it is called. */
export interface StartServer {
  /** Runs the server as this process, or as a number of workers that this process holds together. */
  readonly run: (environment: Io["environment"], workers?: number) => Promise<void>;
}

const MOST_WORKERS = 256;

function workersOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (text === "auto") return availableParallelism();
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > MOST_WORKERS)
    throw new UsageError(`--workers must be auto or a number from 1 to ${MOST_WORKERS}.`, "start");
  return number;
}

/** The one verb whose process lives on. It is apart, so that a server does not keep the code of all the others. */
export const startVerb = (server: StartServer): Verb =>
  verb({
    name: "start",
    summary: "run the server until it is told to stop",
    options: {
      workers: {
        type: "string",
        value: "N|auto",
        help: "as this many processes that share its ports; `auto` is one for each core",
      },
    },
    details: "SIGTERM finishes what is in progress. SIGHUP restarts workers one after another.",
    async run({ io, values }) {
      await server.run(io.environment, workersOf(values.workers));
    },
  });
