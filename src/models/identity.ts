import { Model, type RelationMappings } from "objection";
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
  declare linkedVia: "signup" | "auto" | "user" | "admin";
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
}
