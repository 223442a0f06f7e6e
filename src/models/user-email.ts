import { IdentifiedModel } from "./base.ts";

/** An address of a user. Any number may claim it, only one may have verified it. */
export class UserEmail extends IdentifiedModel {
  static override tableName = "user_emails";
  declare userId: string;
  declare email: string;
  declare emailNorm: string;
  declare isPrimary: boolean;
  declare verifiedAt: Date | null;
  declare createdAt: Date;
}
