import type { RequestListener } from "node:http";
import type { Config } from "../config.ts";
import type { Logger } from "../lib/log.ts";
import { readTls, watchTls, type TlsFiles } from "../lib/tls.ts";
import { drain, listenOn, listenWithTls, portOf, type TlsServer } from "./listen.ts";

/** The ports on which people and clients are served. */
interface Listeners {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Opens `PORT`, and `MTLS_PORT` where there is one. Certificates are asked for at the second only: browsers would ask
 * people for one at the first (RFC 8705 §5).
 */
export async function listen(
  handler: RequestListener,
  { port, host, tls, mutualTls }: Pick<Config, "port" | "host" | "tls" | "mutualTls">,
  log: Logger,
): Promise<Listeners> {
  if (tls === undefined) {
    const server = await listenOn(handler, port, host);
    return { port: portOf(server), close: () => drain(server) };
  }
  const main = await listenWithTls(handler, port, host, readTls(tls));
  const stops = [keepRenewed(main, tls, false, log)];
  const servers = [main];
  const close = async (): Promise<void> => {
    for (const stop of stops) stop();
    await Promise.all(servers.map(drain));
  };
  if (mutualTls?.port === undefined) return { port: portOf(main), close };
  try {
    const options = readTls(tls, true);
    const mutual = await listenWithTls(handler, mutualTls.port, host, options);
    servers.push(mutual);
    stops.push(keepRenewed(mutual, tls, true, log));
  } catch (error) {
    await close();
    throw error;
  }
  return { port: portOf(main), close };
}

/** Takes up a renewed certificate without a restart, and keeps the one it has where the new files do not fit. */
function keepRenewed(
  server: TlsServer,
  files: TlsFiles,
  asksForCertificates: boolean,
  log: Logger,
): () => void {
  return watchTls(files, () => {
    try {
      server.setSecureContext(readTls(files, asksForCertificates));
      log.info("TLS certificate renewed");
    } catch (error) {
      log.error({ err: error }, "renewed TLS files cannot be used; the old ones stay");
    }
  });
}
