import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { errors } from "../errors.ts";
import type { Seeded } from "./seed.ts";

/** What the run of one module came to, in the suite's words. */
export interface ModuleResult {
  readonly module: string;
  readonly variant: Readonly<Record<string, string>>;
  /** PASSED, WARNING, REVIEW, SKIPPED, FAILED; or INTERRUPTED, TIMEOUT. */
  readonly result: string;
  /** Where the suite shows what happened. */
  readonly log: string;
}

/** Which suite runs what, and how long a module may take. */
export interface Run {
  readonly suiteUrl: string;
  /** For suites that ask who is calling. */
  readonly token?: string | undefined;
  readonly seeded: Seeded;
  /** Only modules whose name has this in it. */
  readonly only?: string | undefined;
  readonly fetch: typeof fetch;
  /** What must happen before a module that waits for it goes on. */
  readonly prepare: (module: string) => Promise<void>;
  readonly pollMs?: number;
  readonly moduleMs?: number;
}

const variant = z.record(z.string(), z.string()).nullish();
const created = z.object({
  id: z.string(),
  modules: z.array(z.object({ testModule: z.string(), variant })),
});
const started = z.object({ id: z.string() });
const info = z.object({ status: z.string(), result: z.string().nullish() });

/**
 * Runs a plan in a suite through its API, module after module, and tells of each as it ends.
 *
 * @throws AppError `conformance` where the suite refuses or does not answer.
 */
export async function* runPlan(run: Run): AsyncGenerator<ModuleResult> {
  const { seeded, only = "" } = run;
  const query = { planName: seeded.plan, variant: JSON.stringify(seeded.variant) };
  const plan = await call(run, created, "plan", query, JSON.stringify(seeded.config));
  for (const { testModule, variant: own } of plan.modules)
    if (testModule.includes(only)) yield await runModule(run, plan.id, testModule, own ?? {});
}

async function runModule(
  run: Run,
  plan: string,
  module: string,
  own: Readonly<Record<string, string>>,
): Promise<ModuleResult> {
  const { pollMs = 1_000, moduleMs = 300_000 } = run;
  const { id } = await call(
    run,
    started,
    "runner",
    { test: module, plan, variant: JSON.stringify(own) },
    "",
  );
  const log = `${run.suiteUrl}/log-detail.html?log=${id}`;
  const deadline = Date.now() + moduleMs;
  let wasStarted = false;
  while (Date.now() < deadline) {
    const { status, result } = await call(run, info, `info/${id}`);
    if (status === "FINISHED") return { module, variant: own, result: result ?? "UNKNOWN", log };
    if (status === "INTERRUPTED") return { module, variant: own, result: status, log };
    // Most modules start by themselves; this one waits until what it asks of us is done.
    if (status === "CONFIGURED" && !wasStarted) {
      wasStarted = true;
      await run.prepare(module);
      await call(run, z.unknown(), `runner/${id}`, {}, "");
    }
    await delay(pollMs);
  }
  return { module, variant: own, result: "TIMEOUT", log };
}

/** One call of the suite's API: with a body a POST, without one a GET. */
async function call<T>(
  { suiteUrl, token, fetch: send }: Run,
  answer: z.ZodType<T>,
  path: string,
  query: Record<string, string> = {},
  body?: string,
): Promise<T> {
  const url = `${suiteUrl}/api/${path}?${new URLSearchParams(query)}`;
  let response: Response;
  let text: string;
  try {
    response = await send(url, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        "content-type": "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body }),
    });
    text = await response.text();
  } catch (error) {
    throw errors.conformance(`The suite does not answer at ${url}: ${reasonOf(error as Error)}`);
  }
  if (!response.ok)
    throw errors.conformance(
      `The suite answers ${response.status} at ${url}: ${text.slice(0, 500)}`,
    );
  const parsed = answer.safeParse(parseJson(text));
  if (!parsed.success) throw errors.conformance(`The suite says something else at ${url}.`);
  return parsed.data;
}

/** What went wrong below: fetch itself says only that it failed. */
function reasonOf({ message, cause }: Error): string {
  const reason = cause instanceof Error ? cause.message : message;
  return reason.includes("certificate")
    ? `${reason} (give NODE_EXTRA_CA_CERTS the file of whoever signed the suite's)`
    : reason;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
