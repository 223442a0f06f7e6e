import { hash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isSame, type Verifier } from "./scheme.ts";

const ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** Logarithms of the number of rounds; phpass itself makes hashes from 7 on, and WordPress and phpBB 11 to 13. */
const ROUNDS = { least: 7, most: 18 };

/** So many rounds take about two milliseconds; then others have their turn. */
const ROUNDS_A_TURN = 2048;

const PHPASS = /^\$[PH]\$(?<log>[./0-9A-Za-z])(?<salt>[./0-9A-Za-z]{8})(?<tag>[./0-9A-Za-z]{22})$/;

/** The portable hashes of phpass, `$P$` and phpBB's `$H$`: MD5, over and over. */
export function readPhpass(stored: string): Verifier | undefined {
  const { log = "", salt = "", tag } = PHPASS.exec(stored)?.groups ?? {};
  const rounds = ALPHABET.indexOf(log);
  if (tag === undefined || rounds < ROUNDS.least || rounds > ROUNDS.most) return undefined;
  return async (password) => {
    const bytes = Buffer.from(password);
    let digest = hash("md5", Buffer.concat([Buffer.from(salt), bytes]), "buffer");
    for (let round = 1; round <= 2 ** rounds; round += 1) {
      digest = hash("md5", Buffer.concat([digest, bytes]), "buffer");
      if (round % ROUNDS_A_TURN === 0) await nextTurn();
    }
    return isSame(Buffer.from(encode(digest)), Buffer.from(tag));
  };
}

/** Three bytes at a time, the lowest six bits first. */
function encode(bytes: Buffer): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const group = bytes.subarray(at, at + 3);
    const value = group.readUIntLE(0, group.length);
    for (let digit = 0; digit <= group.length; digit += 1)
      text += ALPHABET[(value >>> (6 * digit)) & 63];
  }
  return text;
}
