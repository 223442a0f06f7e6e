import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { fileURLToPath } from "node:url";

/** A key and a certificate of `localhost`, which nobody but {@link aHttpsServer} trusts. */
export const LOCALHOST_PEM = fileURLToPath(new URL("localhost.pem", import.meta.url));
const PEM = readFileSync(LOCALHOST_PEM);

/** A server under `https://localhost`, trusted by this process until it is closed. */
export async function aHttpsServer(
  listener: RequestListener,
): Promise<{ origin: string; close(): void }> {
  const trusted = getCACertificates();
  setDefaultCACertificates([...trusted, PEM.toString().replace(/^[^]*?(?=-----BEGIN CERT)/, "")]);
  const server = createServer({ key: PEM, cert: PEM }, listener);
  await once(server.listen(0, "localhost"), "listening");
  return {
    origin: `https://localhost:${(server.address() as AddressInfo).port}`,
    close() {
      setDefaultCACertificates(trusted);
      server.closeAllConnections();
      server.close();
    },
  };
}
