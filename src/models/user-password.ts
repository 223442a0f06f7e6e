import { BaseModel } from "./base.ts";

/** A password as a PHC string, or in the form of `authn/hashes` that an import left. */
export class UserPassword extends BaseModel {
  static override tableName = "user_passwords";
  static override idColumn = "userId";
  declare userId: string;
  declare hash: string;
  declare changedAt: Date;
}
