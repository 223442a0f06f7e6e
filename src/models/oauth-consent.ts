import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import { IdentifiedModel } from "./base.ts";

/** A consent, as {@link selectConsent} has it. */
export interface ConsentJson {
  readonly user_id: string;
  readonly client_id: string;
}

/** Selects what somebody has decided about a client, as JSON, by expressions for the keys of both. */
export function selectConsent(userId: string, clientId: string): string {
  return `(SELECT to_json(c) FROM oauth_consents c
    WHERE c.user_id = ${userId} AND c.client_id = ${clientId} AND c.revoked_at IS NULL)`;
}

const FIND = lookUp(`SELECT ${selectConsent("k.userId", "k.clientId")} AS found`, {
  userId: "uuid",
  clientId: "uuid",
});

/** What a user allowed a client, until one of them takes it back. */
export class OAuthConsent extends IdentifiedModel {
  static override tableName = "oauth_consents";
  declare userId: string;
  declare clientId: string;
  declare scopes: string[];
  declare rejectedScopes: string[];
  declare grantedAt: Date;
  declare updatedAt: Date;
  declare revokedAt: Date | null;

  /** The consent that holds. */
  static async find(
    db: TransactionOrKnex,
    about: { userId: string; clientId: string },
  ): Promise<OAuthConsent | undefined> {
    const row = await OAuthConsent.lookUp<{ found: ConsentJson | null }>(db, FIND, about);
    return row?.found ? OAuthConsent.fromJsonRow(row.found) : undefined;
  }
}
