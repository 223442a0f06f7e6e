import { setTimeout as delay } from "node:timers/promises";

import { Client, escapeIdentifier } from "pg";

import type { Logger } from "../lib/log.ts";

const RETRY_FIRST_MS = 1000;
const RETRY_MOST_MS = 30_000;
/** How long a connection may be dead without anyone noticing; a lost network sends no FIN. */
const HEARTBEAT_MS = 30_000;
const ANSWER_MS = 10_000;

export interface ListenOptions {
  /** A direct connection: LISTEN gets nothing through a transaction-pooling pgbouncer. */
  readonly url: string;
  readonly channels: readonly string[];
  onNotify(channel: string, payload: string): void;
  /** Notifications may have been missed: drop every cache that relies on them. */
  onReconnect(): void;
  readonly log: Logger;
}

/**
 * Listens for NOTIFY on one connection of its own, which it opens again (after 1 s, at most 30 s) whenever it is
 * lost. Resolves after the first attempt to connect, whether or not that succeeded, and never rejects; after every
 * later success it calls `onReconnect`.
 */
export async function listen(options: ListenOptions): Promise<{ stop(): Promise<void> }> {
  const stopping = new AbortController();
  const first = Promise.withResolvers<void>();
  const finished = keepListening(options, stopping.signal, first.resolve);
  await first.promise;
  return {
    async stop() {
      stopping.abort();
      // An attempt to reach a host that does not answer may take its time, and nothing depends on it.
      await Promise.race([finished, delay(2000, undefined, { ref: false })]);
    },
  };
}

async function keepListening(
  options: ListenOptions,
  stopping: AbortSignal,
  firstAttemptMade: () => void,
): Promise<void> {
  let wait = RETRY_FIRST_MS;
  for (let attempt = 1; !stopping.aborted; attempt += 1) {
    const client = new Client({
      connectionString: options.url,
      application_name: "lintel listen",
      connectionTimeoutMillis: ANSWER_MS,
      query_timeout: ANSWER_MS,
      keepAlive: true,
    });
    const ended = new Promise<void>((resolve) => {
      client.once("end", resolve);
      client.on("error", () => resolve());
    });
    client.on("notification", ({ channel, payload }) =>
      guard(options.log, () => options.onNotify(channel, payload ?? "")),
    );
    try {
      await client.connect();
      await client.query(
        options.channels.map((name) => `LISTEN ${escapeIdentifier(name)}`).join(";"),
      );
      wait = RETRY_FIRST_MS;
      if (attempt > 1) guard(options.log, () => options.onReconnect());
      firstAttemptMade();
      await untilLost(client, ended, stopping);
      if (!stopping.aborted) options.log.warn("the connection for notifications was lost");
    } catch (error) {
      options.log.warn({ err: error, retryInMs: wait }, "no connection for notifications");
    }
    firstAttemptMade();
    await close(client, ended);
    // A random part, so that a restarted database does not meet every process at the same moment.
    await delay(wait * (0.75 + Math.random() / 4), undefined, { signal: stopping }).catch(
      () => undefined,
    );
    wait = Math.min(wait * 2, RETRY_MOST_MS);
  }
}

/** Resolves when the connection has ended, does not answer any more, or is not wanted any more. */
async function untilLost(
  client: Client,
  ended: Promise<void>,
  stopping: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([stopping, over.signal]);
  void ended.then(() => over.abort());
  while (!signal.aborted) {
    await delay(HEARTBEAT_MS, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted) await client.query("SELECT 1");
  }
}

async function close(client: Client, ended: Promise<void>): Promise<void> {
  // end() says goodbye to the server; where that gets no answer, nobody waits for one.
  await Promise.race([
    client.end().catch(() => undefined),
    ended,
    delay(1000, undefined, { ref: false }),
  ]);
}

function guard(log: Logger, callback: () => void): void {
  try {
    callback();
  } catch (error) {
    log.error({ err: error }, "a callback for notifications failed");
  }
}
