import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { createPasswords } from "../../src/authn/password.ts";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { createClient } from "../../src/clients/clients.ts";
import { readConfig, type Config } from "../../src/config.ts";
import { AppError } from "../../src/errors.ts";
import type { PresetName } from "../../src/issuers.ts";
import { start, type Running } from "../../src/main.ts";
import { createLogger, type Logger } from "../../src/lib/log.ts";
import { createUser } from "../../src/users/users.ts";
import { testDatabase, type TestDatabase } from "./database.ts";

/** A Lintel of a test's own: the real server on a free port, over a database of its own. */
export interface TestServer extends Running {
  readonly issuer: string;
  readonly demoOrigin: string;
  readonly database: TestDatabase;
  /** Everything that was logged, one JSON object a line. */
  readonly logged: () => string;
  /** A second server on the same database, as behind a load balancer: same issuer, another port. */
  another(): Promise<{ origin: string; running: Running }>;
}

export const PASSWORD = "correct horse battery staple";
export const ENCRYPTION_KEY = randomBytes(32).toString("base64");

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Whose users and clients a test makes. */
interface WithDatabase {
  readonly database: Pick<TestDatabase, "knex">;
}

/** Starts a server; `settings` are environment variables on top of the usual ones. */
export async function aServer(settings: Record<string, string> = {}): Promise<TestServer> {
  const database = await testDatabase();
  const dataDir = mkdtempSync(join(tmpdir(), "lintel-test-data-"));
  const lines: string[] = [];
  const log = createLogger({
    level: "debug",
    destination: new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(chunk.toString());
        done();
      },
    }),
  });
  const { config, environment, running } = await startOnFreePorts(
    { DATABASE_URL: database.url, DATA_DIR: dataDir, ENCRYPTION_KEY, ...settings },
    log,
  );
  const others: Running[] = [];
  return {
    ...running,
    issuer: config.issuer,
    demoOrigin: `http://localhost:${config.demoPort}`,
    database,
    logged: () => lines.join(""),
    async another() {
      const otherPort = await freePort();
      const other = await start(
        readConfig({
          ...environment,
          ISSUER: config.issuer,
          PORT: String(otherPort),
          DEMO_PORT: String(await freePort()),
        }),
        log,
      );
      others.push(other);
      return { origin: `http://localhost:${otherPort}`, running: other };
    },
    async stop() {
      for (const other of others) await other.stop();
      await running.stop();
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Starts a server with further issuers, each at its name below the first: `{ open: "conformance" }` is at `/open`. */
export async function aServerWith(
  issuers: Readonly<Record<string, PresetName>>,
  settings: Record<string, string> = {},
): Promise<TestServer> {
  const port = await freePort();
  const more = Object.entries(issuers).map(
    ([name, preset]) => `${name}=${preset}@http://localhost:${port}/${name}`,
  );
  return aServer({ PORT: String(port), MORE_ISSUERS: more.join(","), ...settings });
}

/** Where one of these is. */
export function issuerAt(
  { issuer, port }: Pick<TestServer, "issuer" | "port">,
  name: string,
): { issuer: string; port: number } {
  return { issuer: `${issuer}/${name}`, port };
}

/** Starts a server where nobody listens; somebody else may take a port between the look and the use of it. */
async function startOnFreePorts(
  settings: Record<string, string>,
  log: Logger,
  tries = 3,
): Promise<{ config: Config; environment: Record<string, string>; running: Running }> {
  const [port, demoPort] = [await freePort(), await freePort()];
  const environment = { PORT: String(port), DEMO_PORT: String(demoPort), ...settings };
  const config = readConfig(environment);
  try {
    return { config, environment, running: await start(config, log) };
  } catch (error) {
    const isTaken = error instanceof AppError && error.code === "cannot_listen";
    if (!isTaken || settings["PORT"] !== undefined || tries === 1) throw error;
    return startOnFreePorts(settings, log, tries - 1);
  }
}

let passwordHash: Promise<string> | undefined;

/** A user with a verified address and {@link PASSWORD}. */
export async function aUser(
  { database }: WithDatabase,
  options: { email?: string; displayName?: string } = {},
): Promise<{ id: string; email: string }> {
  passwordHash ??= createPasswords(createHashQueue()).hash(PASSWORD);
  const email = options.email ?? `ada-${randomBytes(4).toString("hex")}@example.com`;
  const hash = await passwordHash;
  const user = await database.knex.transaction((trx) =>
    createUser(
      trx,
      {
        email,
        verified: true,
        displayName: options.displayName ?? "Ada Lovelace",
        passwordHash: hash,
        via: "admin",
      },
      new Date(),
    ),
  );
  return { id: user.id, email };
}

/** A registered client; `metadata` is on top of a confidential web client with refresh tokens. */
export async function aClient(
  { database, deps }: WithDatabase & Partial<Pick<TestServer, "deps">>,
  metadata: Record<string, unknown> = {},
  issuer?: string,
): Promise<{ clientId: string; clientSecret: string; redirectUri: string }> {
  const redirectUri = "https://rp.example/callback";
  const { client, secret } = await database.knex.transaction((trx) =>
    createClient(
      trx,
      {
        metadata: {
          client_name: "Acme Photos",
          redirect_uris: [redirectUri],
          post_logout_redirect_uris: ["https://rp.example/"],
          grant_types: ["authorization_code", "refresh_token"],
          ...metadata,
        },
        issuer,
      },
      new Date(),
      ...(deps === undefined
        ? []
        : [{ issuers: deps.config.issuers, seal: async () => deps.seal }]),
    ),
  );
  return {
    clientId: client.clientId,
    clientSecret: secret ?? "",
    redirectUri: client.redirectUris[0] ?? redirectUri,
  };
}
