import { Worker } from "node:worker_threads";
import { UpstreamError } from "../connector.ts";
import { broken } from "./failure.ts";
import type { IdpMetadata, MetadataJob } from "./metadata.ts";
import type {
  Job,
  LogoutJob,
  Peek,
  PeekJob,
  ResponseJob,
  VerifiedLogout,
  VerifiedResponse,
} from "./verify.ts";
import type { Outcome } from "./worker.ts";

/** Milliseconds in which the thread must be there, and in which a message must be done with; a good one takes 20. */
const START_MS = 10_000;
const JOB_MS = 2_000;
/** Most messages that wait for one kind of work, and most of one connection's among them. */
const MAX_WAITING = 100;
const MAX_OF_ONE = 50;
/** What the thread may use, in megabytes. */
const LIMITS = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 };

/** A message that waits for its turn. */
interface Waiting {
  readonly connection: string;
  readonly begin: () => void;
}

/**
 * Where messages and metadata are parsed and verified: one thread beside the server's own, with limits of time and
 * memory, so that no message can stall or fell it (T-104). What goes beyond them ends the thread, and the next message
 * gets a new one. Each kind of work has its turn in its own line, so that what anybody may send keeps nobody's sign-in
 * waiting.
 */
class Workshop {
  #worker: Promise<Worker> | undefined;
  #isBusy = false;
  readonly #lines: Readonly<Record<Job["task"], Waiting[]>> = {
    response: [],
    logout: [],
    peek: [],
    metadata: [],
  };
  #turns = Object.values(this.#lines);

  /** @param connection names the connection that the message came to. */
  do(connection: string, job: ResponseJob): Promise<VerifiedResponse>;
  do(connection: string, job: LogoutJob): Promise<VerifiedLogout>;
  do(connection: string, job: PeekJob): Promise<Peek>;
  do(connection: string, job: MetadataJob): Promise<IdpMetadata>;
  async do(connection: string, job: Job): Promise<unknown> {
    await this.#turn(connection, this.#lines[job.task]);
    try {
      return await this.#attempt(job);
    } finally {
      this.#next();
    }
  }

  /** Waits in line until the thread is free. */
  async #turn(connection: string, line: Waiting[]): Promise<void> {
    if (!this.#isBusy) {
      this.#isBusy = true;
      return;
    }
    const ofOne = line.filter((one) => one.connection === connection);
    if (line.length >= MAX_WAITING || ofOne.length >= MAX_OF_ONE)
      throw broken(
        "saml.busy",
        "Too many messages wait to be verified.",
        "Ask the person to try again in a moment.",
        "unavailable",
      );
    const { promise, resolve: begin } = Promise.withResolvers<void>();
    line.push({ connection, begin });
    await promise;
  }

  /** Gives the thread to the first of the next line; the line goes to the end. */
  #next(): void {
    const line = this.#turns.find(({ length }) => length > 0);
    const first = line?.shift();
    this.#isBusy = first !== undefined;
    if (line === undefined || first === undefined) return;
    this.#turns = [...this.#turns.filter((one) => one !== line), line];
    first.begin();
  }

  async #attempt(job: Job): Promise<unknown> {
    this.#worker ??= start(() => (this.#worker = undefined));
    try {
      const worker = await this.#worker;
      const outcome = (await answerOf(worker, JOB_MS, job)) as Outcome;
      if ("value" in outcome) return outcome.value;
      const { reason, rule, message, hint } = outcome.failure;
      throw new UpstreamError(reason, rule, message, hint === undefined ? {} : { hint });
    } catch (error) {
      if (error instanceof UpstreamError) throw error;
      const dying = this.#worker;
      this.#worker = undefined;
      await (await dying?.catch(() => undefined))?.terminate();
      throw broken("saml.limits", "The message took too much time or memory.");
    }
  }
}

/** The one of this process; connectors come and go. */
export const workshop = new Workshop();

async function start(onExit: () => void): Promise<Worker> {
  const worker = new Worker(new URL("worker.ts", import.meta.url), { resourceLimits: LIMITS });
  worker.once("exit", onExit).on("error", onExit).unref();
  await answerOf(worker, START_MS);
  return worker;
}

/** What the thread says next, after it was given something to do. */
async function answerOf(worker: Worker, milliseconds: number, job?: Job): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const late = setTimeout(() => reject(new Error("timeout")), milliseconds);
  const gone = () => reject(new Error("the thread ended"));
  worker.on("message", resolve).on("error", reject).on("exit", gone);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- A thread has no origin.
  if (job !== undefined) worker.postMessage(job);
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    worker.off("message", resolve).off("error", reject).off("exit", gone);
  }
}
