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
    return this.#write(randomBytes(FAMILY_BYTES), 0);
  }

  /** The token that a rotation of `token` answers with. */
  successor(token: string): string {
    const parts = this.read(token);
    if (parts === undefined) throw new TypeError("only a refresh token has a successor");
    return this.#write(parseUuid(parts.family), parts.counter + 1);
  }

  /** Takes a token apart; `undefined` when we did not make it. */
  read(token: string): RefreshTokenParts | undefined {
    if (!token.startsWith(PREFIX)) return undefined;
    const bytes = Buffer.from(token.slice(PREFIX.length), "base64url");
    if (bytes.length !== FAMILY_BYTES + COUNTER_BYTES + MAC_BYTES) return undefined;
    const body = bytes.subarray(0, FAMILY_BYTES + COUNTER_BYTES);
    if (!equalBytes(bytes.subarray(body.length), this.#mac(body))) return undefined;
    return {
      family: formatUuid(body.subarray(0, FAMILY_BYTES)),
      counter: body.readUInt32BE(FAMILY_BYTES),
    };
  }

  #write(family: Buffer, counter: number): string {
    const body = Buffer.alloc(FAMILY_BYTES + COUNTER_BYTES);
    family.copy(body);
    body.writeUInt32BE(counter, FAMILY_BYTES);
    return PREFIX + Buffer.concat([body, this.#mac(body)]).toString("base64url");
  }

  #mac(body: Buffer): Buffer {
    return createHmac("sha256", this.#key).update(body).digest().subarray(0, MAC_BYTES);
  }
}
