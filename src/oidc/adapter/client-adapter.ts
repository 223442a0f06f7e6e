import type { Knex } from "knex";
import { errors, Provider, type AdapterPayload } from "oidc-provider";
import { createClient, deleteClient, replaceClient } from "../../clients/clients.ts";
import { registeredMetadata } from "../../clients/schema.ts";
import { onCommit, writer } from "../../database/transaction.ts";
import { AppError } from "../../errors.ts";
import type { Issuer } from "../../issuers.ts";
import type { Seal } from "../../keys/seal.ts";
import type { ClientCache } from "../client-cache.ts";
import type { ClientDocuments } from "../client-documents.ts";
import {
  assertGrants,
  assertHosts,
  assertQuota,
  assertTypes,
  type RegistrationPolicy,
} from "../registration-policy.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { spendInitialAccessToken } from "./registration-adapters.ts";

const ACTOR = { type: "anonymous" } as const;

/**
 * Client: rows of `oauth_clients`, read through a cache. What clients register themselves (RFC 7591, RFC 7592) goes
 * through the same definition as what an operator does.
 */
export class ClientAdapter extends ModelAdapter {
  readonly #knex: Knex;
  readonly #seal: Seal;
  readonly #cache: ClientCache;
  readonly #documents: ClientDocuments | undefined;
  readonly #issuer: RegistrationPolicy & Pick<Issuer, "preset">;

  constructor(storage: {
    knex: Knex;
    seal: Seal;
    clientCache: ClientCache;
    clientDocuments?: ClientDocuments | undefined;
    issuer: RegistrationPolicy & Pick<Issuer, "preset">;
  }) {
    super();
    this.#knex = storage.knex;
    this.#seal = storage.seal;
    this.#cache = storage.clientCache;
    this.#documents = storage.clientDocuments;
    this.#issuer = storage.issuer;
  }

  find(id: string): Promise<AdapterPayload | undefined> {
    return this.#documents?.covers(id) === true
      ? this.#findByAddress(this.#documents, id)
      : this.#cache.find(this.#issuer.name, id);
  }

  async #findByAddress(
    documents: ClientDocuments,
    id: string,
  ): Promise<AdapterPayload | undefined> {
    try {
      if (await documents.refresh(id)) this.#cache.clear();
    } catch (error) {
      return refuse(error);
    }
    return this.#cache.find(this.#issuer.name, id);
  }

  async upsert(id: string, payload: AdapterPayload): Promise<void> {
    const db = await writer(this.#knex);
    const registrar = { issuers: [this.#issuer], seal: async () => this.#seal };
    const given: Readonly<Record<string, unknown>> = { ...payload };
    const { client_secret: secret } = given;
    // This node knows at once; the others are told by a notification.
    onCommit(() => this.#cache.clear());
    const metadata = registeredMetadata(given);
    assertHosts(this.#issuer, metadata);
    assertGrants(this.#issuer, metadata);
    const isUpdate = Provider.ctx?.oidc.route === "client_update";
    const before = isUpdate ? await this.#cache.find(this.#issuer.name, id) : undefined;
    assertTypes(this.#issuer, metadata, typesOf(before));
    try {
      if (isUpdate) {
        const change = { metadata, actor: ACTOR };
        await replaceClient(db, id, change, new Date(), registrar);
      } else {
        await assertQuota({ knex: this.#knex, seal: this.#seal }, this.#issuer);
        await spendInitialAccessToken(this.#knex);
        const input = {
          metadata,
          clientId: id,
          secret: typeof secret === "string" ? secret : undefined,
          isDynamic: true,
          actor: ACTOR,
        };
        await createClient(db, input, new Date(), registrar);
      }
    } catch (error) {
      throw isTheirs(error) ? new errors.InvalidClientMetadata(error.message) : error;
    }
  }

  async destroy(id: string): Promise<void> {
    onCommit(() => this.#cache.clear());
    await deleteClient(await writer(this.#knex), id, { actor: ACTOR }, new Date());
  }
}

function typesOf({ authorization_details_types: types }: AdapterPayload = {}): string[] {
  return Array.isArray(types) ? types : [];
}

/** A client whose document is not acceptable is unknown; whoever makes it is told why. */
function refuse(error: unknown): undefined {
  const { oidc } = Provider.ctx ?? {};
  // Not looked for again to answer with the error.
  if (oidc !== undefined) Object.assign(oidc, { noclient: true });
  if (!isTheirs(error)) throw error;
  if (oidc === undefined) return undefined;
  throw new errors.InvalidClient(`client_id is no acceptable client: ${error.message}`);
}

/** Whether what was thrown says what is wrong with a client, and not that our database is busy. */
function isTheirs(error: unknown): error is AppError {
  return error instanceof AppError && error.status < 500;
}
