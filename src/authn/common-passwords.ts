import { hash } from "node:crypto";
import { readFileSync } from "node:fs";

/**
 * Bytes of each entry: the first of its SHA-256. That a password which is on no list is taken for one that is has a
 * chance of 474,743 / 2^40, less than one in two million.
 */
const WIDTH = 5;

const FILE = new URL("./blocklist/common-passwords.bin", import.meta.url);
let entries: Buffer | undefined;

/** One form for what people take for the same password: width and compatibility (NFKC), then case. */
export function foldPassword(password: string): string {
  return password.normalize("NFKC").toLowerCase().normalize("NFKC");
}

/** The key under which a password is on the list. */
export function commonPasswordKey(password: string): Buffer {
  return hash("sha256", foldPassword(password), "buffer").subarray(0, WIDTH);
}

/**
 * Whether a password is one of the 474,743 most used ones of eight characters or more, whatever its case (NIST
 * SP 800-63B-4 §3.1.1.2). All of it is compared, never a part. The list is read when it is first needed: 2.4 MB, sorted
 * keys without an index, made by `blocklist/build.ts`.
 */
export function isCommonPassword(password: string): boolean {
  entries ??= readFileSync(FILE);
  const key = commonPasswordKey(password);
  let [low, high] = [0, entries.length / WIDTH];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = entries.compare(key, 0, WIDTH, middle * WIDTH, (middle + 1) * WIDTH);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}
