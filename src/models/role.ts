import type { TransactionOrKnex } from "objection";
import { IdentifiedModel } from "./base.ts";

/** What apps that ask (claim `roles`) let somebody do. Means nothing to this service itself; see {@link SystemRole}. */
export class Role extends IdentifiedModel {
  static override tableName = "roles";
  /** What apps see; it stays. */
  declare slug: string;
  /** What people read. */
  declare name: string;
  /** An inactive one stays assigned and gives nothing. */
  declare isActive: boolean;
  declare createdAt: Date;

  /** The active roles that somebody holds in no organization, by themselves or through a group, by their slugs. */
  static async heldBy(db: TransactionOrKnex, userId: string): Promise<Role[]> {
    const rows = await Role.statement<object>(
      db,
      `SELECT id, slug, name, is_active, created_at FROM roles WHERE is_active AND id IN (
         SELECT role_id FROM role_assignments WHERE user_id = :userId AND organization_id IS NULL
         UNION ALL
         SELECT a.role_id FROM role_assignments a JOIN group_members m ON m.group_id = a.group_id
          WHERE m.user_id = :userId AND a.organization_id IS NULL)
       ORDER BY slug`,
      { userId },
    );
    return rows.map((row) => Role.fromRow(row));
  }

  /**
   * Gives somebody exactly those of the named roles that there are, as far as one identity of theirs says so: inside
   * the organization whose connection it is at, or everywhere. What others say stays.
   *
   * @returns the roles that they got and lost by it.
   */
  static async follow(
    db: TransactionOrKnex,
    said: { providerId: string; userId: string; identityId: string; slugs: readonly string[] },
  ): Promise<{ got: string[]; lost: string[] }> {
    const lost = await Role.statement<{ id: string }>(
      db,
      `DELETE FROM role_assignments a USING roles r, identity_providers p
       WHERE a.identity_id = :identityId AND r.id = a.role_id AND p.id = :providerId
         AND NOT (r.slug = ANY(CAST(:slugs AS text[])) AND a.organization_id IS NOT DISTINCT FROM p.organization_id)
       RETURNING r.id`,
      said,
    );
    const got = await Role.statement<{ id: string }>(
      db,
      `INSERT INTO role_assignments (role_id, user_id, identity_id, organization_id)
       SELECT r.id, :userId, :identityId, p.organization_id FROM roles r, identity_providers p
        WHERE r.slug = ANY(CAST(:slugs AS text[])) AND p.id = :providerId ORDER BY r.id
       ON CONFLICT DO NOTHING RETURNING role_id AS id`,
      said,
    );
    return { got: got.map(({ id }) => id), lost: lost.map(({ id }) => id) };
  }

  /** Takes from everybody what a connection gave of other roles than the named ones, whether they come back or not. */
  static async keepOnly(
    db: TransactionOrKnex,
    said: { providerId: string; slugs: readonly string[] },
  ): Promise<void> {
    await Role.statement(
      db,
      `DELETE FROM role_assignments a USING identities i, roles r
       WHERE i.id = a.identity_id AND i.provider_id = :providerId
         AND r.id = a.role_id AND NOT (r.slug = ANY(CAST(:slugs AS text[])))`,
      said,
    );
  }
}
