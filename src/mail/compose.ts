import type { Seal } from "../keys/seal.ts";
import { OutboxMessage } from "../models/outbox-message.ts";
import type { MailProps, MailTemplate, RenderedMail, RenderMail } from "./messages.ts";

/** Who mails come from. */
export interface Sender {
  readonly name: string;
  readonly address: string;
}

/** A mail as it leaves: what the transport sends and the development mailbox shows. */
export interface OutgoingMail extends RenderedMail {
  readonly from: Sender;
  readonly to: string;
  /** The same at every attempt, so that a mail sent twice is recognized as one (RFC 5322 §3.6.4). */
  readonly messageId: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What composing needs. */
export interface ComposeNeeds {
  readonly seal: Seal;
  readonly renderMail: RenderMail;
  readonly from: Sender;
}

/**
 * Reads the sender from its usual form, `Name <address>` or the address alone.
 *
 * @throws Error naming the setting, so that a typo stops the start and not the first mail.
 */
export function parseSender(mailFrom: string): Sender {
  const match = /^(?:"?([^"<>]*?)"?\s*<([^\s<>@]+@[^\s<>@]+)>|([^\s<>@]+@[^\s<>@]+))$/.exec(
    mailFrom.trim(),
  );
  const address = match?.[2] ?? match?.[3];
  if (address === undefined)
    throw new Error("MAIL_FROM must be an address, or a name with an address: Name <a@b.example>");
  return { name: match?.[1] ?? "", address };
}

/** Opens a message of the outbox and writes it in its language. */
export async function composeMail(
  message: OutboxMessage,
  { seal, renderMail, from }: ComposeNeeds,
): Promise<OutgoingMail> {
  const { id, locale } = message;
  const template = message.template as MailTemplate;
  const rendered = await renderMail(template, readProps(message, seal), locale);
  const domain = from.address.slice(from.address.lastIndexOf("@") + 1);
  return {
    ...rendered,
    from,
    to: readRecipient(message, seal),
    messageId: `<${id}@${domain}>`,
    headers: {
      // RFC 3834 §5 and its counterpart in Exchange: nobody's vacation notice answers this.
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
      "Feedback-ID": `${template}:${domain}`,
    },
  };
}

function readRecipient({ id, recipientEnc }: OutboxMessage, seal: Seal): string {
  const place = { table: OutboxMessage.tableName, column: "recipient_enc", id };
  return seal.decrypt(recipientEnc, place).toString();
}

function readProps({ id, payloadEnc }: OutboxMessage, seal: Seal): MailProps[MailTemplate] {
  const place = { table: OutboxMessage.tableName, column: "payload_enc", id };
  return JSON.parse(seal.decrypt(payloadEnc, place).toString()) as MailProps[MailTemplate];
}
