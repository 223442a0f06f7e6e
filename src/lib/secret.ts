import { hash, randomBytes, timingSafeEqual } from "node:crypto";

/** 256 random bits as base64url, after an optional prefix that tells people and scanners what the value is. */
export function newSecret(prefix?: string): string {
  const value = randomBytes(32).toString("base64url");
  return prefix === undefined ? value : `${prefix}_${value}`;
}

/** SHA-256. What the database keeps of a bearer value with at least 128 random bits. */
export function sha256(value: string | Buffer): Buffer {
  return hash("sha256", value, "buffer");
}

/** Compares two byte strings in a time that depends on their lengths only. */
export function equalBytes(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
