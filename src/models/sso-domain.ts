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
}
