import type { Knex } from "knex";
import { errors, Provider, type AdapterPayload } from "oidc-provider";
import { decide, defer, isUndecided, reader, writer } from "../../database/transaction.ts";
import type { Statement } from "../../database/statement.ts";
import { RefreshToken, type Rotation } from "../../models/refresh-token.ts";
import type { RefreshTokenFormat } from "../refresh-token-format.ts";
import type { GrantRevocation } from "./grant-revocation.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry, restore, strip } from "./payload.ts";
import { rememberContext } from "./prefetch.ts";

/** How long the previous token still answers where the client does not say: `oauth_clients.refresh_reuse_interval`. */
const DEFAULT_REUSE_INTERVAL = 10;

/** RefreshToken: families, rows of `refresh_tokens`. */
export class RefreshTokenAdapter extends ModelAdapter {
  readonly #knex: Knex;
  readonly #format: RefreshTokenFormat;
  readonly #revocation: GrantRevocation;
  /** What a request is about to rotate. */
  readonly #rotations = new WeakMap<object, { rotation: Rotation; statement: Statement }>();

  constructor(knex: Knex, format: RefreshTokenFormat, revocation: GrantRevocation) {
    super();
    this.#knex = knex;
    this.#format = format;
    this.#revocation = revocation;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const token = this.#format.parse(id);
    const { accountId, grantId } = payload;
    if (accountId === undefined || grantId === undefined) {
      throw new TypeError("a refresh token has a user and a grant");
    }
    const stored = strip(payload, "accountId", "grantId", "scope", "sessionUid");
    const expiresAt = expiry(payload, expiresIn);
    const rotation = this.#rotationTo(token);
    if (rotation !== undefined) {
      Object.assign(rotation, { payload: JSON.stringify(stored), expiresAt });
      return;
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
        expiresAt,
        payload: stored,
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
    rememberContext(row, sessionUid);
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
    const { family, counter } = this.#format.parse(id);
    const rotation = { id: family, counter, now: new Date(), payload: null, expiresAt: null };
    const statement = RefreshToken.rotation(rotation);
    await decide(this.#knex, statement, async () => {
      const row = await RefreshToken.find(await writer(this.#knex), family);
      if (row && !row.revoked_at && isAnswerableAgain(counter, row.counter, row.rotated_at)) return;
      if (row?.grant_id) await this.#revocation.revoke(row.grant_id);
      throw new errors.InvalidGrant("refresh token already used");
    });
    if (Provider.ctx !== undefined) this.#rotations.set(Provider.ctx, { rotation, statement });
  }

  /** The rotation of this request that makes `token` and is not written yet. */
  #rotationTo({ family, counter }: { family: string; counter: number }): Rotation | undefined {
    const { rotation, statement } = this.#rotations.get(Provider.ctx ?? this) ?? {};
    if (rotation?.id !== family || rotation.counter + 1 !== counter) return undefined;
    return statement !== undefined && isUndecided(this.#knex, statement) ? rotation : undefined;
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
