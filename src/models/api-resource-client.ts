import { Model, type RelationMappings } from "objection";
import { BaseModel } from "./base.ts";
import { OAuthClient } from "./oauth-client.ts";

/** That a client may ask for tokens for an API. */
export class ApiResourceClient extends BaseModel {
  static override tableName = "api_resource_clients";
  static override idColumn = ["apiResourceId", "clientId"];
  declare apiResourceId: string;
  /** The key of the client's row. */
  declare clientId: string;
  /** The permissions that it may have; all where it is null. */
  declare permissions: string[] | null;
  declare client?: OAuthClient;

  static override get relationMappings(): RelationMappings {
    return {
      client: {
        relation: Model.BelongsToOneRelation,
        modelClass: OAuthClient,
        join: { from: "api_resource_clients.clientId", to: "oauth_clients.id" },
      },
    };
  }
}
