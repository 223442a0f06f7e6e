import type { Knex } from "knex";
import { errors, Provider, type AdapterPayload } from "oidc-provider";
import { defer, reader, writer } from "../../database/transaction.ts";
import { RefreshToken } from "../../models/refresh-token.ts";
import type { RefreshTokenFormat } from "../refresh-token-format.ts";
import type { GrantRevocation } from "./grant-revocation.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry, restore, strip } from "./payload.ts";
import type { Prefetch } from "./prefetch.ts";

/** How long the previous token still answers where the client does not say: `oauth_clients.refresh_reuse_interval`. */
const DEFAULT_REUSE_INTERVAL = 10;

/** RefreshToken: families, rows of `refresh_tokens`. */
export class RefreshTokenAdapter extends ModelAdapter {
  readonly #knex: Knex;
  readonly #format: RefreshTokenFormat;
  readonly #prefetch: Prefetch;
  readonly #revocation: GrantRevocation;

  constructor(
    knex: Knex,
    format: RefreshTokenFormat,
    prefetch: Prefetch,
    revocation: GrantRevocation,
  ) {
    super();
    this.#knex = knex;
    this.#format = format;
    this.#prefetch = prefetch;
    this.#revocation = revocation;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const token = this.#format.read(id);
    const { accountId, grantId } = payload;
    if (token === undefined || accountId === undefined || grantId === undefined) {
      throw new TypeError("a refresh token is minted by its format and has a user and a grant");
    }
    await defer(
      this.#knex,
      RefreshToken.addition({
        id: token.family,
        counter: token.counter,
        grantId,
        userId: accountId,
        sessionUid: payload.sessionUid ?? null,
        scope: payload.scope ?? null,
        expiresAt: expiry(payload, expiresIn),
        payload: strip(payload, "accountId", "grantId", "scope", "sessionUid"),
      }),
    );
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const token = this.#format.read(id);
    if (token === undefined) return undefined;
    const row = await RefreshToken.find(reader(this.#knex), token.family);
    if (row === undefined || row.grant_id === null || token.counter > row.counter) return undefined;
    const current =
      token.counter === row.counter ||
      isAnswerableAgain(token.counter, row.counter, row.rotated_at);
    const sessionUid = row.bound_session_uid ?? undefined;
    this.#prefetch.remember(row, sessionUid);
    return restore(row.payload, {
      kind: "RefreshToken",
      jti: id,
      expiresAt: row.expires_at,
      consumedAt: row.revoked_at ?? (current ? null : row.rotated_at),
      accountId: row.user_id,
      grantId: row.grant_id,
      ...(row.scope === null ? {} : { scope: row.scope }),
      ...(sessionUid === undefined ? {} : { sessionUid }),
    });
  }

  /**
   * Rotation. Whoever loses a race, or asks again because the answer was lost, gets the same successor while the
   * reuse interval lasts and nobody has used that successor (RFC 9700 §4.14.2); anybody else is a replay.
   */
  override async consume(id: string): Promise<void> {
    const token = this.#format.read(id);
    if (token === undefined) throw new errors.InvalidGrant("refresh token not found");
    const db = await writer(this.#knex);
    if (await RefreshToken.rotate(db, token.family, token.counter, new Date())) return;
    const row = await RefreshToken.find(db, token.family);
    if (row && !row.revoked_at && isAnswerableAgain(token.counter, row.counter, row.rotated_at))
      return;
    if (row?.grant_id) await this.#revocation.revoke(row.grant_id);
    throw new errors.InvalidGrant("refresh token already used");
  }

  async destroy(id: string): Promise<void> {
    const token = this.#format.read(id);
    if (token === undefined) return;
    await RefreshToken.revoke(await writer(this.#knex), token.family, new Date());
  }

  override async revokeByGrantId(grantId: string): Promise<void> {
    await this.#revocation.voidTokens(grantId);
  }
}

/** Whether the token before the current one still answers. */
function isAnswerableAgain(presented: number, current: number, rotatedAt: Date | null): boolean {
  if (presented !== current - 1 || rotatedAt === null) return false;
  const client = Provider.ctx?.oidc.client;
  const interval = client?.["refresh_reuse_interval"];
  const seconds = typeof interval === "number" ? interval : DEFAULT_REUSE_INTERVAL;
  return Date.now() - rotatedAt.getTime() < seconds * 1000;
}
