import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { MailProps, MailTemplate } from "../../src/mail/messages.ts";
import { OutboxMessage } from "../../src/models/outbox-message.ts";
import type { TestServer } from "./server.ts";

/** A mail that was sent, as its template got it. */
export interface Letter<T extends MailTemplate = MailTemplate> {
  readonly to: string;
  readonly template: T;
  readonly locale: string;
  readonly props: MailProps[T];
}

/** Everything that was sent to an address, the newest first. */
export async function mailsTo(server: TestServer, address: string): Promise<Letter[]> {
  const { knex, seal } = server.deps;
  const rows = await OutboxMessage.query(knex).orderBy("id", "desc");
  const open = (row: OutboxMessage, column: "recipient_enc" | "payload_enc", blob: Buffer) =>
    seal.decrypt(blob, { table: "outbox_messages", column, id: row.id }).toString();
  return rows
    .map((row) => ({
      to: open(row, "recipient_enc", row.recipientEnc),
      template: row.template as MailTemplate,
      locale: row.locale,
      props: JSON.parse(open(row, "payload_enc", row.payloadEnc)) as never,
    }))
    .filter(({ to }) => to === address);
}

/** The newest mail of a kind to an address, which a job may still be writing. */
export async function mailTo<T extends MailTemplate>(
  server: TestServer,
  address: string,
  template: T,
  count = 1,
): Promise<MailProps[T]> {
  for (let tries = 0; tries < 200; tries += 1) {
    const found = (await mailsTo(server, address)).filter((mail) => mail.template === template);
    const [newest] = found;
    if (newest !== undefined && found.length >= count) return newest.props as MailProps[T];
    await delay(25);
  }
  const all = (await mailsTo(server, address)).map((mail) => mail.template);
  assert.fail(`no ${template} to ${address}, but ${all.join(", ") || "nothing"}`);
}

/** Waits until every letter that was asked for is written. */
export async function allWritten({ database }: TestServer): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    const { rows } = await database.knex.raw<{ rows: { waiting: number }[] }>(
      `SELECT count(*)::int AS waiting FROM graphile_worker._private_jobs j
         JOIN graphile_worker._private_tasks t ON t.id = j.task_id WHERE t.identifier = 'write_letter'`,
    );
    if (rows[0]?.waiting === 0) return;
    await delay(25);
  }
  assert.fail("letters are still being written");
}
