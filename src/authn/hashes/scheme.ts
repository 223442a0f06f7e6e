import { timingSafeEqual } from "node:crypto";

/** Says whether a password, in NFC, is the one that a hash was made of. */
export type Verifier = (password: string) => Promise<boolean>;

/**
 * Reads hashes of one kind. `undefined` for every other text, and for a hash that asks for more work or memory than a
 * sign-in may cost, before any is done (T-61).
 */
export type ReadScheme = (stored: string) => Verifier | undefined;

/** Bytes in base64, in patterns: with either alphabet, with `.` for `+` as passlib has it, padded or not. */
export const BASE64 = String.raw`[A-Za-z0-9+/._-]+={0,2}`;

/** The bytes that a text matched by {@link BASE64} stands for. */
export function fromBase64(text: string): Buffer {
  return Buffer.from(text.replaceAll(".", "+"), "base64");
}

/** The form of bytes in what we store: standard base64 without padding. */
export function toBase64(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}

/** Compares in a time that does not tell where the difference is. */
export function isSame(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
