import type { JWK } from "jose";
import { BaseModel } from "./base.ts";

export type SigningKeyState = "pending" | "active" | "retiring" | "retired";

/** A key that signs tokens; its private half is sealed. */
export class SigningKey extends BaseModel {
  static override tableName = "signing_keys";
  static override idColumn = "kid";
  static override jsonAttributes = ["publicJwk"];
  declare kid: string;
  declare usage: "oidc_sig";
  declare alg: string;
  declare state: SigningKeyState;
  declare publicJwk: JWK;
  declare privateEnc: Buffer;
  declare createdAt: Date;
  declare activateAt: Date;
  declare retireAt: Date | null;
}
