import type { Knex } from "knex";
import { errors, Provider, type AdapterPayload } from "oidc-provider";
import { defer, reader, writer } from "../../database/transaction.ts";
import { sha256 } from "../../lib/secret.ts";
import { OidcArtifact, type ArtifactModel } from "../../models/oidc-artifact.ts";
import type { GrantRevocation } from "./grant-revocation.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry, restore, strip } from "./payload.ts";
import { askOnce, rememberContext } from "./prefetch.ts";

/** AccessToken, ClientCredentials and PushedAuthorizationRequest: rows of `oidc_artifacts`. */
export class ArtifactAdapter extends ModelAdapter {
  readonly #model: ArtifactModel;
  readonly #knex: Knex;
  readonly #revocation: GrantRevocation;

  constructor(model: ArtifactModel, knex: Knex, revocation: GrantRevocation) {
    super();
    this.#model = model;
    this.#knex = knex;
    this.#revocation = revocation;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    await defer(
      this.#knex,
      OidcArtifact.addition({
        idHash: sha256(id),
        model: this.#model,
        expiresAt: expiry(payload, expiresIn),
        grantId: payload.grantId ?? null,
        payload: strip(payload, "grantId"),
      }),
    );
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const isForUserinfo = Provider.ctx?.oidc.route === "userinfo";
    const find = isForUserinfo ? OidcArtifact.findWithUser : OidcArtifact.find;
    // Whoever introspects a token has it looked for among all kinds at the same time (RFC 7662 §2.1).
    const row = await askOnce(id, () => find(reader(this.#knex), sha256(id), new Date()));
    if (row === undefined || !OidcArtifact.is(row, this.#model)) return undefined;
    const payload = restore(row.payload, {
      kind: this.#model,
      jti: id,
      expiresAt: row.expires_at,
      consumedAt: row.consumed_at,
      ...(row.grant_id === null ? {} : { grantId: row.grant_id }),
    });
    rememberContext(row, payload.sessionUid);
    return payload;
  }

  /** Only pushed requests are consumed: their `request_uri` is single use (RFC 9126 §4). */
  override async consume(id: string): Promise<void> {
    const db = await writer(this.#knex);
    if (!(await OidcArtifact.consume(db, this.#model, sha256(id), new Date()))) {
      throw new errors.InvalidRequestUri("request_uri was already used");
    }
  }

  async destroy(id: string): Promise<void> {
    await OidcArtifact.remove(await writer(this.#knex), this.#model, sha256(id), new Date());
  }

  override async revokeByGrantId(grantId: string): Promise<void> {
    await this.#revocation.voidTokens(grantId);
  }
}
