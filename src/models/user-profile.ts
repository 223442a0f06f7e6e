import { BaseModel } from "./base.ts";

/** The standard claims of OIDC Core §5.1 that a person may have. */
export class UserProfile extends BaseModel {
  static override tableName = "user_profiles";
  static override idColumn = "userId";
  static override jsonAttributes = ["address"];
  declare userId: string;
  declare displayName: string | null;
  declare givenName: string | null;
  declare middleName: string | null;
  declare familyName: string | null;
  declare nickname: string | null;
  declare profileUrl: string | null;
  declare pictureUrl: string | null;
  declare website: string | null;
  declare gender: string | null;
  declare birthdate: string | null;
  declare zoneinfo: string | null;
  declare locale: string | null;
  declare phoneNumber: string | null;
  /** OIDC Core §5.1.1. */
  declare address: Record<string, string> | null;
  declare updatedAt: Date;
}
