import { BaseModel } from "./base.ts";

/** That somebody, or everybody in a group, holds a role, as an operator or one of their identities says. */
export class RoleAssignment extends BaseModel {
  static override tableName = "role_assignments";
  static override idColumn = ["roleId", "userId", "groupId", "identityId"];
  declare roleId: string;
  declare userId: string | null;
  declare groupId: string | null;
  declare identityId: string | null;
  declare createdAt: Date;
}
