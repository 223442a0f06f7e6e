import { Model, type RelationMappings, type TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import type { Statement } from "../database/statement.ts";
import { IdentifiedModel } from "./base.ts";
import { Group } from "./group.ts";
import { Identity } from "./identity.ts";
import { Organization } from "./organization.ts";
import { SystemRole } from "./system-role.ts";
import { UserEmail } from "./user-email.ts";
import { UserPassword } from "./user-password.ts";
import { UserProfile } from "./user-profile.ts";

type Json = Record<string, unknown>;

/** A user with everything claims are made of, as {@link selectUser} has it. */
export interface UserJson {
  readonly user: Json;
  readonly profile: Json | null;
  readonly emails: readonly Json[];
  readonly groups: readonly Json[];
  readonly organizations: readonly Json[];
}

/**
 * Selects {@link UserJson} of the user whose key is `id`, an expression: one value, so that a look-up of something of
 * theirs can have them beside it.
 */
export function selectUser(id: string): string {
  return `(SELECT json_build_object('user', u, 'profile', p,
     'emails', coalesce((SELECT json_agg(e) FROM user_emails e WHERE e.user_id = u.id), '[]'),
     'groups', coalesce((SELECT json_agg(g) FROM groups g WHERE g.id IN
       (SELECT group_id FROM group_members m WHERE m.user_id = u.id)), '[]'),
     'organizations', coalesce((SELECT json_agg(o) FROM organizations o WHERE o.id IN
       (SELECT organization_id FROM organization_members m WHERE m.user_id = u.id)), '[]'))
   FROM users u LEFT JOIN user_profiles p ON p.user_id = u.id WHERE u.id = ${id})`;
}

const FIND_WITH_CLAIMS = lookUp(`SELECT ${selectUser("k.id")} AS found`, { id: "uuid" });

/** A person who can sign in. `id` is the `sub` of every token (OIDC Core §2) and is never reused. */
export class User extends IdentifiedModel {
  static override tableName = "users";
  declare username: string | null;
  declare usernameNorm: string | null;
  declare status: "active" | "deactivated";
  declare statusChangedAt: Date;
  declare sessionsValidAfter: Date | null;
  /** What authenticators know the user by (WebAuthn §5.4.3): random, and not the id. */
  declare webauthnUserHandle: Buffer;
  /** What was shown before this moment counts no more in a sign-in that is not finished. */
  declare credentialsChangedAt: Date | null;
  declare createdVia: "setup" | "admin" | "registration" | "invitation" | "federation";
  /** Whether they are asked for a passkey after their password, wherever they sign in. */
  declare passkeyIsSecondStep: boolean;
  declare lastLoginAt: Date | null;
  /** How often they put off setting up a second factor that a policy asks for. */
  declare enrolmentSkips: number;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare emails?: UserEmail[];
  declare profile?: UserProfile | null;
  declare password?: UserPassword | null;
  declare systemRoles?: SystemRole[];
  declare groups?: Group[];
  declare organizations?: Organization[];
  declare identities?: Identity[];

  static override get relationMappings(): RelationMappings {
    return {
      emails: {
        relation: Model.HasManyRelation,
        modelClass: UserEmail,
        join: { from: "users.id", to: "user_emails.userId" },
      },
      profile: {
        relation: Model.HasOneRelation,
        modelClass: UserProfile,
        join: { from: "users.id", to: "user_profiles.userId" },
      },
      password: {
        relation: Model.HasOneRelation,
        modelClass: UserPassword,
        join: { from: "users.id", to: "user_passwords.userId" },
      },
      identities: {
        relation: Model.HasManyRelation,
        modelClass: Identity,
        join: { from: "users.id", to: "identities.userId" },
      },
      groups: {
        relation: Model.ManyToManyRelation,
        modelClass: Group,
        join: {
          from: "users.id",
          through: { from: "group_members.userId", to: "group_members.groupId" },
          to: "groups.id",
        },
      },
      organizations: {
        relation: Model.ManyToManyRelation,
        modelClass: Organization,
        join: {
          from: "users.id",
          through: {
            from: "organization_members.userId",
            to: "organization_members.organizationId",
          },
          to: "organizations.id",
        },
      },
      systemRoles: {
        relation: Model.HasManyRelation,
        modelClass: SystemRole,
        join: { from: "users.id", to: "system_roles.userId" },
      },
    };
  }

  /**
   * A user with addresses, groups, organizations and profile. Asked for in nearly every request, so it is one statement.
   */
  static async findWithClaims(db: TransactionOrKnex, id: string): Promise<User | undefined> {
    const found = await User.findJson(db, id);
    return found && User.withClaims(found);
  }

  /** The same as it is selected. */
  static async findJson(db: TransactionOrKnex, id: string): Promise<UserJson | undefined> {
    const row = await User.lookUp<{ found: UserJson | null }>(db, FIND_WITH_CLAIMS, { id });
    return row?.found ?? undefined;
  }

  static withClaims({ user, profile, emails, groups, organizations }: UserJson): User {
    const model = User.fromJsonRow(user);
    model.emails = emails.map((email) => UserEmail.fromJsonRow(email));
    model.groups = groups.map((group) => Group.fromJsonRow(group));
    model.organizations = organizations.map((one) => Organization.fromJsonRow(one));
    model.profile = profile && UserProfile.fromJsonRow(profile);
    return model;
  }

  /** The write that notes when somebody has signed in. */
  static notingLogin(id: string, now: Date): Statement {
    return {
      sql: "UPDATE users SET last_login_at = k.now FROM :each WHERE users.id = k.id AND users.id = ANY(:id)",
      each: { id: "uuid", now: "timestamptz" },
      bindings: { id, now },
    };
  }

  /** Counts that somebody puts off setting up a second step. Of any number of callers no more than `most` get `true`. */
  static async skipEnrolment(db: TransactionOrKnex, id: string, most: number): Promise<boolean> {
    const rows = await User.statement(
      db,
      `UPDATE users SET enrolment_skips = enrolment_skips + 1
        WHERE id = :id AND enrolment_skips < :most RETURNING 1`,
      { id, most },
    );
    return rows.length === 1;
  }

  /** When what they had shown, or all their sign-ins, last ceased to count; the beginning of time where they never did. */
  get overtakenAt(): Date {
    return new Date(
      Math.max(this.credentialsChangedAt?.getTime() ?? 0, this.sessionsValidAfter?.getTime() ?? 0),
    );
  }

  get isActive(): boolean {
    return this.status === "active";
  }

  /** The address that names this person on pages and in tokens; needs `emails` fetched. */
  get primaryEmail(): UserEmail | undefined {
    return this.emails?.find((email) => email.isPrimary) ?? this.emails?.[0];
  }
}
