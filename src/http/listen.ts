import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { TlsOptions } from "node:tls";
import { errors } from "../errors.ts";

/** Limits on what a slow or hostile peer can hold on to; Node's own are an order of magnitude looser. */
const LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: 16_384,
};

/** Milliseconds that requests in progress get to finish when the process is told to stop. */
const DRAIN = 10_000;

/** A server that can take up renewed certificates. */
export type TlsServer = ReturnType<typeof createTlsServer>;

/**
 * Starts a server.
 *
 * @throws AppError `cannot_listen` when the port is taken or not ours to take.
 */
export async function listenOn(
  handler: Parameters<typeof createServer>[1],
  port: number,
  host: string,
): Promise<Server> {
  return opened(createServer(LIMITS, handler), port, host);
}

/**
 * Starts a server that speaks TLS.
 *
 * @throws AppError `cannot_listen` when the port is taken or not ours to take.
 */
export async function listenWithTls(
  handler: Parameters<typeof createServer>[1],
  port: number,
  host: string,
  tls: TlsOptions,
): Promise<TlsServer> {
  return opened(
    createTlsServer({ ...LIMITS, handshakeTimeout: 10_000, ...tls }, handler),
    port,
    host,
  );
}

async function opened<S extends Server | TlsServer>(
  server: S,
  port: number,
  host: string,
): Promise<S> {
  server.maxHeadersCount = 100;
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    throw errors.cannotListen(host, port, cause);
  }
  return server;
}

/** Takes no new connections and waits for the requests in progress, but not for ever. */
export async function drain(server: Server | TlsServer): Promise<void> {
  const closed = once(server, "close");
  server.close();
  // A connection that was busy becomes idle, and would be kept alive for a next request.
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const timer = setTimeout(() => server.closeAllConnections(), DRAIN);
  await closed;
  clearInterval(idle);
  clearTimeout(timer);
}

/** The port a server got, which matters when it was told to take any. */
export function portOf(server: Server | TlsServer): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
