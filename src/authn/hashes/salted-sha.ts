import { hash } from "node:crypto";
import { BASE64, fromBase64, isSame, type Verifier } from "./scheme.ts";

/** Bytes that each digest has; what follows them is the salt. */
const SIZES: Readonly<Record<string, number>> = { sha1: 20, sha256: 32, sha512: 64 };

const SSHA = new RegExp(String.raw`^\$ssha-(?<digest>sha1|sha256|sha512)\$(?<both>${BASE64})$`);

/** Directories' `{SSHA}` (RFC 2307 with a salt): one digest of password and salt, cheap to guess until it is replaced. */
export function readSaltedSha(stored: string): Verifier | undefined {
  const { digest = "", both = "" } = SSHA.exec(stored)?.groups ?? {};
  const size = SIZES[digest];
  const bytes = fromBase64(both);
  if (size === undefined || bytes.length <= size || bytes.length > size + 64) return undefined;
  return async (password) => {
    const salted = Buffer.concat([Buffer.from(password), bytes.subarray(size)]);
    return isSame(hash(digest, salted, "buffer"), bytes.subarray(0, size));
  };
}
