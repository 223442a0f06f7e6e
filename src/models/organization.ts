import type { TransactionOrKnex } from "objection";
import { IdentifiedModel } from "./base.ts";

/** An organization as apps are told of it by somebody who belongs to it: its slug, its name, their active roles inside. */
export interface Affiliation {
  readonly id: string;
  readonly name: string;
  readonly roles: readonly string[];
}

/** A company, a school, a customer: whose people sign in here, and what it demands of them. */
export class Organization extends IdentifiedModel {
  static override tableName = "organizations";
  /** What apps see; it stays. */
  declare slug: string;
  /** What people read. */
  declare name: string;
  /** Whether its members must have a second step, wherever they sign in. */
  declare requireSecondFactor: boolean;
  declare createdAt: Date;

  /** What somebody belongs to, by slug, with the roles that they hold inside, by themselves or through a group. */
  static of(db: TransactionOrKnex, userId: string): Promise<Affiliation[]> {
    return Organization.statement<Affiliation>(
      db,
      `SELECT o.slug AS id, o.name, ARRAY(
         SELECT DISTINCT r.slug FROM role_assignments a JOIN roles r ON r.id = a.role_id
          WHERE a.organization_id = o.id AND r.is_active AND (a.user_id = m.user_id
                OR a.group_id IN (SELECT group_id FROM group_members g WHERE g.user_id = m.user_id))
          ORDER BY r.slug) AS roles
       FROM organization_members m JOIN organizations o ON o.id = m.organization_id
       WHERE m.user_id = :userId ORDER BY o.slug`,
      { userId },
    );
  }
}
