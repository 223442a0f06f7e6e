import { BaseModel } from "./base.ts";

/** What somebody may do with this service itself. No role that apps see, no group and no identity provider gives it. */
export class SystemRole extends BaseModel {
  static override tableName = "system_roles";
  static override idColumn = ["userId", "role"];
  declare userId: string;
  declare role: "superadmin";
  declare grantedAt: Date;
}
