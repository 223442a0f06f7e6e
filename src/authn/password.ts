import { randomBytes } from "node:crypto";
import { argon2, assertRight } from "./argon2/package.ts";
import { errors } from "../errors.ts";
import { createHashQueue, type HashQueue } from "./hash-queue.ts";
import { CURRENT } from "./hashes/argon2.ts";
import { readHash, type StoredHash } from "./hashes/read.ts";
import { isTooLong, normalisePassword } from "./password-policy.ts";

/** Makes and checks password hashes. */
export interface Passwords {
  /**
   * Hashes a new password with argon2id (RFC 9106) as a PHC string.
   *
   * @throws AppError `weak_password` where it is longer than we accept, `busy` where the queue is full.
   */
  hash(password: string): Promise<string>;
  /**
   * Checks a password against a stored hash. Without one, or with one that is not ours to verify, it costs the same
   * and fails, so that time does not tell whether somebody exists (T-62).
   *
   * @throws AppError `busy` where the queue is full.
   */
  verify(storedHash: string | undefined, password: string): Promise<PasswordCheck>;
  /**
   * Does a whole try, its counters, its hash and its answer, when its turn comes: of the many of a rush only few are at
   * the database and in the program at a time, where tokens would wait behind them.
   *
   * @throws AppError `busy` before anything is counted, so that a rush costs nobody a try (T-71).
   */
  attempt<T>(work: () => Promise<T>): Promise<T>;
  /** Hashes and verifies one password; throws where this machine cannot. Called before the server listens. */
  selfTest(): Promise<void>;
}

interface PasswordCheck {
  readonly ok: boolean;
  /** Whether the password was right but its hash was made with other parameters than those of today. */
  readonly needsRehash: boolean;
}

const WRONG: PasswordCheck = { ok: false, needsRehash: false };

/**
 * Password hashing behind the bounded queue, which every hash passes.
 *
 * @param tries what every whole try passes.
 */
export function createPasswords(queue: HashQueue, tries: HashQueue = createHashQueue()): Passwords {
  const decoy = decoyHash();

  async function hash(password: string): Promise<string> {
    const text = normalisePassword(password);
    if (isTooLong(text)) throw errors.weakPassword("The password is longer than 256 characters.");
    return await queue.run(() =>
      argon2.hash(Buffer.from(text), {
        type: argon2.argon2id,
        memoryCost: CURRENT.m,
        timeCost: CURRENT.t,
        parallelism: CURRENT.p,
      }),
    );
  }

  async function verify(storedHash: string | undefined, password: string): Promise<PasswordCheck> {
    const text = normalisePassword(password);
    if (isTooLong(text)) return WRONG;
    const stored = storedHash === undefined ? undefined : readHash(storedHash);
    const ok = await queue.run(() => matches(stored, text));
    return ok ? { ok, needsRehash: stored?.isCurrent === false } : WRONG;
  }

  /**
   * A hash that was not made as today's are, such as an imported one, costs what its own algorithm costs, and today's
   * beside it where the password is wrong: never less than somebody unknown. With a slow algorithm it takes longer, which
   * tells that there is somebody who has not signed in since the import; the first sign-in replaces it (T-62).
   */
  async function matches(stored: StoredHash | undefined, text: string): Promise<boolean> {
    if (stored !== undefined && (await stored.verify(text))) return true;
    if (stored?.isCurrent !== true) await argon2.verify(decoy, Buffer.from(text));
    return false;
  }

  async function selfTest(): Promise<void> {
    await assertRight();
    const password = randomBytes(16).toString("base64url");
    const { ok, needsRehash } = await verify(await hash(password), password);
    if (!ok || needsRehash) throw new Error("password hashing does not work on this machine");
  }

  return Object.freeze({ hash, verify, attempt: tries.run, selfTest });
}

/** A hash of nothing: random salt, random tag, today's parameters. It costs what a real one costs. */
function decoyHash(): string {
  const [salt, tag] = [16, 32].map((bytes) =>
    randomBytes(bytes).toString("base64").replaceAll("=", ""),
  );
  return `$argon2id$v=19$m=${CURRENT.m},t=${CURRENT.t},p=${CURRENT.p}$${salt}$${tag}`;
}
