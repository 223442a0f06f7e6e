import type { Knex } from "knex";
import { errors, type Client, type Provider } from "oidc-provider";
import { levelNamed, levelsAskedFor, nameOfLevel, type LevelNames } from "../authn/levels.ts";
import { reader, writer } from "../database/transaction.ts";
import type { Seal } from "../keys/seal.ts";
import type { Logger } from "../lib/log.ts";
import { sha256 } from "../lib/secret.ts";
import { isUuid } from "../lib/uuid.ts";
import { DecoupledAuthorization } from "../models/decoupled-authorization.ts";
import { OAuthClient } from "../models/oauth-client.ts";
import { claimsAskedFor, scopesAskedFor } from "../users/claims.ts";
import { openPayload } from "./adapter/decoupled-adapter.ts";
import { createGrant, isOidcScope } from "./grants.ts";
import { UserCodeError } from "./user-code.ts";

type Ping = (this: Client, request: { readonly jti: string }) => Promise<void>;

/** How the engine itself pings a client, kept before it is replaced. */
const pings = new WeakMap<Provider, Ping>();

/** A request that waits for a person's decision. */
export interface WaitingRequest {
  readonly id: string;
  readonly userId: string;
  readonly client: Client;
  readonly params: Readonly<Record<string, unknown>>;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/**
 * The engine pings a client once, while the person waits. Instead a job does it, until the client has answered
 * (CIBA Core §10.2).
 */
export function queuePings(provider: Provider, knex: Knex): void {
  const prototype = provider.Client.prototype as unknown as { backchannelPing: Ping };
  pings.set(provider, prototype.backchannelPing);
  prototype.backchannelPing = async ({ jti }) =>
    DecoupledAuthorization.queuePing(await writer(knex), sha256(jti));
}

/** Backchannel authentication requests, from the side of the person who decides about them. */
export class CibaRequests {
  readonly #knex: Knex;
  readonly #seal: Seal;
  readonly #levels: LevelNames;

  /** @param needs.levels what the issuer calls the levels of a sign-in. */
  constructor({ knex, seal, levels }: { knex: Knex; seal: Seal; levels: LevelNames }) {
    this.#knex = knex;
    this.#seal = seal;
    this.#levels = levels;
  }

  /** A request of a client of this issuer that is still undecided. */
  async find(provider: Provider, id: string): Promise<WaitingRequest | undefined> {
    if (!isUuid(id)) return undefined;
    const db = reader(this.#knex);
    const row = await DecoupledAuthorization.query(db)
      .findById(id)
      .where({ kind: "ciba", status: "pending" })
      .where("expiresAt", ">", new Date());
    if (row === undefined || row.userId === null) return undefined;
    const { clientId, params = {} } = openPayload(this.#seal, row.codeHash, row.payloadEnc);
    const client = await provider.Client.find(clientId ?? "");
    const { userId, createdAt, expiresAt } = row;
    return client && { id, userId, client, params, createdAt, expiresAt };
  }

  /**
   * Makes the person's decision known to the client. An approval is a grant of its own, for what was asked and shown;
   * it belongs to no browser and ends when it is revoked.
   *
   * @param by how and when, in seconds since the epoch, the person signed in who decided; it goes into the tokens, the
   *   level by the name by which the client asked for it (CIBA Core §7.1, `acr_values`).
   * @returns `false` where it was decided meanwhile.
   */
  async decide(
    provider: Provider,
    { id, userId, client, params }: WaitingRequest,
    { isApproved, by }: { isApproved: boolean; by: SignedIn },
  ): Promise<boolean> {
    const row = await DecoupledAuthorization.query(reader(this.#knex)).findById(id);
    if (row?.status !== "pending") return false;
    const { jti = "" } = openPayload(this.#seal, row.codeHash, row.payloadEnc);
    const result = isApproved
      ? await createGrant(provider, userId, client, {
          scopes: scopesAskedFor(params).filter(isOidcScope),
          rejected: [],
          claims: claimsAskedFor(params),
          details: [],
        })
      : new errors.AccessDenied("the person said no");
    try {
      await provider.backchannelResult(jti, result, {
        ...by,
        acr: nameOfLevel(levelNamed(by.acr), levelsAskedFor(params), this.#levels),
        amr: [...by.amr],
      });
      return true;
    } catch (error) {
      if (!(error instanceof UserCodeError && error.reason === "used")) throw error;
      // Nothing was issued under it.
      if (!(result instanceof Error)) await result.destroy();
      return false;
    }
  }
}

/** How and when, in seconds since the epoch, somebody signed in. */
interface SignedIn {
  readonly acr: string;
  readonly amr: readonly string[];
  readonly authTime: number;
}

/** What the job needs: the engine of every issuer, by its name. */
export interface PingDelivery {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly providerOf: (issuer: string) => Provider | undefined;
  readonly log: Logger;
}

/**
 * Tells a client that there is an answer to its request; not once it has fetched the answer, or when nobody could
 * fetch it any more (CIBA Core §10.2).
 *
 * @throws when the client did not take it and another attempt will follow.
 */
export async function deliverPing(
  { knex, seal, providerOf, log }: PingDelivery,
  { id, attempt, last }: { id: string; attempt: number; last: boolean },
): Promise<void> {
  const row = await DecoupledAuthorization.query(knex)
    .findById(id)
    .whereNull("pingedAt")
    .whereNull("consumedAt")
    .where("expiresAt", ">", new Date());
  if (row === undefined) return;
  const clientRow = await OAuthClient.query(knex).findById(row.clientId).whereNull("deletedAt");
  const provider = clientRow === undefined ? undefined : providerOf(clientRow.issuer);
  const client = clientRow && (await provider?.Client.find(clientRow.clientId));
  const { jti = "" } = openPayload(seal, row.codeHash, row.payloadEnc);
  const request = await provider?.BackchannelAuthenticationRequest.find(jti);
  const ping = provider === undefined ? undefined : pings.get(provider);
  if (client === undefined || request === undefined || ping === undefined) return;
  const settle = (changes: Partial<DecoupledAuthorization>) =>
    DecoupledAuthorization.query(knex)
      .findById(id)
      .patch({ pingAttempts: attempt, ...changes });
  try {
    await ping.call(client, request);
  } catch (error) {
    const pingError = error instanceof Error ? error.message.slice(0, 500) : "unknown";
    await settle({ pingError });
    log.warn({ clientId: client.clientId, attempt, err: error }, "ping not delivered");
    if (last) return;
    throw error;
  }
  await settle({ pingedAt: new Date(), pingError: null });
}
