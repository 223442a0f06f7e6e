import type { TransactionOrKnex } from "objection";
import { IdentifiedModel } from "./base.ts";

/** People who belong together for the apps that ask (claim `groups`), and for what is demanded of them. Never a role here. */
export class Group extends IdentifiedModel {
  static override tableName = "groups";
  declare name: string;
  /** Whether its members must have a second step, wherever they sign in. */
  declare requireSecondFactor: boolean;
  declare createdAt: Date;

  /**
   * Makes somebody a member of exactly those of the named groups that there are, as far as one identity of theirs says
   * so. What others say stays.
   *
   * @param said.keepsDemanding whether they stay in those that demand a second factor.
   * @returns the groups that they came into and left by it.
   */
  static async follow(
    db: TransactionOrKnex,
    {
      userId,
      identityId,
      names,
      keepsDemanding,
    }: { userId: string; identityId: string; names: readonly string[]; keepsDemanding: boolean },
  ): Promise<{ joined: string[]; left: string[] }> {
    const left = await Group.statement<{ id: string }>(
      db,
      `DELETE FROM group_members m USING groups g
       WHERE m.identity_id = :identityId AND g.id = m.group_id AND NOT g.name = ANY(CAST(:names AS text[]))
         AND NOT (g.require_second_factor AND CAST(:keepsDemanding AS boolean))
       RETURNING g.id`,
      { identityId, names, keepsDemanding },
    );
    const joined = await Group.statement<{ id: string }>(
      db,
      `INSERT INTO group_members (group_id, user_id, identity_id)
       SELECT id, :userId, :identityId FROM groups WHERE name = ANY(CAST(:names AS text[])) ORDER BY id
       ON CONFLICT DO NOTHING RETURNING group_id AS id`,
      { userId, identityId, names },
    );
    return { joined: joined.map(({ id }) => id), left: left.map(({ id }) => id) };
  }
}
