import type { TransactionOrKnex } from "objection";
import { WebauthnCredential } from "../models/webauthn-credential.ts";

/** Whether somebody can sign in without a password: with a passkey. */
export async function hasOtherWays(db: TransactionOrKnex, userId: string): Promise<boolean> {
  return (await WebauthnCredential.query(db).findOne({ userId })) !== undefined;
}
