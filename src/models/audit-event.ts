import type { Statement } from "../database/statement.ts";
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

  /** The write that adds an event. */
  static adding(
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
  ): Statement {
    return {
      sql: `INSERT INTO audit_events (id, type, outcome, actor_type, actor_id, user_id, client_id, session_uid,
         target_type, target_id, request_id, ip_prefix, details)
       SELECT k.id, k.type, k.outcome, k.actorType, k.actorId, k.userId, k.clientId, k.sessionUid,
         k.targetType, k.targetId, k.requestId, k.ipPrefix, k.details FROM :each`,
      each: {
        id: "uuid",
        type: "text",
        outcome: "text",
        actorType: "text",
        actorId: "uuid",
        userId: "uuid",
        clientId: "uuid",
        sessionUid: "text",
        targetType: "text",
        targetId: "text",
        requestId: "text",
        ipPrefix: "cidr",
        details: "jsonb",
      },
      bindings: { ...event, id: uuidv7(), details: JSON.stringify(event.details) },
    };
  }
}
