import { BaseModel } from "./base.ts";

/** What happened, step by step, where a sign-in through an identity provider failed. */
export class FederationTrace extends BaseModel {
  static override tableName = "federation_traces";
  static override idColumn = "supportId";
  static override jsonAttributes = ["steps"];
  declare supportId: string;
  declare providerId: string;
  declare reason: string;
  declare steps: readonly {
    at: number;
    step: string;
    detail?: Readonly<Record<string, unknown>>;
  }[];
  declare createdAt: Date;
  declare expiresAt: Date;
}
