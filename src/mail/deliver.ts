import type { TransactionOrKnex } from "objection";
import type { Logger } from "../lib/log.ts";
import { OutboxMessage } from "../models/outbox-message.ts";
import { composeMail, type ComposeNeeds } from "./compose.ts";
import { MailError, type MailTransport } from "./transport.ts";

/** What delivering needs. */
export interface DeliverNeeds extends ComposeNeeds {
  readonly transport: MailTransport;
  readonly log: Logger;
}

/** One run of the job of one message. */
export interface DeliveryAttempt {
  readonly id: string;
  /** Counts from 1; a message is sent at most once for each number. */
  readonly attempt: number;
  /** No later run will follow. */
  readonly last: boolean;
}

/**
 * Sends one message of the outbox. The attempt's number is the fence: whoever raises the row to it sends, and a
 * second worker with the same number finds nothing to do. A run that died while sending is taken over by the job's
 * next attempt, with the same Message-ID.
 *
 * @throws MailError when another attempt makes sense; the caller's queue provides it.
 */
export async function deliverMail(
  db: TransactionOrKnex,
  needs: DeliverNeeds,
  { id, attempt, last }: DeliveryAttempt,
): Promise<void> {
  const message = await claim(db, id, attempt);
  if (message === undefined) return;
  const settle = (changes: Partial<OutboxMessage>) =>
    OutboxMessage.query(db).patch(changes).where({ id, attempts: attempt, status: "sending" });

  try {
    await needs.transport.send(await composeMail(message, needs));
  } catch (cause) {
    const error = cause instanceof MailError ? cause : new MailError("not_composed", false);
    const final = last || error.permanent;
    await settle({ status: final ? "failed" : "queued", lastError: error.reason });
    const entry = { outboxId: id, template: message.template, attempt, reason: error.reason };
    // What is not a MailError is a bug on this side, and its text is ours.
    needs.log[final ? "error" : "warn"](
      error === cause ? entry : { ...entry, err: cause },
      final ? "mail given up" : "mail delayed",
    );
    if (final) return;
    throw error;
  }
  await settle({ status: "sent", sentAt: new Date(), lastError: null });
}

async function claim(
  db: TransactionOrKnex,
  id: string,
  attempt: number,
): Promise<OutboxMessage | undefined> {
  return await OutboxMessage.query(db)
    .patch({ status: "sending", attempts: attempt })
    .where({ id })
    .whereIn("status", ["queued", "sending"])
    .where("attempts", "<", attempt)
    .returning("*")
    .first();
}
