import { Model, type RelationMappings } from "objection";
import { IdentifiedModel } from "./base.ts";
import { OAuthClient } from "./oauth-client.ts";

/** A workload elsewhere whose own tokens stand for one of our clients (RFC 7523 §2.1). */
export class Workload extends IdentifiedModel {
  static override tableName = "workloads";
  static override jsonAttributes = ["jwks", "claims"];
  /** The key of the row of the client that it is here. */
  declare clientId: string;
  /** The `iss` of its tokens. */
  declare issuerUrl: string;
  /** Where its issuer publishes its keys; or the keys themselves. */
  declare jwksUri: string | null;
  declare jwks: { keys: Record<string, unknown>[] } | null;
  declare algorithms: string[];
  /** What its tokens must say; a value that ends with `*` is what theirs begins with. */
  declare claims: Record<string, string>;
  declare createdAt: Date;
  declare client?: OAuthClient;

  static override get relationMappings(): RelationMappings {
    return {
      client: {
        relation: Model.BelongsToOneRelation,
        modelClass: OAuthClient,
        join: { from: "workloads.clientId", to: "oauth_clients.id" },
      },
    };
  }
}
