import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from "node:crypto";
import type { TransactionOrKnex } from "objection";
import { errors } from "../errors.ts";
import { sha256 } from "../lib/secret.ts";
import { formatUuid, parseUuid, uuidv7 } from "../lib/uuid.ts";
import { DataKey } from "../models/data-key.ts";

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_BYTES = 16;

/** The place a sealed value belongs to; it opens there and nowhere else. */
export interface Place {
  readonly table: string;
  readonly column: string;
  /** The row's key as text. */
  readonly id: string;
}

/** What protects stored values that must be readable again. */
export interface Seal {
  /**
   * Encrypts a value for one column of one row (AES-256-GCM). The result is version 1, the data key's id (16 bytes),
   * a random nonce (12), the ciphertext and the tag (16).
   */
  encrypt(plaintext: string | Buffer, place: Place): Buffer;
  /** Opens what `encrypt` made for the same place; throws where it was altered, moved or sealed under another key. */
  decrypt(blob: Buffer, place: Place): Buffer;
  /** A stable secret for one purpose (HKDF, RFC 5869), the same on every node: cookie keys, MAC keys. Labels are constants. */
  derive(label: string, bytes?: number): Buffer;
}

/**
 * Opens the database's data key with the operator's key, and makes the data key at the first start. Nodes that start
 * together on an empty database end with one and the same data key.
 *
 * @throws AppError `wrong_encryption_key` where the database was made with another key.
 */
export async function openSeal(
  db: TransactionOrKnex,
  { encryptionKey }: { readonly encryptionKey: Buffer },
): Promise<Seal> {
  const kekId = sha256(encryptionKey).toString("hex").slice(0, 8);
  const row = (await findDataKey(db)) ?? (await makeDataKey(db, encryptionKey, kekId));
  if (row.kekId !== kekId) throw errors.wrongEncryptionKey();
  let dataKey: Buffer;
  try {
    dataKey = open(createSecretKey(encryptionKey), row.wrappedDek, wrapping(row.id));
  } catch {
    throw errors.wrongEncryptionKey();
  }
  return createSeal(row.id, dataKey);
}

async function findDataKey(db: TransactionOrKnex): Promise<DataKey | undefined> {
  return await DataKey.query(db).findOne({ purpose: "app", retiredAt: null });
}

async function makeDataKey(
  db: TransactionOrKnex,
  encryptionKey: Buffer,
  kekId: string,
): Promise<DataKey> {
  const id = uuidv7();
  const wrappedDek = close(createSecretKey(encryptionKey), randomBytes(32), wrapping(id));
  // The index that allows one live data key decides between nodes; who comes second takes the first one's.
  await DataKey.query(db).insert({ id, purpose: "app", kekId, wrappedDek }).onConflict().ignore();
  const row = await findDataKey(db);
  if (row === undefined) throw new Error("the data key that was just stored is gone");
  return row;
}

/** The seal over one data key. Every row gets a key of its own, so no key comes near GCM's limit of 2^32 messages. */
function createSeal(keyId: string, dataKey: Buffer): Seal {
  const keyIdBytes = parseUuid(keyId);
  const key = createSecretKey(dataKey);
  const rowKey = (id: string): KeyObject => createSecretKey(expand(key, `row\0${id}`, 32));
  const derived = new Map<string, Buffer>();

  return Object.freeze({
    encrypt(plaintext: string | Buffer, place: Place): Buffer {
      const sealed = close(rowKey(place.id), Buffer.from(plaintext), bound(place));
      return Buffer.concat([Buffer.of(VERSION), keyIdBytes, sealed]);
    },

    decrypt(blob: Buffer, place: Place): Buffer {
      const header = 1 + KEY_ID_BYTES;
      if (blob[0] !== VERSION) throw new Error("a sealed value has an unknown version");
      const madeWith = blob.subarray(1, header);
      if (!madeWith.equals(keyIdBytes))
        throw new Error(
          `a sealed value needs the data key ${formatUuid(madeWith)}, which is not open`,
        );
      return open(rowKey(place.id), blob.subarray(header), bound(place));
    },

    derive(label: string, bytes = 32): Buffer {
      const name = `${bytes} ${label}`;
      const secret = derived.get(name) ?? expand(key, `derive\0${label}`, bytes);
      derived.set(name, secret);
      return secret;
    },
  });
}

function bound({ table, column, id }: Place): Buffer {
  return Buffer.from([table, column, id].join("\0"));
}

function wrapping(id: string): Buffer {
  return bound({ table: "data_keys", column: "wrapped_dek", id });
}

function expand(key: KeyObject, info: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync("sha256", key, Buffer.alloc(0), info, bytes));
}

/** With bytes instead of a key object, making the cipher takes three times as long. */
function close(key: KeyObject, plaintext: Buffer, aad: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(aad);
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function open(key: KeyObject, sealed: Buffer, aad: Buffer): Buffer {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new Error("a sealed value is too short");
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
    .setAAD(aad)
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  return Buffer.concat([
    decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)),
    decipher.final(),
  ]);
}
