import { BaseModel } from "./base.ts";

/** That somebody belongs to a group, as an operator or one of their identities says. */
export class GroupMember extends BaseModel {
  static override tableName = "group_members";
  static override idColumn = ["groupId", "userId", "identityId"];
  declare groupId: string;
  declare userId: string;
  declare identityId: string | null;
  declare createdAt: Date;
}
