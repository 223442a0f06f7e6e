import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** That somebody belongs to an organization, as an operator or one of their identities says. */
export class OrganizationMember extends BaseModel {
  static override tableName = "organization_members";
  static override idColumn = ["organizationId", "userId"];
  declare organizationId: string;
  declare userId: string;
  declare identityId: string | null;
  declare createdAt: Date;

  /**
   * Makes somebody a member by hand, who then stays one whatever becomes of their identities.
   *
   * @returns whether they were not one by hand before.
   */
  static async add(
    db: TransactionOrKnex,
    member: { organizationId: string; userId: string },
  ): Promise<boolean> {
    const rows = await OrganizationMember.statement(
      db,
      `INSERT INTO organization_members AS m (organization_id, user_id) VALUES (:organizationId, :userId)
       ON CONFLICT (organization_id, user_id) DO UPDATE SET identity_id = NULL WHERE m.identity_id IS NOT NULL
       RETURNING 1`,
      member,
    );
    return rows.length === 1;
  }

  /**
   * Makes somebody a member of the organization whose connection they sign in through. Of several identities the latest
   * stands for it; who is a member by hand stays so. Whoever gives the connection to another one waits, and finds them.
   *
   * @returns the organization that they came into by it.
   */
  static async join(
    db: TransactionOrKnex,
    identity: { providerId: string; userId: string; identityId: string },
  ): Promise<string | undefined> {
    const [row] = await OrganizationMember.statement<{ id: string; isNew: boolean }>(
      db,
      `INSERT INTO organization_members AS m (organization_id, user_id, identity_id)
       SELECT organization_id, :userId, :identityId FROM identity_providers
        WHERE id = :providerId AND organization_id IS NOT NULL FOR SHARE
       ON CONFLICT (organization_id, user_id) DO UPDATE SET identity_id = EXCLUDED.identity_id
        WHERE m.identity_id <> EXCLUDED.identity_id
       RETURNING organization_id AS id, created_at = now() AS "isNew"`,
      identity,
    );
    return row?.isNew === true ? row.id : undefined;
  }

  /**
   * Lets another identity at a connection of the organization stand for a membership, where there is one, before an
   * identity goes, or all at a connection.
   */
  static async standByOthers(
    db: TransactionOrKnex,
    {
      identityId = null,
      providerId = null,
    }: { identityId?: string | null; providerId?: string | null },
  ): Promise<void> {
    await OrganizationMember.statement(
      db,
      `UPDATE organization_members m SET identity_id = o.id
       FROM identities g, identities o JOIN identity_providers p ON p.id = o.provider_id
       WHERE m.identity_id = g.id AND (g.id = :identityId OR g.provider_id = :providerId)
         AND o.user_id = m.user_id AND p.organization_id = m.organization_id
         AND o.id <> g.id AND o.provider_id IS DISTINCT FROM CAST(:providerId AS uuid)`,
      { identityId, providerId },
    );
  }

  /** Takes from everybody what they are and hold by a connection that is no longer the organization's. */
  static async leave(db: TransactionOrKnex, providerId: string): Promise<void> {
    await OrganizationMember.standByOthers(db, { providerId });
    await OrganizationMember.statement(
      db,
      `DELETE FROM role_assignments a USING identities i
        WHERE i.id = a.identity_id AND i.provider_id = :providerId`,
      { providerId },
    );
    await OrganizationMember.statement(
      db,
      `DELETE FROM organization_members m USING identities i
        WHERE i.id = m.identity_id AND i.provider_id = :providerId`,
      { providerId },
    );
  }
}
