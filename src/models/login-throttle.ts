import { BaseModel } from "./base.ts";

/** How often somebody has failed to sign in, or typed a code or named a user that nobody has, or registered a client, or had a mail sent, or sent a message that proved nothing, counted under a keyed hash. */
export class LoginThrottle extends BaseModel {
  static override tableName = "login_throttles";
  static override idColumn = "keyHash";
  declare keyHash: Buffer;
  declare scope:
    | "account"
    | "ip"
    | "account_ip"
    | "code_ip"
    | "code_session"
    | "hint"
    | "registration"
    | "document"
    | "message"
    | "ciba"
    | "ciba_user"
    | "account_hour"
    | "sprayed"
    | "spray"
    | "device"
    | "device_total"
    | "mail_address"
    | "mail_ip"
    | "factor"
    | "factor_user"
    | "recovery_user";
  declare failures: number;
  declare windowStart: Date;
  declare blockedUntil: Date | null;
  declare gcOn: string;
}
