import { Model, type RelationMappings, type TransactionOrKnex } from "objection";
import { IdentifiedModel } from "./base.ts";
import { IdentityProvider } from "./identity-provider.ts";

/** That a person here is somebody at an identity provider: known by provider, issuer and subject, never by address. */
export class Identity extends IdentifiedModel {
  static override tableName = "identities";
  declare userId: string;
  declare providerId: string;
  declare issuer: string;
  declare subject: string;
  declare email: string | null;
  declare emailVerified: boolean;
  declare name: string | null;
  declare linkedVia: "signup" | "auto" | "user";
  declare lastLoginAt: Date | null;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare provider?: IdentityProvider;

  static override get relationMappings(): RelationMappings {
    return {
      provider: {
        relation: Model.BelongsToOneRelation,
        modelClass: IdentityProvider,
        join: { from: "identities.providerId", to: "identity_providers.id" },
      },
    };
  }

  /** Whether a user could still sign in without this one. Ask in a transaction that holds the user's row. */
  static async isSpare(
    db: TransactionOrKnex,
    { id, userId }: { id: string; userId: string },
  ): Promise<boolean> {
    const rows = await Identity.statement(
      db,
      `SELECT FROM users u WHERE u.id = :userId
         AND (EXISTS (SELECT FROM user_passwords WHERE user_id = u.id)
           OR EXISTS (SELECT FROM webauthn_credentials WHERE user_id = u.id)
           OR EXISTS (SELECT FROM identities i JOIN identity_providers p ON p.id = i.provider_id
                WHERE i.user_id = u.id AND i.id <> :id AND p.enabled))`,
      { id, userId },
    );
    return rows.length === 1;
  }

  /** Whether its provider is the only one by which people of its user's domain, or of its own address, may sign in. */
  static async isEnforced(db: TransactionOrKnex, id: string): Promise<boolean> {
    const rows = await Identity.statement(
      db,
      `SELECT FROM identities i JOIN sso_domains d ON d.provider_id = i.provider_id
       WHERE i.id = :id AND d.enforce_sso AND d.verified_at IS NOT NULL
         AND (d.domain = split_part(i.email, '@', 2)
           OR EXISTS (SELECT FROM user_emails e
                WHERE e.user_id = i.user_id AND d.domain = split_part(e.email_norm, '@', 2)))
       LIMIT 1`,
      { id },
    );
    return rows.length === 1;
  }
}
