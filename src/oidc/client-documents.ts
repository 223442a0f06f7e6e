import type { Knex } from "knex";
import { createClient, replaceClient } from "../clients/clients.ts";
import { isDocumentAddress, isHostAllowed, readDocument } from "../clients/document.ts";
import { reader } from "../database/transaction.ts";
import { errors } from "../errors.ts";
import type { Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { UnsafeUrlError } from "../lib/fetch.ts";
import type { Logger } from "../lib/log.ts";
import { sha256 } from "../lib/secret.ts";
import { ClientDocument, type KnownClient } from "../models/client-document.ts";
import { assertDocumentQuota } from "./registration-policy.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const LEAST_FRESH = 5 * MINUTE;
const MOST_FRESH = DAY;
/** How long beyond its time a document is used whose server does not answer (RFC 5861 §4). */
const STALE_IF_ERROR = DAY;
const RETRY_AFTER = MINUTE;
const MAX_BYTES = 16 * 1024;
const MAX_REMEMBERED = 5_000;

const ACTOR = { type: "anonymous" } as const;

interface Needs {
  readonly knex: Knex;
  readonly seal: Seal;
  readonly fetch: typeof fetch;
  readonly issuer: Pick<
    Issuer,
    "name" | "preset" | "documentHosts" | "registrationQuota" | "registrationTypes"
  >;
  readonly log: Logger;
}

/** Its server does not answer, which may be over soon; what is wrong otherwise is an AppError. */
class Unreachable extends Error {}

/**
 * Clients by the address of a document about them (draft-ietf-oauth-client-id-metadata-document-02). Each is a row like
 * any other, so that consents and grants can refer to it; it is written from the document, and again when that has
 * changed. Between five minutes and a day pass before the document is read again, as its server says.
 */
export class ClientDocuments {
  readonly #needs: Needs;
  /** Until when nothing needs to be looked up. */
  readonly #fresh = new Map<string, number>();
  readonly #running = new Map<string, Promise<boolean>>();

  constructor(needs: Needs) {
    this.#needs = needs;
  }

  /** Whether an identifier is one that this is for. */
  covers(clientId: string): boolean {
    return isDocumentAddress(clientId) && isHostAllowed(clientId, this.#needs.issuer.documentHosts);
  }

  /**
   * Sees to it that the row of the client is there and up to date, and returns whether that changed it. Several that
   * ask at once wait for one answer; who is in the middle of a transaction does not, and takes what is there.
   *
   * @throws AppError `invalid_client_metadata` where there is no such document, or no longer, or it is not acceptable;
   *   the engine's TemporarilyUnavailable where too many are new.
   */
  async refresh(address: string): Promise<boolean> {
    if ((this.#fresh.get(address) ?? 0) > Date.now()) return false;
    if (reader(this.#needs.knex) !== this.#needs.knex) return false;
    const running =
      this.#running.get(address) ??
      this.#read(address).finally(() => this.#running.delete(address));
    this.#running.set(address, running);
    return running;
  }

  async #read(address: string): Promise<boolean> {
    const { knex, log } = this.#needs;
    const known = await ClientDocument.findByAddress(knex, address);
    const freshUntil = known?.freshUntil?.getTime() ?? 0;
    // What an operator registered, or took away, counts more than any document.
    if (known?.isFromDocument === false) return this.#remember(address, Date.now() + MINUTE);
    if (freshUntil > Date.now()) return this.#remember(address, freshUntil);
    if (known === undefined) await assertDocumentQuota(this.#needs, this.#needs.issuer);
    try {
      return await this.#update(address, known);
    } catch (error) {
      const latest = await ClientDocument.findByAddress(knex, address);
      // Another node did meanwhile what this one could not do twice.
      if ((latest?.freshUntil?.getTime() ?? 0) > Date.now()) return false;
      const canWait = error instanceof Unreachable && Date.now() < freshUntil + STALE_IF_ERROR;
      log.warn({ clientId: address, canWait, err: error }, "client document not read");
      if (!canWait) throw error instanceof Unreachable ? errors.unreadableDocument(error) : error;
      return this.#remember(address, Date.now() + RETRY_AFTER);
    }
  }

  async #update(address: string, known: KnownClient | undefined): Promise<boolean> {
    const { knex, issuer } = this.#needs;
    const fetchedAt = new Date();
    const { text, freshFor } = await this.#fetch(address);
    const metadata = readDocument(text, address, issuer);
    const freshUntil = new Date(fetchedAt.getTime() + freshFor);
    const document = { contentHash: sha256(text), fetchedAt, freshUntil };
    const registrar = { issuers: [issuer] };
    const hasChanged = await knex.transaction(async (trx) => {
      if (known === undefined) {
        const input = { metadata, clientId: address, isFromDocument: true, actor: ACTOR };
        const { client } = await createClient(trx, input, fetchedAt, registrar);
        await ClientDocument.query(trx).insert({ clientId: client.id, ...document });
        return true;
      }
      const isNew = await ClientDocument.read(trx, { clientId: known.id, ...document });
      if (isNew)
        await replaceClient(trx, address, { metadata, actor: ACTOR }, fetchedAt, registrar);
      return isNew;
    });
    this.#remember(address, freshUntil.getTime());
    return hasChanged;
  }

  async #fetch(address: string): Promise<{ text: string; freshFor: number }> {
    let answer: Response;
    try {
      answer = await this.#needs.fetch(address, { headers: { accept: "application/json" } });
    } catch (cause) {
      const { reason } = cause instanceof UnsafeUrlError ? cause : { reason: "timeout" };
      if (reason !== "timeout" && reason !== "unresolved") throw errors.unreadableDocument(cause);
      throw new Unreachable("no answer", { cause });
    }
    if (answer.status >= 500 || answer.status === 429) throw new Unreachable(`${answer.status}`);
    if (answer.status !== 200) throw errors.unreadableDocument();
    if (!/^application\/([\w.+-]+\+)?json\s*(;|$)/i.test(answer.headers.get("content-type") ?? ""))
      throw errors.unreadableDocument();
    const text = await answer.text();
    if (Buffer.byteLength(text) > MAX_BYTES) throw errors.unreadableDocument();
    return { text, freshFor: freshness(answer.headers) };
  }

  #remember(address: string, until: number): false {
    if (this.#fresh.size >= MAX_REMEMBERED) this.#fresh.clear();
    this.#fresh.set(address, until);
    return false;
  }
}

/** How long a document is good, as its server says (RFC 9111 §4.2.1), within our bounds. */
function freshness(headers: Headers): number {
  const control = headers.get("cache-control") ?? "";
  const [, seconds] = /(?:^|[\s,])max-age\s*=\s*"?(\d+)/i.exec(control) ?? [];
  const expires = Date.parse(headers.get("expires") ?? "");
  const said = /no-(?:store|cache)/i.test(control)
    ? 0
    : seconds === undefined
      ? expires - Date.now()
      : Number(seconds) * 1000;
  return Math.min(MOST_FRESH, Math.max(LEAST_FRESH, Number.isNaN(said) ? 0 : said));
}
