import type { Knex } from "knex";
import { FederationTrace } from "../models/federation-trace.ts";
import { UpstreamError, type Trace, type TraceStep } from "./connector.ts";

const KEPT = 14 * 24 * 60 * 60 * 1000;
const MOST_STEPS = 60;
const MOST_ENTRIES = 30;
const LONGEST_TEXT = 500;

/** A conversation with an identity provider, step by step. */
export interface Tracing {
  readonly trace: Trace;
  readonly steps: readonly TraceStep[];
}

/** Begins one. What is told is cut to what an operator can read: no secret belongs in it. */
export function startTrace(): Tracing {
  const began = performance.now();
  const steps: TraceStep[] = [];
  return {
    steps,
    trace(step, detail) {
      if (steps.length >= MOST_STEPS) return;
      const at = Math.round(performance.now() - began);
      steps.push(detail === undefined ? { at, step } : { at, step, detail: shortened(detail) });
    },
  };
}

/** The last step of a conversation that failed: why, and what the operator could do. */
export function traceFailure({ trace }: Tracing, error: UpstreamError): void {
  const { reason, rule, message, hint } = error;
  trace("failed", { reason, rule, message, ...(hint === undefined ? {} : { hint }) });
}

/** Keeps a conversation that failed for as long as somebody may ask why, under the number that the page shows. */
export async function keepTrace(
  knex: Knex,
  {
    supportId,
    providerId,
    error,
    steps,
  }: {
    supportId: string;
    providerId: string;
    error: UpstreamError;
    steps: readonly TraceStep[];
  },
): Promise<void> {
  const now = new Date();
  await FederationTrace.query(knex)
    .insert({
      supportId,
      providerId,
      reason: error.reason,
      steps: [...steps],
      createdAt: now,
      expiresAt: new Date(now.getTime() + KEPT),
    })
    .onConflict("supportId")
    .ignore();
}

/** What others wrote may be long, and may hold what no database keeps as text. */
function shortened(detail: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(detail).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.slice(0, MOST_ENTRIES).map(short) : short(value),
    ]),
  );
}

function short(value: unknown): unknown {
  if (typeof value !== "string") return value;
  return value.replaceAll(/[\p{Cc}\p{Cs}]+/gu, " ").slice(0, LONGEST_TEXT);
}
