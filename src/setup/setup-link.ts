import type { TransactionOrKnex } from "objection";
import { record } from "../audit/record.ts";
import type { Config } from "../config.ts";
import { errors } from "../errors.ts";
import { newSecret, sha256 } from "../lib/secret.ts";
import { BaseModel } from "../models/base.ts";
import { OneTimeToken } from "../models/one-time-token.ts";
import { SystemRole } from "../models/system-role.ts";

/** How long a link works, in milliseconds. */
const LIFETIME = 60 * 60_000;

/** Of Lintel's advisory locks in a database, the one of whoever issues or uses a setup link. */
const LOCK = { lintel: 0x6c_69_6e_74, setup: 5 };

/** Whether nobody can administer this installation, so that a setup link may be issued and used (T-139). */
export async function needsSetup(db: TransactionOrKnex): Promise<boolean> {
  const administrators = await SystemRole.query(db)
    .where({ role: "superadmin" })
    .whereIn("userId", (users) => users.select("id").from("users").where({ status: "active" }))
    .resultSize();
  return administrators === 0;
}

/**
 * Makes the link that creates the first administrator: 256 random bits of which only the hash is kept, good once and
 * for an hour. Earlier links stop working.
 *
 * @throws AppError `setup_complete` (409) where there is an administrator.
 */
export function issueSetupLink(
  db: TransactionOrKnex,
  config: Pick<Config, "issuer">,
  now: Date,
): Promise<string> {
  return db.transaction(async (trx) => {
    await takeLock(trx);
    if (!(await needsSetup(trx))) throw errors.setupComplete();
    const token = newSecret("setup");
    await OneTimeToken.query(trx)
      .patch({ revokedAt: now })
      .where({ purpose: "setup", usedAt: null, revokedAt: null });
    await OneTimeToken.query(trx).insert({
      purpose: "setup",
      tokenHash: sha256(token),
      createdAt: now,
      expiresAt: new Date(now.getTime() + LIFETIME),
    });
    await record(trx, { type: "setup.link_issued", actor: { type: "system" } });
    return `${config.issuer}/setup/${token}`;
  });
}

/**
 * Looks at a link without using it up, so that a mail scanner or a preview that opens it does no harm.
 *
 * @throws AppError `invalid_setup_link` where it is unknown, used or expired, or setup is complete.
 */
export async function checkSetupLink(
  db: TransactionOrKnex,
  token: string,
  now: Date,
): Promise<void> {
  const found = await OneTimeToken.query(db)
    .findOne({ purpose: "setup", tokenHash: sha256(token), usedAt: null, revokedAt: null })
    .where("expiresAt", ">", now);
  if (found === undefined || !(await needsSetup(db))) throw errors.invalidSetupLink();
}

/**
 * Uses a link up. Of any number of transactions that try, with one link or with several, one goes on and makes the
 * administrator; the others find that there is one.
 *
 * @throws AppError `invalid_setup_link`
 */
export async function spendSetupLink(
  trx: TransactionOrKnex,
  token: string,
  now: Date,
): Promise<void> {
  await takeLock(trx);
  const spent = await OneTimeToken.query(trx)
    .patch({ usedAt: now })
    .where({ purpose: "setup", tokenHash: sha256(token), usedAt: null, revokedAt: null })
    .where("expiresAt", ">", now);
  if (spent !== 1 || !(await needsSetup(trx))) throw errors.invalidSetupLink();
}

async function takeLock(trx: TransactionOrKnex): Promise<void> {
  await BaseModel.statement(trx, "SELECT pg_advisory_xact_lock(:lintel, :setup)", LOCK);
}
