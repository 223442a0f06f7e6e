import { randomBytes } from "node:crypto";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createHashQueue } from "../../src/authn/hash-queue.ts";
import { createPasswords } from "../../src/authn/password.ts";
import { createClient } from "../../src/clients/clients.ts";
import { connect } from "../../src/database/connect.ts";
import { issuerOf } from "../../src/issuers.ts";
import { WebauthnCredential } from "../../src/models/webauthn-credential.ts";
import { createResource } from "../../src/resources/resources.ts";
import { createUser } from "../../src/users/users.ts";
import { startSmtpSink } from "../../test/mail/smtp-sink.ts";
import { LOCALHOST_PEM } from "../../test/support/https.ts";
import { freePort } from "../../test/support/server.ts";
import { aPasskey } from "../../test/support/passkeys.ts";
import { atEnd } from "../stage.ts";
import {
  APIS,
  CLIENTS,
  EDWARDS_PATH,
  ISSUER,
  PASSWORD,
  peopleNamed,
  PERMISSION,
  REDIRECT_URI,
  SECRET,
  SIGNED_OUT_URI,
  type Caller,
  type Passkey,
  type Person,
} from "../world.ts";

/** This checkout. */
const HERE = fileURLToPath(new URL("../..", import.meta.url));
const OBSERVER = new URL("observe.mjs", import.meta.url).href;
/** Connections of a Lintel, however many processes it is. */
const POOL = 10;
const START_TIMEOUT = 60_000;

/** A Lintel that answers, as it runs in production behind a proxy. */
export interface RunningLintel {
  readonly origin: string;
  readonly people: readonly Person[];
  readonly child: ChildProcess;
  /** What seals its secrets, so that others can be made that it takes for its own. */
  readonly encryptionKey: Buffer;
  /** Milliseconds from the start of the process to its first answer. */
  readonly startedIn: number;
  stop(): Promise<void>;
}

/** Migrates and fills a database, and starts `lintel start` on it. */
export async function startLintel(
  url: string,
  options: {
    people: number;
    profile?: string | undefined;
    /** How many processes share its port; one without workers unless said. */
    workers?: number | undefined;
    /** Leaves out what the launcher sets for a small memory. */
    defaultMemory?: boolean;
    /** The directory of another checkout, to run that instead. */
    root?: string | undefined;
    /** Further applications, each of people and for itself. */
    callers?: readonly Caller[];
    /** The server of their keys; a certificate of `localhost` is all that it needs. */
    keyServer?: string | undefined;
  },
): Promise<RunningLintel> {
  const { root = HERE } = options;
  const launcher = join(root, "src/lintel.mjs");
  const port = await freePort();
  const encryptionKey = randomBytes(32);
  const mail = await startSmtpSink();
  atEnd(() => mail.stop());
  const environment = {
    PATH: process.env["PATH"],
    NODE_ENV: "production",
    ISSUER,
    MORE_ISSUERS: `edwards=conformance@${ISSUER}${EDWARDS_PATH}`,
    HOST: "127.0.0.1",
    PORT: String(port),
    METRICS_PORT: "0",
    TRUSTED_PROXIES: "1",
    DATABASE_URL: url,
    DATABASE_POOL: String(Math.max(2, Math.floor(POOL / (options.workers ?? 1)))),
    ENCRYPTION_KEY: encryptionKey.toString("base64"),
    SMTP_URL: mail.url,
    ...(options.keyServer === undefined
      ? {}
      : { TRUSTED_ORIGINS: options.keyServer, NODE_EXTRA_CA_CERTS: LOCALHOST_PEM }),
  };
  const migration = spawn(process.execPath, [launcher, "migrate"], {
    env: environment,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = (await once(migration, "exit")) as [number | null];
  if (code !== 0) throw new Error("the database could not be migrated");
  const people = await fill(url, options);

  const args =
    options.workers === undefined
      ? ["--import", OBSERVER, launcher, "start"]
      : [launcher, "start", "--workers", String(options.workers)];
  // The launcher would add these by itself, but for the channel by which the server is observed.
  const { flags, environment: allocator } =
    options.defaultMemory === true
      ? { flags: [] }
      : JSON.parse(readFileSync(join(root, "src/little-memory.json"), "utf8"));
  const origin = `http://127.0.0.1:${port}`;
  const start = async (profile: readonly string[] = []): Promise<ChildProcess> => {
    const server = spawn(process.execPath, [...flags, ...profile, ...args], {
      env: { ...allocator, ...environment },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    await untilReady(origin, server);
    return server;
  };
  // Whoever starts first compiles, and keeps Node's compiler of TypeScript in memory; from then on it is read.
  await end(await start());
  const startedAt = performance.now();
  const child = await start(
    options.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${options.profile}`],
  );
  return {
    origin,
    people,
    child,
    encryptionKey,
    startedIn: performance.now() - startedAt,
    stop: () => end(child),
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

async function untilReady(origin: string, child: ChildProcess): Promise<void> {
  for (const deadline = Date.now() + START_TIMEOUT; Date.now() < deadline; await delay(10)) {
    if (child.exitCode !== null) break;
    const answer = await fetch(`${origin}/readyz`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok === true) return;
  }
  child.kill("SIGKILL");
  throw new Error("Lintel does not start");
}

/** Registers the clients, APIs and people of {@link ../world.ts}. */
async function fill(
  url: string,
  { people: count, callers = [], keyServer }: Parameters<typeof startLintel>[1],
): Promise<Person[]> {
  const knex = connect({ url, applicationName: "lintel bench" });
  const now = new Date();
  const issuers = [
    issuerOf("", ISSUER, "production"),
    issuerOf("edwards", `${ISSUER}${EDWARDS_PATH}`, "conformance"),
  ];
  const client = (clientId: string, metadata: object, issuer = ""): Promise<unknown> =>
    createClient(knex, { clientId, secret: SECRET, metadata, issuer }, now, { issuers });
  const machine = { grant_types: ["client_credentials"], redirect_uris: [], response_types: [] };
  try {
    const web = {
      client_name: "Bench",
      redirect_uris: [REDIRECT_URI],
      post_logout_redirect_uris: [SIGNED_OUT_URI],
      grant_types: ["authorization_code", "refresh_token"],
    };
    await client(CLIENTS.web, web);
    const both = { ...web, grant_types: [...web.grant_types, "client_credentials"] };
    for (const { id, privateKey } of callers)
      if (privateKey === undefined) await client(id, both);
      else {
        const key = {
          token_endpoint_auth_method: "private_key_jwt",
          jwks_uri: `${keyServer}/${id}`,
        };
        await createClient(knex, { clientId: id, metadata: { ...both, ...key } }, now, { issuers });
      }
    await client(CLIENTS.machine, { client_name: "Bench machine", ...machine });
    await client(CLIENTS.edwards, { client_name: "Bench machine", ...machine }, "edwards");
    for (const [alg, identifier] of Object.entries(APIS)) {
      const issuer = alg === "EdDSA" ? "edwards" : "";
      const definition = {
        identifier,
        name: alg,
        permissions: { [PERMISSION]: "Read" },
        clients: { [issuer === "" ? CLIENTS.machine : CLIENTS.edwards]: null },
        signing_alg: alg,
      };
      await createResource(knex, { definition, issuer }, now, issuers);
    }
    const passwordHash = await createPasswords(createHashQueue()).hash(PASSWORD);
    const add = async ({ email }: Person): Promise<string> => {
      const displayName = "Ada Lovelace";
      const user = { email, verified: true, displayName, passwordHash, via: "admin" } as const;
      return (await createUser(knex, user, now)).id;
    };
    const people: Person[] = [];
    for (const person of peopleNamed("typist", count)) {
      await add(person);
      people.push(person);
    }
    for (const person of peopleNamed("holder", count))
      people.push({ ...person, passkey: await passkeyOf(knex, await add(person)) });
    return people;
  } finally {
    await knex.destroy();
  }
}

async function passkeyOf(knex: ReturnType<typeof connect>, userId: string): Promise<Passkey> {
  const database = { knex, url: "", drop: async () => {} };
  const device = await aPasskey({ database, issuer: ISSUER }, userId);
  const { privateKey, userHandle } = device.toVirtual("");
  const { publicKey } = await WebauthnCredential.query(knex).findOne({ userId }).throwIfNotFound();
  return {
    id: device.id,
    userHandle: Buffer.from(userHandle, "base64").toString("base64url"),
    privateKey,
    publicKey: publicKey.toString("base64"),
  };
}
