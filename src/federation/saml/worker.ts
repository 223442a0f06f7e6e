import { parentPort } from "node:worker_threads";
import { UpstreamError } from "../connector.ts";
import { broken } from "./failure.ts";
import { parseMetadata } from "./metadata.ts";
import { peek, verifyLogout, verifyResponse, type Job } from "./verify.ts";

/** How an error crosses from one thread to the other. */
export interface Failure {
  readonly reason: UpstreamError["reason"];
  readonly rule: string;
  readonly message: string;
  readonly hint: string | undefined;
}

export type Outcome = { readonly value: unknown } | { readonly failure: Failure };

function work(job: Job): unknown {
  if (job.task === "metadata") return parseMetadata(job.xml, job.entityId, job.signedBy);
  if (job.task === "response") return verifyResponse(job);
  return job.task === "logout" ? verifyLogout(job) : peek(job);
}

function outcome(job: Job): Outcome {
  try {
    return { value: work(job) };
  } catch (error) {
    const { reason, rule, message, hint } =
      error instanceof UpstreamError
        ? error
        : broken("saml.message", `The message cannot be read: ${String(error)}.`);
    return { failure: { reason, rule, message, hint } };
  }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- A thread has no origin.
const say = (what: Outcome | "ready") => parentPort?.postMessage(what);
parentPort?.on("message", (job: Job) => say(outcome(job)));
say("ready");
