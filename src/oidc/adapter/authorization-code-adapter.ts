import type { Knex } from "knex";
import { errors, type AdapterPayload } from "oidc-provider";
import { decide, defer, reader, writer } from "../../database/transaction.ts";
import { sha256 } from "../../lib/secret.ts";
import { OAuthAuthorization } from "../../models/oauth-authorization.ts";
import type { GrantRevocation } from "./grant-revocation.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry, restore, strip } from "./payload.ts";
import { rememberContext } from "./prefetch.ts";

/** AuthorizationCode: rows of `oauth_authorizations`. */
export class AuthorizationCodeAdapter extends ModelAdapter {
  readonly #knex: Knex;
  readonly #revocation: GrantRevocation;

  constructor(knex: Knex, revocation: GrantRevocation) {
    super();
    this.#knex = knex;
    this.#revocation = revocation;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const { accountId, grantId, redirectUri } = payload;
    if (accountId === undefined || grantId === undefined || redirectUri === undefined) {
      throw new TypeError("a code has a user, a grant and a redirect URI");
    }
    await defer(
      this.#knex,
      OAuthAuthorization.addition({
        codeHash: sha256(id),
        expiresAt: expiry(payload, expiresIn),
        grantId,
        userId: accountId,
        sessionUid: payload.sessionUid ?? null,
        redirectUri,
        scope: payload.scope ?? null,
        payload: strip(payload, "accountId", "grantId", "redirectUri", "scope", "sessionUid"),
      }),
    );
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const row = await OAuthAuthorization.find(reader(this.#knex), sha256(id), new Date());
    if (row === undefined || row.grant_id === null) return undefined;
    const sessionUid = row.bound_session_uid ?? undefined;
    rememberContext(row, sessionUid);
    return restore(row.payload, {
      kind: "AuthorizationCode",
      jti: id,
      expiresAt: row.expires_at,
      consumedAt: row.consumed_at,
      accountId: row.user_id,
      grantId: row.grant_id,
      redirectUri: row.redirect_uri,
      ...(row.scope === null ? {} : { scope: row.scope }),
      ...(sessionUid === undefined ? {} : { sessionUid }),
    });
  }

  /**
   * A code is good once (RFC 6749 §4.1.2). Whoever comes second, even at the same moment, revokes what the first
   * one got: one of the two is not the client.
   */
  override async consume(id: string): Promise<void> {
    const now = new Date();
    const codeHash = sha256(id);
    await decide(this.#knex, OAuthAuthorization.consumption(codeHash, now), async () => {
      const row = await OAuthAuthorization.find(await writer(this.#knex), codeHash, now);
      if (row?.grant_id) await this.#revocation.revoke(row.grant_id);
      throw new errors.InvalidGrant("authorization code already consumed");
    });
  }

  async destroy(id: string): Promise<void> {
    await OAuthAuthorization.remove(await writer(this.#knex), sha256(id), new Date());
  }

  override async revokeByGrantId(grantId: string): Promise<void> {
    await this.#revocation.voidTokens(grantId);
  }
}
