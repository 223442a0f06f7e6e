import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { aCertificate, CN, O, type CertificateOptions, type Identity } from "./certificates.ts";
import type { Target } from "./rp.ts";
import { aServer, freePort, type TestServer } from "./server.ts";

/** A server that ends TLS itself, and asks for client certificates at a port of its own. */
export interface MutualServer {
  readonly server: TestServer;
  /** Where people go, and clients without a certificate. */
  readonly target: Target;
  readonly authority: Identity;
  readonly files: { readonly certificate: string; readonly key: string };
  /** The second port, reached with a certificate or with none; `path` is an issuer's. */
  shows(identity?: Identity, path?: string): Target;
  stop(): Promise<void>;
}

/** A certificate for this machine. */
export function aServerCertificate(authority: Identity): Identity {
  const san: CertificateOptions["san"] = [
    ["dns", "localhost"],
    ["ip", "127.0.0.1"],
  ];
  return aCertificate({ subject: [[[CN, "localhost"]]], san }, authority);
}

export function anAuthority(name = "Trusted"): Identity {
  return aCertificate({ subject: [[[O, name]]], isAuthority: true });
}

/** Starts one; `settings` are environment variables on top of the usual ones. */
export async function aMutualServer(settings: Record<string, string> = {}): Promise<MutualServer> {
  const directory = mkdtempSync(join(tmpdir(), "lintel-tls-"));
  const [authority, own] = [anAuthority(), anAuthority("Web")];
  const identity = aServerCertificate(own);
  const write = (name: string, content: string) => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  const files = {
    certificate: write("cert.pem", identity.cert),
    key: write("key.pem", identity.key),
  };
  const [port, mutualPort] = [await freePort(), await freePort()];
  const issuer = `https://localhost:${port}`;
  const server = await aServer({
    PORT: String(port),
    ISSUER: issuer,
    MORE_ISSUERS: `bank=fapi2@${issuer}/bank,open=conformance@${issuer}/open,old=fapi1@${issuer}/old`,
    TLS_CERT_FILE: files.certificate,
    TLS_KEY_FILE: files.key,
    TLS_CLIENT_CA_FILE: write("ca.pem", authority.cert),
    MTLS_PORT: String(mutualPort),
    ...settings,
  });
  const ca = own.cert;
  return {
    server,
    target: { issuer, port, tls: { ca } },
    authority,
    files,
    shows: (shown, path = "") => ({
      issuer: `https://localhost:${mutualPort}${path}`,
      port: mutualPort,
      tls: shown === undefined ? { ca } : { ca, cert: shown.cert, key: shown.key },
    }),
    async stop() {
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
