import type { Knex } from "knex";
import { Provider, type AdapterPayload } from "oidc-provider";
import { runStatement } from "../../database/statement.ts";
import { defer, reader, writer } from "../../database/transaction.ts";
import { isUuid } from "../../lib/uuid.ts";
import { OAuthGrant } from "../../models/oauth-grant.ts";
import type { GrantRevocation } from "./grant-revocation.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry, restore, strip } from "./payload.ts";
import { takeKnown } from "./prefetch.ts";

/** Where a grant is made for a code and nobody asks for its row any more. */
const FOR_CODES: ReadonlySet<string> = new Set(["authorization", "resume"]);

/** Grant: rows of `oauth_grants`. A grant's id is not a bearer value. */
export class GrantAdapter extends ModelAdapter {
  readonly #knex: Knex;
  readonly #revocation: GrantRevocation;

  constructor(knex: Knex, revocation: GrantRevocation) {
    super();
    this.#knex = knex;
    this.#revocation = revocation;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const { accountId, clientId } = payload;
    if (accountId === undefined || clientId === undefined || !isUuid(id)) {
      throw new TypeError("a grant has a UUID, a user and a client");
    }
    const saving = OAuthGrant.saving({
      id,
      userId: accountId,
      clientId,
      sessionUid: Provider.ctx?.oidc.session?.uid ?? null,
      expiresAt: expiry(payload, expiresIn),
      payload: strip(payload, "accountId"),
    });
    if (FOR_CODES.has(Provider.ctx?.oidc.route ?? "")) await defer(this.#knex, saving);
    else await runStatement(await writer(this.#knex), saving);
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const known = takeKnown("Grant", id);
    if (known !== undefined) return known.payload;
    if (!isUuid(id)) return undefined;
    const row = await OAuthGrant.findLive(reader(this.#knex), id);
    if (row === undefined) return undefined;
    return restore(row.payload, {
      kind: "Grant",
      jti: id,
      expiresAt: row.expiresAt,
      accountId: row.userId,
    });
  }

  async destroy(id: string): Promise<void> {
    await this.#revocation.revoke(id);
  }
}
