import { UnsafeUrlError, type UnsafeUrlReason } from "../../lib/fetch.ts";
import { UpstreamError, type Trace } from "../connector.ts";

/** What a provider's server said, its body read. */
export interface Reply {
  /** Which of its addresses it was, in words. */
  readonly what: string;
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

interface Question {
  /** Which of its addresses it is, in words, such as `token endpoint`. */
  readonly what: string;
  readonly url: string;
  readonly method?: "GET" | "POST";
  readonly headers?: Headers;
  readonly body?: URLSearchParams;
}

/** What the operator could do about an address that we do not go to. */
const FORBIDDEN: Partial<Record<UnsafeUrlReason, string>> = {
  url: "Correct the address.",
  scheme: "The provider must be reached with https.",
  userinfo: "Remove the user name from the address.",
  port: "Name the origin in TRUSTED_ORIGINS if it is yours.",
  address: "Name the origin in TRUSTED_ORIGINS if it is in your own network.",
};

/**
 * Asks a provider's server, and notes what came.
 *
 * @throws UpstreamError `unavailable` where there is no answer, or one of a server in trouble; `misconfigured` for an
 *   address that nothing may go to.
 */
export async function ask(
  fetch: typeof globalThis.fetch,
  { what, url, headers = new Headers(), ...request }: Question,
  trace: Trace,
): Promise<Reply> {
  if (!headers.has("accept")) headers.set("accept", "application/json");
  // GitHub answers nobody who does not say who asks.
  headers.set("user-agent", "lintel");
  const place = placeOf(url);
  let answer: Response;
  try {
    answer = await fetch(url, { ...request, headers });
  } catch (cause) {
    throw unreachable(what, place, cause);
  }
  const { status } = answer;
  trace(`${what} answered`, { url: place, status });
  if (status >= 500 || status === 429)
    throw new UpstreamError(
      "unavailable",
      "http.status",
      `The ${what} ${place} answered with status ${status}.`,
      { hint: "The provider is in trouble or refuses more requests for now; look at its own log." },
    );
  return { what, url: place, status, headers: answer.headers, text: await answer.text() };
}

/**
 * The JSON object in an answer.
 *
 * @throws UpstreamError `unavailable` where it is something else.
 */
export function jsonOf(reply: Reply): Record<string, unknown> {
  const value = anyJsonOf(reply);
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw noJson(reply);
}

/** Whatever JSON is in an answer. */
export function anyJsonOf(reply: Reply): unknown {
  try {
    return JSON.parse(reply.text);
  } catch {
    throw noJson(reply);
  }
}

function noJson({ what, url, status, headers }: Reply): UpstreamError {
  const type = headers.get("content-type") ?? "no content type";
  return new UpstreamError(
    "unavailable",
    "http.json",
    `The ${what} ${url} answered with status ${status} and ${type}, where a JSON object was expected.`,
    { hint: "Check that this is the right address; a proxy or an error page may be in the way." },
  );
}

function unreachable(what: string, place: string, cause: unknown): UpstreamError {
  const refused = cause instanceof UnsafeUrlError ? cause : undefined;
  const hint = refused === undefined ? undefined : FORBIDDEN[refused.reason];
  const reason = hint === undefined ? "unavailable" : "misconfigured";
  const rule = refused === undefined ? "http.unreachable" : `http.${refused.reason}`;
  const why = refused?.message ?? networkProblem(cause);
  return new UpstreamError(reason, rule, `The ${what} ${place} was not reached: ${why}`, {
    cause,
    hint: hint ?? "Check the address, the name service and what lies between here and there.",
  });
}

/** What the network said, such as ECONNREFUSED, which `fetch` hides in the cause. */
function networkProblem(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
}

/** An address without its query, which is nobody's business. */
function placeOf(url: string): string {
  return url.replace(/[?#].*$/s, "");
}
