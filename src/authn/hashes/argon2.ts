import { argon2 } from "../argon2/package.ts";
import type { Verifier } from "./scheme.ts";

/** How an Argon2 hash was made: memory in KiB, passes, lanes. */
export interface Argon2Parameters {
  readonly m: number;
  readonly t: number;
  readonly p: number;
}

/** What every new hash is made with: argon2id at OWASP's floor of 19 MiB. */
export const CURRENT: Argon2Parameters = { m: 19_456, t: 2, p: 1 };

/** The most that a stored hash may ask for; beyond it, verifying would be a way to exhaust the server (T-61). */
const MOST: Argon2Parameters = { m: 256 * 1024, t: 10, p: 16 };

/** RFC 9106 as a PHC string; version 16 is that of before 2016. */
const PHC =
  /^\$(?<kind>argon2id|argon2i|argon2d)\$v=(?<version>16|19)\$(?<parameters>[a-z]=\d{1,10}(?:,[a-z]=\d{1,10}){2})\$(?<salt>[A-Za-z0-9+/]{11,86})\$(?<tag>[A-Za-z0-9+/]{16,86})$/;

/** Reads a hash by Argon2, whatever the order of its parameters; `undefined` where it is not one that we verify. */
export function readPhc(text: string): (Argon2Parameters & { isCurrent: boolean }) | undefined {
  const groups = PHC.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const values = new Map(
    (groups["parameters"] ?? "")
      .split(",")
      .map((pair) => [pair.slice(0, 1), Number(pair.slice(2))]),
  );
  const [m, t, p] = [values.get("m"), values.get("t"), values.get("p")];
  if (m === undefined || t === undefined || p === undefined) return undefined;
  if (p < 1 || t < 1 || m < 8 * p || p > MOST.p || t > MOST.t || m > MOST.m) return undefined;
  const isCurrent =
    groups["kind"] === "argon2id" &&
    groups["version"] === "19" &&
    m === CURRENT.m &&
    t === CURRENT.t &&
    p === CURRENT.p;
  return { m, t, p, isCurrent };
}

/** argon2id, argon2i and argon2d, versions 1.3 and 1.0. */
export function readArgon2(stored: string): Verifier | undefined {
  if (readPhc(stored) === undefined) return undefined;
  return (password) => argon2.verify(stored, Buffer.from(password));
}
