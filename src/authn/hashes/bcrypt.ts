import bcrypt from "bcrypt";
import { hash, createHmac } from "node:crypto";
import type { Verifier } from "./scheme.ts";

/** Two to the power of so many rounds, at most: about a second. */
const MOST_COST = 14;

/** bcrypt looks at no more of a password. */
const LENGTH = 72;

/** `wp` is WordPress since 6.8, `django-bcrypt-sha256` what Django calls `bcrypt_sha256$`. */
const BCRYPT =
  /^(?:\$(?<before>wp|django-bcrypt-sha256))?\$2[aby]\$(?<cost>\d\d)\$(?<rest>[./A-Za-z0-9]{53})$/;

/** What some products put into bcrypt instead of the password, so that all of it counts. */
const BEFORE: Readonly<Record<string, (password: string) => string>> = {
  wp: (password) => createHmac("sha384", "wp-sha384").update(trimAsPhp(password)).digest("base64"),
  "django-bcrypt-sha256": (password) => hash("sha256", password, "hex"),
};

/**
 * bcrypt, `$2a$`, `$2b$` and `$2y$`, which for passwords as we take them are one. The library computes in libuv's thread
 * pool, where the hash queue bounds it.
 */
export function readBcrypt(stored: string): Verifier | undefined {
  const { before, cost = "", rest } = BCRYPT.exec(stored)?.groups ?? {};
  if (rest === undefined || Number(cost) < 4 || Number(cost) > MOST_COST) return undefined;
  const prepare = before === undefined ? undefined : BEFORE[before];
  return async (password) => {
    const secret = prepare === undefined ? password : prepare(password);
    // Where other libraries stop reading: no password that somebody set has one.
    if (secret.includes("\0")) return false;
    return bcrypt.compare(Buffer.from(secret).subarray(0, LENGTH), `$2b$${cost}$${rest}`);
  };
}

/** PHP's `trim`, through which WordPress passes every password. */
function trimAsPhp(text: string): string {
  return text.replaceAll(/^[ \t\n\r\v\0]+|[ \t\n\r\v\0]+$/g, "");
}
