import { pbkdf2 } from "node:crypto";
import { promisify } from "node:util";
import { BASE64, fromBase64, isSame, type Verifier } from "./scheme.ts";

const derive = promisify(pbkdf2);

/** About three seconds (T-61). */
const MOST_ITERATIONS = 5_000_000;

const PBKDF2 = new RegExp(
  String.raw`^\$pbkdf2(?:-(?<digest>sha1|sha256|sha512))?\$(?<iterations>\d{1,7})\$(?<salt>${BASE64})\$(?<key>${BASE64})$`,
);

/** PBKDF2 (RFC 8018 §5.2) with HMAC-SHA-1, -SHA-256 or -SHA-512, as passlib writes it, with a key of any length. */
export function readPbkdf2(stored: string): Verifier | undefined {
  const { digest = "sha1", iterations, salt = "", key = "" } = PBKDF2.exec(stored)?.groups ?? {};
  const count = Number(iterations);
  const wanted = fromBase64(key);
  if (!(count >= 1 && count <= MOST_ITERATIONS)) return undefined;
  if (wanted.length < 16 || wanted.length > 64) return undefined;
  return async (password) =>
    isSame(await derive(password, fromBase64(salt), count, wanted.length, digest), wanted);
}
