import { IdentifiedModel } from "./base.ts";

/** A data-encryption key, wrapped by the key that the operator holds. */
export class DataKey extends IdentifiedModel {
  static override tableName = "data_keys";
  declare purpose: "app";
  declare kekId: string;
  declare wrappedDek: Buffer;
  declare createdAt: Date;
  declare retiredAt: Date | null;
}
