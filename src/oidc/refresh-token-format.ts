import { createHmac, createSecretKey, randomBytes, type KeyObject } from "node:crypto";
import { equalBytes } from "../lib/secret.ts";
import { formatUuid, parseUuid } from "../lib/uuid.ts";

const PREFIX = "rt_";
const FAMILY_BYTES = 16;
const COUNTER_BYTES = 4;
const MAC_BYTES = 16;

/** What a refresh token says: which family, and how many rotations came before it. */
export interface RefreshTokenParts {
  family: string;
  counter: number;
}

/**
 * Refresh tokens as text: `rt_` and, in base64url, 16 random bytes of family, a 4-byte counter and a 16-byte MAC.
 * Everybody who may ask for the successor of a token computes the same one, and nothing in the database is a bearer:
 * without the key no row can be turned into a token, and without the random family the key mints none.
 */
export class RefreshTokenFormat {
  readonly #key: KeyObject;

  /** @param key 32 bytes that all nodes share. */
  constructor(key: Buffer) {
    this.#key = createSecretKey(key);
  }

  /** The first token of a new family. */
  first(): string {
    return this.write({ family: formatUuid(randomBytes(FAMILY_BYTES)), counter: 0 });
  }

  /** The token that a rotation of `token` answers with. */
  successor(token: string): string {
    const { family, counter } = this.parse(token);
    return this.write({ family, counter: counter + 1 });
  }

  /** Takes a token apart; `undefined` when we did not make it. */
  read(token: string): RefreshTokenParts | undefined {
    const bytes = bytesOf(token);
    if (bytes === undefined) return undefined;
    const { body, mac } = split(bytes);
    return equalBytes(mac, this.#mac(body)) ? partsOf(body) : undefined;
  }

  /**
   * Takes a token apart that we have just made, or read before.
   *
   * @throws TypeError when it is no refresh token.
   */
  parse(token: string): RefreshTokenParts {
    const bytes = bytesOf(token);
    if (bytes === undefined) throw new TypeError("this is not what a refresh token looks like");
    return partsOf(split(bytes).body);
  }

  /** The token of a family that carries a counter. */
  write({ family, counter }: RefreshTokenParts): string {
    const body = Buffer.alloc(FAMILY_BYTES + COUNTER_BYTES);
    parseUuid(family).copy(body);
    body.writeUInt32BE(counter, FAMILY_BYTES);
    return PREFIX + Buffer.concat([body, this.#mac(body)]).toString("base64url");
  }

  #mac(body: Buffer): Buffer {
    return createHmac("sha256", this.#key).update(body).digest().subarray(0, MAC_BYTES);
  }
}

function bytesOf(token: string): Buffer | undefined {
  if (!token.startsWith(PREFIX)) return undefined;
  const bytes = Buffer.from(token.slice(PREFIX.length), "base64url");
  return bytes.length === FAMILY_BYTES + COUNTER_BYTES + MAC_BYTES ? bytes : undefined;
}

function split(bytes: Buffer): { body: Buffer; mac: Buffer } {
  const end = FAMILY_BYTES + COUNTER_BYTES;
  return { body: bytes.subarray(0, end), mac: bytes.subarray(end) };
}

function partsOf(body: Buffer): RefreshTokenParts {
  return {
    family: formatUuid(body.subarray(0, FAMILY_BYTES)),
    counter: body.readUInt32BE(FAMILY_BYTES),
  };
}
