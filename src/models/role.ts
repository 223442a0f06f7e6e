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

  /** The active roles that somebody holds, by themselves or through a group, by their slugs. */
  static async heldBy(db: TransactionOrKnex, userId: string): Promise<Role[]> {
    const rows = await Role.statement<object>(
      db,
      `SELECT id, slug, name, is_active, created_at FROM roles WHERE is_active AND id IN (
         SELECT role_id FROM role_assignments WHERE user_id = :userId
         UNION ALL
         SELECT a.role_id FROM role_assignments a JOIN group_members m ON m.group_id = a.group_id
          WHERE m.user_id = :userId)
       ORDER BY slug`,
      { userId },
    );
    return rows.map((row) => Role.fromRow(row));
  }

  /**
   * Gives somebody exactly those of the named roles that there are, as far as one identity of theirs says so. What
   * others say stays.
   *
   * @returns the roles that they got and lost by it.
   */
  static async follow(
    db: TransactionOrKnex,
    { userId, identityId, slugs }: { userId: string; identityId: string; slugs: readonly string[] },
  ): Promise<{ got: string[]; lost: string[] }> {
    const lost = await Role.statement<{ id: string }>(
      db,
      `DELETE FROM role_assignments a USING roles r
       WHERE a.identity_id = :identityId AND r.id = a.role_id AND NOT r.slug = ANY(CAST(:slugs AS text[]))
       RETURNING r.id`,
      { identityId, slugs },
    );
    const got = await Role.statement<{ id: string }>(
      db,
      `INSERT INTO role_assignments (role_id, user_id, identity_id)
       SELECT id, :userId, :identityId FROM roles WHERE slug = ANY(CAST(:slugs AS text[])) ORDER BY id
       ON CONFLICT DO NOTHING RETURNING role_id AS id`,
      { userId, identityId, slugs },
    );
    return { got: got.map(({ id }) => id), lost: lost.map(({ id }) => id) };
  }
}
