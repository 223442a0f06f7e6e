import type { Knex } from "knex";
import { letHashingGiveWay } from "./authn/hash-priority.ts";
import { createHashQueue, type HashQueue } from "./authn/hash-queue.ts";
import { createPasswords, type Passwords } from "./authn/password.ts";
import type { Config } from "./config.ts";
import { assertAnswers, connect } from "./database/connect.ts";
import { startEmbeddedPostgres } from "./database/embedded.ts";
import { listen } from "./database/listen.ts";
import { migrateToLatest, schemaState } from "./database/migrate.ts";
import { ensurePartitions } from "./database/partitions.ts";
import { errors } from "./errors.ts";
import { algorithmsOf } from "./issuers.ts";
import { ensureKeys } from "./keys/keystore.ts";
import { openSeal, type Seal } from "./keys/seal.ts";
import { developmentKey } from "./lib/development-key.ts";
import { createSafeFetch } from "./lib/fetch.ts";
import type { Logger } from "./lib/log.ts";
import { Group } from "./models/group.ts";
import { Organization } from "./models/organization.ts";
import { Setting } from "./models/setting.ts";
import { UserEmail } from "./models/user-email.ts";
import { UserProfile } from "./models/user-profile.ts";
import { User } from "./models/user.ts";

/** What nodes tell each other when it changed. */
const CHANNELS = [
  "lintel_clients",
  "lintel_resources",
  "lintel_keys",
  "lintel_terms",
  "lintel_authorization_types",
  "lintel_connections",
] as const;

/** How long a request's statement may take, in milliseconds; no proxy waits much longer for an answer. */
const STATEMENT_TIMEOUT = 20_000;

/** How much of the connections those may take who type passwords. */
const TRIES_SHARE = 0.3;

/** What the process owns: opened once, handed down in parts, closed in reverse. */
export interface Deps {
  readonly config: Config;
  readonly log: Logger;
  readonly knex: Knex;
  /** Where jobs and notifications connect: never through a transaction-pooling proxy. */
  readonly directUrl: string;
  readonly seal: Seal;
  readonly hashQueue: HashQueue;
  /** Whole tries to sign in with something that is hashed. */
  readonly triesQueue: HashQueue;
  readonly passwords: Passwords;
  readonly fetch: typeof fetch;
  /** Calls back when one of these changed in the database, and when changes may have been missed. */
  onChange(channel: (typeof CHANNELS)[number], handler: () => void): void;
  close(): Promise<void>;
}

/**
 * Opens everything a server needs, and fails before anything listens when something is not right: the schema, the
 * encryption key, password hashing on this machine.
 *
 * @param hashes most passwords that are hashed at once, where the cores are not all this process's.
 */
export async function openDeps(config: Config, log: Logger, hashes?: number): Promise<Deps> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed()) await closer();
  };
  try {
    const embedded =
      config.databaseUrl === undefined
        ? await startEmbeddedPostgres({ dataDir: config.dataDir, log })
        : undefined;
    if (embedded !== undefined) closers.push(() => embedded.stop());
    const url = config.databaseUrl ?? embedded?.url ?? "";
    const directUrl = config.databaseDirectUrl ?? url;

    const knex = connect({
      url,
      applicationName: "lintel",
      poolMax: config.databasePool,
      statementTimeout: STATEMENT_TIMEOUT,
      log,
    });
    closers.push(() => knex.destroy());
    await prepareSchema(config, { knex, url, log });

    await rememberIssuer(config, knex, log);
    for (const issuer of config.issuers)
      if (issuer.presetName === "conformance" && config.mode === "production")
        log.warn(
          { issuer: issuer.url },
          "the preset conformance is for test suites, not for people",
        );

    const encryptionKey = config.encryptionKey ?? developmentKey(config.dataDir);
    const seal = await openSeal(knex, { encryptionKey });
    await ensureKeys(knex, seal, new Date(), algorithmsOf(config.issuers));

    const hashQueue = createHashQueue(hashes === undefined ? {} : { concurrency: hashes });
    // One gets ready while others are hashed: more of them only keep tokens waiting.
    const triesQueue = createHashQueue({
      concurrency: Math.min(
        hashQueue.concurrency + 1,
        Math.ceil(config.databasePool * TRIES_SHARE),
      ),
    });
    const passwords = createPasswords(hashQueue, triesQueue);
    await passwords.selfTest();
    letHashingGiveWay();

    const handlers = new Map<string, (() => void)[]>();
    const notify = (channel: string) => handlers.get(channel)?.forEach((handler) => handler());
    const listener = await listen({
      url: directUrl,
      channels: [...CHANNELS],
      onNotify: notify,
      onReconnect: () => [...handlers.keys()].forEach(notify),
      log,
    });
    closers.push(() => listener.stop());

    return {
      config,
      log,
      knex,
      directUrl,
      seal,
      hashQueue,
      triesQueue,
      passwords,
      fetch: createSafeFetch({
        allowLoopback: config.mode !== "production",
        allowHttp: config.mode !== "production",
        trustedOrigins: config.trustedOrigins,
        log,
      }),
      onChange(channel, handler) {
        handlers.set(channel, [...(handlers.get(channel) ?? []), handler]);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Development migrates by itself; in production an operator does, and a server refuses a schema it does not know. */
async function prepareSchema(
  config: Config,
  { knex, url, log }: { knex: Knex; url: string; log: Logger },
): Promise<void> {
  await assertAnswers(knex);
  if (config.mode === "production") {
    const state = await schemaState(knex);
    if (state !== "current") throw errors.schemaNotCurrent(state);
  } else {
    // A migration takes as long as it takes.
    const unhurried = connect({ url, applicationName: "lintel", poolMax: 2, log });
    await migrateToLatest(unhurried, log).finally(() => unhurried.destroy());
  }
  await ensurePartitions(knex, new Date());
  // Joined look-ups need the columns; asked for here, nobody asks in the middle of a transaction.
  for (const model of [User, UserEmail, UserProfile, Group, Organization])
    await model.fetchTableMetadata({ knex });
}

/**
 * Notes the issuer in the database, and says when it is another one than before: tokens, consents and passkeys of
 * the old one mean nothing to clients that know the new one, so this is rarely on purpose.
 */
async function rememberIssuer(config: Config, knex: Knex, log: Logger): Promise<void> {
  const known = await Setting.query(knex).findById("issuer");
  if (known?.value === config.issuer) return;
  if (known !== undefined) {
    log.warn({ before: known.value, now: config.issuer }, "ISSUER changed: clients must be told");
  }
  await Setting.query(knex)
    .insert({ key: "issuer", value: config.issuer, updatedAt: new Date() })
    .onConflict("key")
    .merge();
}
