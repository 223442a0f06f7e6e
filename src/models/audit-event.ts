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
}
