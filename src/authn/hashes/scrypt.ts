import { createCipheriv, scrypt } from "node:crypto";
import { promisify } from "node:util";
import { BASE64, fromBase64, isSame, type Verifier } from "./scheme.ts";

const derive = promisify<string, Buffer, number, object, Buffer>(scrypt);

const MIB = 1024 * 1024;
/** Most memory that one hash takes, in bytes (T-61). */
const MOST_MEMORY = 256 * MIB;
/** Most that it goes through, in bytes: memory, times the lanes that are computed one after the other. */
const MOST_WORK = 1024 * MIB;

const SCRYPT = new RegExp(
  String.raw`^\$scrypt\$ln=(?<ln>\d{1,2}),r=(?<r>\d{1,4}),p=(?<p>\d{1,4})\$(?<salt>${BASE64})\$(?<key>${BASE64})$`,
);
const FIREBASE = new RegExp(
  String.raw`^\$firebase-scrypt\$ln=(?<ln>\d{1,2}),r=(?<r>\d{1,4})\$(?<salt>${BASE64})\$(?<separator>${BASE64})\$(?<signer>${BASE64})\$(?<hash>${BASE64})$`,
);

/** Cost as its logarithm, block size, lanes (RFC 7914 §2). */
interface Cost {
  readonly ln: number;
  readonly r: number;
  readonly p: number;
}

/** scrypt (RFC 7914) as a PHC string. */
export function readScrypt(stored: string): Verifier | undefined {
  const { ln, r, p, salt = "", key = "" } = SCRYPT.exec(stored)?.groups ?? {};
  const cost = { ln: Number(ln), r: Number(r), p: Number(p) };
  const wanted = fromBase64(key);
  if (!isBearable(cost) || wanted.length < 16 || wanted.length > 64) return undefined;
  return async (password) =>
    isSame(await compute(password, fromBase64(salt), cost, wanted.length), wanted);
}

/** Firebase's variant: the key that scrypt derives encrypts the project's signer key, with AES-256 in counter mode. */
export function readFirebaseScrypt(stored: string): Verifier | undefined {
  const groups = FIREBASE.exec(stored)?.groups ?? {};
  const { ln, r, salt = "", separator = "", signer = "", hash = "" } = groups;
  const cost = { ln: Number(ln), r: Number(r), p: 1 };
  const wanted = fromBase64(hash);
  if (!isBearable(cost) || wanted.length < 16 || wanted.length > 64) return undefined;
  const salted = Buffer.concat([fromBase64(salt), fromBase64(separator)]);
  return async (password) => {
    const key = await compute(password, salted, cost, 32);
    return isSame(
      createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(fromBase64(signer)),
      wanted,
    );
  };
}

function isBearable({ ln, r, p }: Cost): boolean {
  const memory = 128 * 2 ** ln * r;
  return ln >= 1 && r >= 1 && p >= 1 && memory <= MOST_MEMORY && memory * p <= MOST_WORK;
}

function compute(
  password: string,
  salt: Buffer,
  { ln, r, p }: Cost,
  length: number,
): Promise<Buffer> {
  // OpenSSL also counts what it holds beside the table.
  return derive(password, salt, length, { N: 2 ** ln, r, p, maxmem: 2 * MOST_MEMORY });
}
