import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import { SigningKey } from "../models/signing-key.ts";
import type { KeyChanges } from "./rotation.ts";

/** Tells the audit what happened to the signing keys, whoever or whatever rotated them. */
export async function recordKeyChanges(db: TransactionOrKnex, changes: KeyChanges): Promise<void> {
  const kinds = [
    ["key.created", changes.created],
    ["key.rotated", changes.activated],
    ["key.retired", changes.retired],
  ] as const;
  const keys = await SigningKey.query(db);
  for (const [type, ids] of kinds) {
    for (const kid of ids) {
      const alg = keys.find((key) => key.kid === kid)?.alg;
      const target = { type: "signing_key", id: kid };
      await record(db, { type, actor: { type: "system" }, target, details: { alg } });
    }
  }
}
