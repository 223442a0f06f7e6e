import { createHmac } from "node:crypto";

/** Seconds for which a code is shown (RFC 6238 §5.2). */
export const PERIOD = 30;

/** Seconds into a step in which the code of the step before is still taken: people type slowly (T-72). */
const GRACE = 10;

const DIGITS = 6;
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The code of one time step (RFC 6238 §4, RFC 4226 §5.3), as every authenticator app makes it: SHA-1, six digits. */
export function codeOf(secret: Buffer, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac("sha1", secret).update(counter).digest();
  const offset = (digest[19] ?? 0) & 0x0f;
  const number = (digest.readUInt32BE(offset) & 0x7fffffff) % 10 ** DIGITS;
  return String(number).padStart(DIGITS, "0");
}

/** The time steps whose codes are good now: a code lives 40 seconds at most. */
export function stepsAt(now: Date): number[] {
  const seconds = Math.floor(now.getTime() / 1000);
  const step = Math.floor(seconds / PERIOD);
  return seconds % PERIOD < GRACE ? [step, step - 1] : [step];
}

/** What somebody typed, if it can be a code: six digits, with spaces where they like (T-74). */
export function readCode(typed: string): string | undefined {
  const code = typed.replaceAll(" ", "");
  return /^[0-9]{6}$/.test(code) ? code : undefined;
}

/** Bytes as authenticator apps take them (RFC 4648 §6), without padding. */
export function base32(bytes: Buffer): string {
  let text = "";
  let value = 0;
  let bits = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += BASE32[(value >>> (bits - 5)) & 31];
  }
  return bits === 0 ? text : text + BASE32[(value << (5 - bits)) & 31];
}

/** The address by which an app takes a seed over, with the account's name under the issuer's. */
export function keyUri(secret: Buffer, { issuer, account }: { issuer: string; account: string }) {
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`;
  const query = new URLSearchParams({ secret: base32(secret), issuer, algorithm: "SHA1" });
  query.set("digits", String(DIGITS));
  query.set("period", String(PERIOD));
  // A plus is a plus to many apps, not a space.
  return `otpauth://totp/${label}?${query.toString().replaceAll("+", "%20")}`;
}
