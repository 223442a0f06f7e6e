import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** Whom a role is given to, and inside which organization. */
export type HolderColumns = Pick<RoleAssignment, "userId" | "groupId" | "organizationId">;

/** That somebody, or everybody in a group, holds a role, everywhere or inside an organization, as an operator or one of their identities says. */
export class RoleAssignment extends BaseModel {
  static override tableName = "role_assignments";
  static override idColumn = ["roleId", "userId", "groupId", "identityId", "organizationId"];
  declare roleId: string;
  declare userId: string | null;
  declare groupId: string | null;
  declare identityId: string | null;
  declare organizationId: string | null;
  declare createdAt: Date;

  /**
   * Gives a role by hand.
   *
   * @returns whether it was not given by hand before.
   * @throws the database's error where it is inside an organization that the person does not belong to.
   */
  static async add(
    db: TransactionOrKnex,
    given: HolderColumns & { readonly roleId: string },
  ): Promise<boolean> {
    const rows = await RoleAssignment.statement(
      db,
      `INSERT INTO role_assignments (role_id, user_id, group_id, organization_id)
       VALUES (:roleId, :userId, :groupId, :organizationId) ON CONFLICT DO NOTHING RETURNING 1`,
      given,
    );
    return rows.length === 1;
  }
}
