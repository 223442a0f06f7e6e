import { randomBytes } from "node:crypto";
import argon2 from "argon2";
import { errors } from "../errors.ts";
import type { HashQueue } from "./hash-queue.ts";
import { isTooLong, normalisePassword } from "./password-policy.ts";
import { CURRENT, readPhc } from "./phc.ts";

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
  /** Throws `busy` where the queue is full: asked before a try is counted, so that a rush costs nobody a try (T-71). */
  assertRoom(): void;
  /** Hashes and verifies one password; throws where this machine cannot. Called before the server listens. */
  selfTest(): Promise<void>;
}

interface PasswordCheck {
  readonly ok: boolean;
  /** Whether the password was right but its hash was made with other parameters than those of today. */
  readonly needsRehash: boolean;
}

const WRONG: PasswordCheck = { ok: false, needsRehash: false };

/** Password hashing behind the bounded queue, which every hash passes. */
export function createPasswords(queue: HashQueue): Passwords {
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
    const stored = storedHash === undefined ? undefined : readPhc(storedHash);
    const against = storedHash === undefined || stored === undefined ? decoy : storedHash;
    const ok = await queue.run(() => argon2.verify(against, Buffer.from(text)));
    if (!ok || stored === undefined) return WRONG;
    return { ok, needsRehash: !stored.isCurrent };
  }

  async function selfTest(): Promise<void> {
    const password = randomBytes(16).toString("base64url");
    const { ok, needsRehash } = await verify(await hash(password), password);
    if (!ok || needsRehash) throw new Error("password hashing does not work on this machine");
  }

  return Object.freeze({ hash, verify, assertRoom: () => queue.assertRoom(), selfTest });
}

/** A hash of nothing: random salt, random tag, today's parameters. It costs what a real one costs. */
function decoyHash(): string {
  const [salt, tag] = [16, 32].map((bytes) =>
    randomBytes(bytes).toString("base64").replaceAll("=", ""),
  );
  return `$argon2id$v=19$m=${CURRENT.m},t=${CURRENT.t},p=${CURRENT.p}$${salt}$${tag}`;
}
