import type { Knex } from "knex";

/** Lintel's advisory locks in a database: one class of our own, and in it a number for each purpose. */
const CLASS = 0x6c_69_6e_74;
const PURPOSES = { migrate: 1, createPartitions: 2, dropPartitions: 3 } as const;

type Purpose = keyof typeof PURPOSES;

/**
 * Takes the lock until the end of the transaction, if nobody has it. The only kind of advisory lock that is
 * exclusive behind a transaction-pooling pgbouncer as well.
 *
 * The numbers are part of the statement so that it is sent as a simple query: with parameters its portal, and with
 * that its snapshot, would stay until the next statement, and a CREATE INDEX CONCURRENTLY run under the lock would
 * wait for it for ever. For the same reason whoever waits for long asks again instead of waiting in the database.
 */
export async function tryLock(trx: Knex.Transaction, purpose: Purpose): Promise<boolean> {
  const { rows } = await trx.raw<{ rows: { locked: boolean }[] }>(
    `SELECT pg_try_advisory_xact_lock(${CLASS}, ${PURPOSES[purpose]}) AS locked`,
  );
  return rows[0]?.locked === true;
}

/** Waits for the lock, no longer than the transaction's `lock_timeout`, and keeps it until the transaction ends. */
export async function lock(trx: Knex.Transaction, purpose: Purpose): Promise<void> {
  await trx.raw(`SELECT pg_advisory_xact_lock(${CLASS}, ${PURPOSES[purpose]})`);
}
