import type { TransactionOrKnex } from "objection";
import { SigningKey } from "../models/signing-key.ts";
import { addKey, underKeyLock } from "./keystore.ts";
import type { Seal } from "./seal.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** How long a new key is published before it signs, in milliseconds: every cached key set has been read anew by then. */
export const DEFAULT_LEAD = DAY;

/** The shortest lead at which verifiers that keep our key set for its `max-age` still know the key. */
export const JWKS_MAX_AGE = 5 * MINUTE;

/** How long a replaced key stays published, in milliseconds: longer than a session, whose `id_token_hint` it verifies. */
export const DEFAULT_RETIRE = 15 * DAY;

/** Age in milliseconds at which a key gets a successor by itself. */
const LIFETIME = 90 * DAY;

/** When a successor takes over and when the key that it replaces disappears; both in milliseconds. */
export interface RotationPlan {
  readonly lead?: number;
  readonly retire?: number;
}

/** The ids of the keys that changed state. */
export interface KeyChanges {
  /** Published, not signing yet. */
  readonly created: readonly string[];
  readonly activated: readonly string[];
  /** No longer published. */
  readonly retired: readonly string[];
}

const NOTHING: KeyChanges = { created: [], activated: [], retired: [] };

/**
 * Gives every signing key a successor: published now, signing after `lead`. A successor that already waits is not
 * joined by a second one, but brought forward where `lead` asks for that. With `lead: 0` it signs at once, and with
 * `retire: 0` besides, which is the answer to a leaked key, the old one is gone with it.
 */
export function rotate(
  db: TransactionOrKnex,
  seal: Seal,
  now: Date,
  plan: RotationPlan = {},
): Promise<KeyChanges> {
  return underKeyLock(db, async (trx) => {
    const active = await SigningKey.query(trx).where({ usage: "oidc_sig", state: "active" });
    const created = await addSuccessors(trx, seal, now, active, plan);
    return { ...(await carryOut(trx, now)), created };
  });
}

/**
 * Does what is due: a pending key whose time has come signs in place of the active one, which stays published, and a
 * retiring key whose time is over is published no more. May run on every node at any time; one of them does it.
 */
export async function advance(db: TransactionOrKnex, now: Date): Promise<KeyChanges> {
  const due = await SigningKey.query(db)
    .where((pending) => pending.where({ state: "pending" }).where("activateAt", "<=", now))
    .orWhere((retiring) => retiring.where({ state: "retiring" }).where("retireAt", "<=", now))
    .resultSize();
  if (due === 0) return NOTHING;
  return await underKeyLock(db, (trx) => carryOut(trx, now));
}

/** The scheduled job: a key older than 90 days gets a successor, and what is due is done. */
export async function keepKeysFresh(
  db: TransactionOrKnex,
  seal: Seal,
  now: Date,
): Promise<KeyChanges> {
  if ((await agedKeys(db, now)).length === 0) return await advance(db, now);
  return await underKeyLock(db, async (trx) => {
    const created = await addSuccessors(trx, seal, now, await agedKeys(trx, now), {});
    return { ...(await carryOut(trx, now)), created };
  });
}

/** Active keys past their lifetime that nothing is waiting to replace. */
async function agedKeys(db: TransactionOrKnex, now: Date): Promise<SigningKey[]> {
  return await SigningKey.query(db)
    .alias("key")
    .where({ usage: "oidc_sig", state: "active" })
    .where("activateAt", "<=", new Date(now.getTime() - LIFETIME))
    .whereNotExists(
      SigningKey.query(db)
        .alias("successor")
        .where({ "successor.state": "pending" })
        .whereColumn("successor.usage", "key.usage")
        .whereColumn("successor.alg", "key.alg"),
    );
}

async function addSuccessors(
  trx: TransactionOrKnex,
  seal: Seal,
  now: Date,
  replaced: readonly SigningKey[],
  { lead = DEFAULT_LEAD, retire = DEFAULT_RETIRE }: RotationPlan,
): Promise<string[]> {
  const created: string[] = [];
  for (const key of replaced) {
    const waiting = await SigningKey.query(trx).findOne({
      usage: key.usage,
      alg: key.alg,
      state: "pending",
    });
    const wanted = new Date(now.getTime() + lead);
    const activateAt =
      waiting !== undefined && waiting.activateAt < wanted ? waiting.activateAt : wanted;
    if (waiting === undefined)
      created.push(
        await addKey(trx, seal, { alg: key.alg, state: "pending", createdAt: now, activateAt }),
      );
    else await waiting.$query(trx).patch({ activateAt });
    // The plan stands on the row of the key it concerns, so that whichever node carries it out knows it.
    await key.$query(trx).patch({ retireAt: retirement(key, activateAt.getTime() + retire) });
  }
  return created;
}

async function carryOut(trx: TransactionOrKnex, now: Date): Promise<KeyChanges> {
  const due = await SigningKey.query(trx)
    .where({ state: "pending" })
    .where("activateAt", "<=", now)
    .orderBy("activateAt");
  for (const successor of due) await takeOver(trx, successor, now);

  const over = await SigningKey.query(trx)
    .where({ state: "retiring" })
    .where("retireAt", "<=", now);
  for (const key of over)
    // A key that nobody will use again is not worth stealing.
    await key.$query(trx).patch({ state: "retired", privateEnc: Buffer.alloc(0) });

  return {
    created: [],
    activated: due.map((key) => key.kid),
    retired: over.map((key) => key.kid),
  };
}

async function takeOver(trx: TransactionOrKnex, successor: SigningKey, now: Date): Promise<void> {
  const { usage, alg } = successor;
  const replaced = await SigningKey.query(trx).findOne({ usage, alg, state: "active" });
  if (replaced !== undefined) {
    // A plan carried out late moves by as much: until now the old key has been signing.
    const published =
      replaced.retireAt === null
        ? DEFAULT_RETIRE
        : replaced.retireAt.getTime() - successor.activateAt.getTime();
    const retireAt = retirement(replaced, now.getTime() + published);
    await replaced.$query(trx).patch({ state: "retiring", retireAt });
  }
  await successor.$query(trx).patch({ state: "active", activateAt: now });
}

/** A key made this very millisecond lives one longer: the table demands that it ends after it began. */
function retirement(key: SigningKey, time: number): Date {
  return new Date(Math.max(time, key.activateAt.getTime() + 1));
}
