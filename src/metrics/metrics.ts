import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Middleware } from "koa";
import type { Knex } from "knex";
import {
  AggregatorRegistry,
  Counter,
  Gauge,
  Histogram,
  Registry,
  collectDefaultMetrics,
} from "prom-client";
import type { HashQueue } from "../authn/hash-queue.ts";

/** The first segments of addresses that get a label of their own; anything else is `other`, so series stay few. */
const ROUTES = new Set([
  "auth",
  "token",
  "me",
  "jwks",
  "request",
  "session",
  "device",
  "backchannel",
  "approve",
  "interaction",
  "setup",
  "assets",
  ".well-known",
  "healthz",
  "readyz",
]);

/** What Prometheus reads, on a port that people do not reach. No label names a user, a client or an address. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Histogram<"route" | "method" | "status">;
  readonly #purged: Counter<"table">;

  constructor(needs: { knex: Knex; hashQueue: HashQueue; triesQueue: HashQueue }) {
    const { knex, hashQueue, triesQueue } = needs;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#requests = new Histogram({
      name: "lintel_http_request_duration_seconds",
      help: "Time to answer a request",
      labelNames: ["route", "method", "status"],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    });
    this.#purged = new Counter({
      name: "lintel_purged_rows_total",
      help: "Expired rows that were removed",
      labelNames: ["table"],
      registers,
    });
    gauge(
      registers,
      "lintel_password_hashes_running",
      "Password hashes in progress",
      () => hashQueue.running,
    );
    gauge(
      registers,
      "lintel_password_hashes_waiting",
      "Password hashes that wait",
      () => hashQueue.waiting + triesQueue.waiting,
    );
    const { pool } = knex.client;
    gauge(registers, "lintel_database_connections_used", "Connections in use", () =>
      pool.numUsed(),
    );
    gauge(
      registers,
      "lintel_database_connections_waiting",
      "Requests that wait for a connection",
      () => pool.numPendingAcquires(),
    );
  }

  /** Times every request. */
  readonly requests: Middleware = async (ctx, next) => {
    const end = this.#requests.startTimer();
    await next();
    end({
      route: routeOf(ctx.path),
      method: ctx.method,
      status: `${Math.floor(ctx.status / 100)}xx`,
    });
  };

  /** Counts an answer that was there before it was asked for. */
  readonly prepared = (path: string): void => {
    this.#requests.observe({ route: routeOf(path), method: "GET", status: "2xx" }, 0);
  };

  purged(table: string, rows: number): void {
    this.#purged.inc({ table }, rows);
  }

  /** Answers `GET /metrics`. */
  readonly handler = answerMetrics(async () => ({
    text: await this.#registry.metrics(),
    contentType: this.#registry.contentType,
  }));

  /** Has the process that started this worker add these to those of the others. */
  shareWithOthers(): void {
    AggregatorRegistry.setRegistries([this.#registry]);
    // It listens for the question from now on.
    void new AggregatorRegistry();
  }
}

/** Answers `GET /metrics` for all workers together: what is counted is added up. */
export function workersMetrics(): RequestListener {
  const registry = new AggregatorRegistry();
  return answerMetrics(async () => ({
    text: await registry.clusterMetrics(),
    contentType: registry.contentType,
  }));
}

function answerMetrics(
  read: () => Promise<{ text: string; contentType: string }>,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    if (request.method !== "GET" || request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    try {
      const { text, contentType } = await read();
      response.writeHead(200, { "Content-Type": contentType }).end(text);
    } catch {
      response.writeHead(503).end();
    }
  };
}

function routeOf(path: string): string {
  const segment = path.split("/")[1] ?? "";
  if (segment === "") return "home";
  return ROUTES.has(segment) ? segment : "other";
}

function gauge(registers: Registry[], name: string, help: string, read: () => number): Gauge {
  return new Gauge({
    name,
    help,
    registers,
    collect() {
      this.set(read());
    },
  });
}
