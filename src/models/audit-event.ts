import type { TransactionOrKnex } from "objection";
import { uuidv7 } from "../lib/uuid.ts";
import { IdentifiedModel } from "./base.ts";

/** Something that concerns security and happened; never changed afterwards. */
export class AuditEvent extends IdentifiedModel {
  static override tableName = "audit_events";
  static override jsonAttributes = ["details"];
  declare occurredAt: Date;
  declare type: string;
  declare outcome: "success" | "failure" | "denied";
  declare actorType: "user" | "admin" | "client" | "system" | "anonymous";
  declare actorId: string | null;
  declare userId: string | null;
  declare clientId: string | null;
  declare sessionUid: string | null;
  declare targetType: string | null;
  declare targetId: string | null;
  declare requestId: string | null;
  declare ipPrefix: string | null;
  declare details: Record<string, unknown>;

  static async add(
    db: TransactionOrKnex,
    event: Readonly<
      Pick<
        AuditEvent,
        | "type"
        | "outcome"
        | "actorType"
        | "actorId"
        | "userId"
        | "clientId"
        | "sessionUid"
        | "targetType"
        | "targetId"
        | "requestId"
        | "ipPrefix"
        | "details"
      >
    >,
  ): Promise<void> {
    await AuditEvent.statement(
      db,
      `INSERT INTO audit_events (id, type, outcome, actor_type, actor_id, user_id, client_id, session_uid,
         target_type, target_id, request_id, ip_prefix, details)
       VALUES (:id, :type, :outcome, :actorType, :actorId, :userId, :clientId, :sessionUid,
         :targetType, :targetId, :requestId, :ipPrefix, :details)`,
      { ...event, id: uuidv7(), details: JSON.stringify(event.details) },
    );
  }
}
