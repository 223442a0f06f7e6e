import { BaseModel } from "./base.ts";

/** A system role that a user holds. */
export class RoleAssignment extends BaseModel {
  static override tableName = "role_assignments";
  static override idColumn = ["userId", "role"];
  declare userId: string;
  declare role: "superadmin";
  declare grantedAt: Date;
}
