import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from "jose";
import type { TransactionOrKnex } from "objection";
import { sha256 } from "../lib/secret.ts";
import { BaseModel } from "../models/base.ts";
import { SigningKey, type SigningKeyState } from "../models/signing-key.ts";
import type { Seal } from "./seal.ts";

/**
 * Unless the issuers' presets say otherwise: ES256 signs for new clients, RS256 is what OpenID requires of every
 * provider (OIDC Core §15.1) and what older clients assume.
 */
const ALGORITHMS: readonly string[] = ["ES256", "RS256"];

/** Active keys first: the engine signs with the first key that fits. Pending keys last: they must never sign. */
const ORDER: readonly SigningKeyState[] = ["active", "retiring", "pending"];

/** Of Lintel's advisory locks in a database, the one of whoever changes signing keys. */
const LOCK = { lintel: 0x6c_69_6e_74, keys: 4 };

/** The keys that a node publishes and signs with. */
export interface KeySet {
  /** Changes whenever the published keys, or the one that signs, change. */
  readonly version: string;
  /** Private JWKs; for each algorithm the first one signs, the others are published so that others can verify. */
  readonly signing: readonly JWK[];
}

/**
 * Makes the signing keys of a new database: one active key for each algorithm that has none.
 *
 * @returns the ids of the keys made; empty at every start but the first, and on all nodes but one.
 */
export async function ensureKeys(
  db: TransactionOrKnex,
  seal: Seal,
  now: Date,
  algorithms: readonly string[] = ALGORITHMS,
): Promise<string[]> {
  if ((await missingAlgorithms(db, algorithms)).length === 0) return [];
  return await underKeyLock(db, async (trx) => {
    const made: string[] = [];
    for (const alg of await missingAlgorithms(trx, algorithms))
      made.push(await addKey(trx, seal, { alg, state: "active", createdAt: now, activateAt: now }));
    return made;
  });
}

/** Reads and opens every key that is published, in the order in which the engine has to see them. */
export async function loadKeys(db: TransactionOrKnex, seal: Seal): Promise<KeySet> {
  const rows = await SigningKey.query(db)
    .whereIn("state", [...ORDER])
    .orderBy(["alg", { column: "createdAt", order: "desc" }, "kid"]);
  rows.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  const version = sha256(rows.map((row) => `${row.kid} ${row.state}`).join("\n"));
  return {
    version: version.toString("base64url").slice(0, 22),
    signing: rows.map((row) => openPrivateKey(seal, row)),
  };
}

/** Runs a change of the keys alone in the cluster: whoever asks meanwhile waits until this transaction ends. */
export function underKeyLock<T>(
  db: TransactionOrKnex,
  change: (trx: TransactionOrKnex) => Promise<T>,
): Promise<T> {
  return db.transaction(async (trx) => {
    await BaseModel.statement(trx, "SELECT pg_advisory_xact_lock(:lintel, :keys)", LOCK);
    return await change(trx);
  });
}

/** Makes a key pair and stores it, its private half sealed; returns its id, the key's thumbprint (RFC 7638). */
export async function addKey(
  db: TransactionOrKnex,
  seal: Seal,
  key: { alg: string; state: "pending" | "active"; createdAt: Date; activateAt: Date },
): Promise<string> {
  const pair = await generateKeyPair(key.alg, {
    extractable: true,
    modulusLength: 2048,
    ...(key.alg === "EdDSA" ? { crv: "Ed25519" } : {}),
  });
  const publicJwk = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  await SigningKey.query(db).insert({
    ...key,
    kid,
    usage: "oidc_sig",
    publicJwk: { ...publicJwk, kid, alg: key.alg, use: "sig" },
    privateEnc: seal.encrypt(JSON.stringify(await exportJWK(pair.privateKey)), privateHalf(kid)),
  });
  return kid;
}

async function missingAlgorithms(
  db: TransactionOrKnex,
  algorithms: readonly string[],
): Promise<string[]> {
  const active = await SigningKey.query(db)
    .select("alg")
    .where({ usage: "oidc_sig", state: "active" });
  return algorithms.filter((alg) => !active.some((key) => key.alg === alg));
}

function openPrivateKey(seal: Seal, row: SigningKey): JWK {
  const privateJwk: JWK = JSON.parse(
    seal.decrypt(row.privateEnc, privateHalf(row.kid)).toString("utf8"),
  );
  return { ...privateJwk, kid: row.kid, alg: row.alg, use: "sig" };
}

function privateHalf(kid: string): { table: string; column: string; id: string } {
  return { table: "signing_keys", column: "private_enc", id: kid };
}
