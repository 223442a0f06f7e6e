import type { Knex } from "knex";
import { errors, Provider, type AdapterPayload } from "oidc-provider";
import { reader, writer } from "../../database/transaction.ts";
import { sha256 } from "../../lib/secret.ts";
import { OAuthClient } from "../../models/oauth-client.ts";
import { InitialAccessToken, RegistrationAccessToken } from "../../models/registration-token.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { toEpoch } from "./payload.ts";

/** InitialAccessToken: rows of `initial_access_tokens`, made by an operator and never by the engine. */
export class InitialAccessTokenAdapter extends ModelAdapter {
  readonly #knex: Knex;
  readonly #issuer: string;

  /** @param issuer the name of the issuer, whose own tokens alone are known. */
  constructor(knex: Knex, issuer: string) {
    super();
    this.#knex = knex;
    this.#issuer = issuer;
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const wanted = { issuer: this.#issuer, tokenHash: sha256(id) };
    const row = await InitialAccessToken.findUsable(reader(this.#knex), wanted, new Date());
    if (row === undefined) return undefined;
    return { kind: "InitialAccessToken", jti: id, iat: toEpoch(row.createdAt) };
  }

  async upsert(): Promise<void> {
    throw new Error("initial access tokens are made by an operator");
  }

  async destroy(): Promise<void> {
    throw new Error("initial access tokens are ended by an operator");
  }
}

/** RegistrationAccessToken: rows of `registration_access_tokens`. */
export class RegistrationAccessTokenAdapter extends ModelAdapter {
  readonly #knex: Knex;

  constructor(knex: Knex) {
    super();
    this.#knex = knex;
  }

  async upsert(id: string, payload: AdapterPayload): Promise<void> {
    const db = await writer(this.#knex);
    const client = await OAuthClient.query(db).findOne({ clientId: payload.clientId ?? "" });
    if (client === undefined) throw new TypeError("a registration access token has a client");
    await RegistrationAccessToken.query(db)
      .insert({ clientId: client.id, tokenHash: sha256(id), createdAt: new Date() })
      .onConflict("clientId")
      .merge();
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const rows = await RegistrationAccessToken.statement<{ client_id: string; created_at: Date }>(
      reader(this.#knex),
      `SELECT c.client_id, t.created_at FROM registration_access_tokens t
       JOIN oauth_clients c ON c.id = t.client_id AND c.deleted_at IS NULL
       WHERE t.token_hash = :tokenHash`,
      { tokenHash: sha256(id) },
    );
    const [row] = rows;
    if (row === undefined) return undefined;
    const { client_id: clientId, created_at: createdAt } = row;
    return { kind: "RegistrationAccessToken", jti: id, clientId, iat: toEpoch(createdAt) };
  }

  async destroy(id: string): Promise<void> {
    await RegistrationAccessToken.query(await writer(this.#knex))
      .delete()
      .where({ tokenHash: sha256(id) });
  }
}

/**
 * Counts the use of the initial access token of this request, where it has one.
 *
 * @throws the engine's InvalidToken where others have used it up meanwhile.
 */
export async function spendInitialAccessToken(knex: Knex): Promise<void> {
  const token = Provider.ctx?.oidc.entities.InitialAccessToken;
  if (token === undefined) return;
  const isCounted = await InitialAccessToken.spend(
    await writer(knex),
    sha256(token.jti),
    new Date(),
  );
  if (!isCounted) throw new errors.InvalidToken("the initial access token is used up");
}
