import { Model, type RelationMappings } from "objection";
import { IdentifiedModel } from "./base.ts";
import { Organization } from "./organization.ts";
import { SamlConnection } from "./saml-connection.ts";
import { SsoDomain } from "./sso-domain.ts";

/** An identity provider elsewhere that people sign in with; operators call it a connection. */
export class IdentityProvider extends IdentifiedModel {
  static override tableName = "identity_providers";
  static override jsonAttributes = ["settings", "attributeMapping", "groupMapping", "roleMapping"];
  declare slug: string;
  declare kind: "oidc" | "oauth2" | "saml";
  declare preset: string | null;
  declare name: string;
  /** The name of the issuer of ours that it serves; empty for the first one. */
  declare atIssuer: string;
  declare enabled: boolean;
  declare showButton: boolean;
  declare displayOrder: number;
  declare clientId: string | null;
  declare clientSecretEnc: Buffer | null;
  /** A sealed JWK Set, of whose keys the first one is used. */
  declare privateKeyEnc: Buffer | null;
  /** Its `iss`, or its entity ID. */
  declare issuer: string | null;
  declare settings: Record<string, unknown>;
  declare attributeMapping: Record<string, string>;
  declare groupMapping: Record<string, string>;
  declare roleMapping: Record<string, string>;
  /** Whose people sign in through it. */
  declare organizationId: string | null;
  declare linkingPolicy: "never" | "prompt" | "verified_email" | "isolated";
  declare jitProvisioning: boolean;
  declare syncProfile: boolean;
  declare trustEmailVerified: boolean;
  declare trustedAcrValues: string[];
  declare keepAccess: boolean;
  declare exchangeClientIds: string[];
  /** Grows with every change. */
  declare version: number;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare saml?: SamlConnection | null;
  declare domains?: SsoDomain[];
  declare organization?: Organization | null;

  static override get relationMappings(): RelationMappings {
    return {
      saml: {
        relation: Model.HasOneRelation,
        modelClass: SamlConnection,
        join: { from: "identity_providers.id", to: "saml_connections.providerId" },
      },
      organization: {
        relation: Model.BelongsToOneRelation,
        modelClass: Organization,
        join: { from: "identity_providers.organizationId", to: "organizations.id" },
      },
      domains: {
        relation: Model.HasManyRelation,
        modelClass: SsoDomain,
        join: { from: "identity_providers.id", to: "sso_domains.providerId" },
      },
    };
  }
}
