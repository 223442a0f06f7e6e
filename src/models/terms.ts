import { Model, type RelationMappings } from "objection";
import { BaseModel, IdentifiedModel } from "./base.ts";

/** A version of a document that people are asked to agree to. */
export class TermsVersion extends IdentifiedModel {
  static override tableName = "terms_versions";
  /** The document's name, the same for all versions: `terms`, `privacy`, `newsletter`. */
  declare document: string;
  declare version: number;
  /** Whether nobody goes on who does not agree. */
  declare isMandatory: boolean;
  declare publishedAt: Date;
  declare withdrawnAt: Date | null;
  declare texts?: TermsText[];

  static override get relationMappings(): RelationMappings {
    return {
      texts: {
        relation: Model.HasManyRelation,
        modelClass: TermsText,
        join: { from: "terms_versions.id", to: "terms_texts.versionId" },
      },
    };
  }
}

/** What a version says in one language; plain text. */
export class TermsText extends BaseModel {
  static override tableName = "terms_texts";
  static override idColumn = ["versionId", "locale"];
  declare versionId: string;
  declare locale: string;
  declare title: string;
  /** What changed. */
  declare summary: string | null;
  declare body: string;
}

/** What a person decided about a version, and in which language it was read. */
export class TermsAcceptance extends BaseModel {
  static override tableName = "terms_acceptances";
  static override idColumn = ["userId", "versionId"];
  declare userId: string;
  declare versionId: string;
  /** Where it is not mandatory, people may say no. */
  declare accepted: boolean;
  declare locale: string;
  declare decidedAt: Date;
}
