import { Model, type RelationMappings } from "objection";
import type { SigningAlgorithm } from "../issuers.ts";
import { ApiResourceClient } from "./api-resource-client.ts";
import { IdentifiedModel } from "./base.ts";
import { OAuthClient } from "./oauth-client.ts";
import { Permission } from "./permission.ts";

/** An API that access tokens are for (RFC 8707 §2). */
export class ApiResource extends IdentifiedModel {
  static override tableName = "api_resources";
  /** The absolute URI that requests name it by, and the audience of its tokens. */
  declare indicator: string;
  /** The name of the issuer whose tokens it takes; empty for the first one. */
  declare issuer: string;
  /** What people know it as. */
  declare name: string;
  /** Which clients may ask for it on behalf of a person: those listed, or any of the issuer. */
  declare openTo: "listed" | "any";
  declare tokenFormat: "jwt" | "opaque";
  /** Seconds. */
  declare tokenLifetime: number;
  /** The issuer's first one where it is null. */
  declare signingAlg: SigningAlgorithm | null;
  /** The key of the row of the client that the API itself is: it asks about tokens, and exchanges them. */
  declare ownClientId: string | null;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare permissions?: Permission[];
  declare clients?: ApiResourceClient[];
  declare ownClient?: OAuthClient | null;

  static override get relationMappings(): RelationMappings {
    return {
      permissions: {
        relation: Model.HasManyRelation,
        modelClass: Permission,
        join: { from: "api_resources.id", to: "permissions.apiResourceId" },
      },
      clients: {
        relation: Model.HasManyRelation,
        modelClass: ApiResourceClient,
        join: { from: "api_resources.id", to: "api_resource_clients.apiResourceId" },
      },
      ownClient: {
        relation: Model.BelongsToOneRelation,
        modelClass: OAuthClient,
        join: { from: "api_resources.ownClientId", to: "oauth_clients.id" },
      },
    };
  }
}
