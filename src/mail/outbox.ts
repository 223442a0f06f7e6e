import type { TransactionOrKnex } from "objection";
import { errors } from "../errors.ts";
import type { Seal } from "../keys/seal.ts";
import { uuidv7 } from "../lib/uuid.ts";
import { OutboxMessage } from "../models/outbox-message.ts";
import type { Mail } from "./messages.ts";

/** How often a mail is tried: with graphile-worker's backoff of e^n seconds, for about 22 hours. */
const MAX_ATTEMPTS = 12;

/** One address and nothing else: no name, comment, quoted part, list or line break (T-68). */
const MAILBOX = /^[^\s\p{Cc}"(),:;<>@[\\\]]{1,64}@[^\s\p{Cc}"(),:;<>@[\\\]]{1,253}$/u;

/** A mail on its way to one person. */
export interface MailMessage {
  readonly mail: Mail;
  /** The address as stored with the user. */
  readonly to: string;
  /** The language to write in, one of the configured locales. */
  readonly locale: string;
  readonly userId?: string;
  /** Names the occasion: of several messages with the same key only the first is sent. */
  readonly dedupeKey?: string;
}

/**
 * Puts a mail into the outbox and adds the job that delivers it, in the caller's transaction: the mail goes out if,
 * and only if, what it reports was committed. Recipient and content are sealed to their row; the job knows the id.
 *
 * @returns the message's id, or undefined where the dedupe key was used before.
 * @throws AppError `invalid_email` for a recipient that is not exactly one plain address.
 */
export async function sendMail(
  db: TransactionOrKnex,
  { seal }: { readonly seal: Seal },
  message: MailMessage,
): Promise<string | undefined> {
  if (!MAILBOX.test(message.to)) throw errors.invalidEmail();
  const id = uuidv7();
  const place = { table: OutboxMessage.tableName, id };
  const rows = await OutboxMessage.statement<{ id: string }>(
    db,
    `WITH message AS (
       INSERT INTO outbox_messages
         (id, channel, template, locale, recipient_enc, payload_enc, dedupe_key, user_id)
       VALUES (:id, 'email', :template, :locale, :recipient, :payload, :dedupeKey, :userId)
       ON CONFLICT (dedupe_key) DO NOTHING
       RETURNING id)
     SELECT message.id FROM message, LATERAL graphile_worker.add_job(
       'deliver_mail', json_build_object('id', message.id), max_attempts => :maxAttempts)`,
    {
      id,
      template: message.mail.template,
      locale: message.locale,
      recipient: seal.encrypt(message.to, { ...place, column: "recipient_enc" }),
      payload: seal.encrypt(JSON.stringify(message.mail.props), {
        ...place,
        column: "payload_enc",
      }),
      dedupeKey: message.dedupeKey ?? null,
      userId: message.userId ?? null,
      maxAttempts: MAX_ATTEMPTS,
    },
  );
  return rows[0]?.id;
}
