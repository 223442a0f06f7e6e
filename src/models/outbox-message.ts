import { IdentifiedModel } from "./base.ts";

/** A mail that the transaction which wrote it wants sent; who gets it and what it says are sealed. */
export class OutboxMessage extends IdentifiedModel {
  static override tableName = "outbox_messages";
  declare channel: "email";
  declare template: string;
  declare locale: string;
  declare recipientEnc: Buffer;
  declare payloadEnc: Buffer;
  declare dedupeKey: string | null;
  declare userId: string | null;
  declare status: "queued" | "sending" | "sent" | "failed";
  declare attempts: number;
  declare lastError: string | null;
  declare createdAt: Date;
  declare sentAt: Date | null;
}
