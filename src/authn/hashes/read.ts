import { readArgon2, readPhc } from "./argon2.ts";
import { readBcrypt } from "./bcrypt.ts";
import { readPbkdf2 } from "./pbkdf2.ts";
import { readPhpass } from "./phpass.ts";
import { readSaltedSha } from "./salted-sha.ts";
import type { ReadScheme, Verifier } from "./scheme.ts";
import { readFirebaseScrypt, readScrypt } from "./scrypt.ts";

/** A hash as it is stored, ready to be verified. */
export interface StoredHash {
  readonly verify: Verifier;
  /** Whether it was made as hashes are made today; another one is replaced at the next sign-in. */
  readonly isCurrent: boolean;
}

const SCHEMES: readonly ReadScheme[] = [
  readArgon2,
  readBcrypt,
  readScrypt,
  readFirebaseScrypt,
  readPbkdf2,
  readPhpass,
  readSaltedSha,
];

/** Reads a stored hash, ours or an imported one; `undefined` where it is not one that we verify (T-61). */
export function readHash(stored: string): StoredHash | undefined {
  for (const read of SCHEMES) {
    const verify = read(stored);
    if (verify !== undefined) return { verify, isCurrent: readPhc(stored)?.isCurrent === true };
  }
  return undefined;
}
