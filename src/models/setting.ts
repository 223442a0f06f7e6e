import { BaseModel } from "./base.ts";

/** One value that all nodes share. */
export class Setting extends BaseModel {
  static override tableName = "settings";
  static override idColumn = "key";
  static override jsonAttributes = ["value"];
  declare key: string;
  declare value: unknown;
  declare updatedAt: Date;
}
