import type { TransactionOrKnex } from "objection";
import { IdentifiedModel } from "./base.ts";

/** A domain of e-mail addresses whose people sign in through an identity provider, once it is proven to be its. */
export class SsoDomain extends IdentifiedModel {
  static override tableName = "sso_domains";
  declare domain: string;
  declare providerId: string;
  /** What its owner publishes in DNS. */
  declare dnsChallenge: string;
  declare verifiedAt: Date | null;
  /** Whether its people can sign in through the provider only. */
  declare enforceSso: boolean;
  declare createdAt: Date;

  /** Whether who has an address, in its normal form, can sign in through a connection only, at whichever issuer. */
  static async isEnforcedFor(db: TransactionOrKnex, emailNorm: string): Promise<boolean> {
    const rows = await SsoDomain.statement(
      db,
      `SELECT FROM sso_domains d JOIN identity_providers p ON p.id = d.provider_id
       WHERE d.domain = split_part(:emailNorm, '@', 2)
         AND d.verified_at IS NOT NULL AND d.enforce_sso AND p.enabled`,
      { emailNorm },
    );
    return rows.length > 0;
  }
}
