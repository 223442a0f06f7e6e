import type { TransactionOrKnex } from "objection";
import { BaseModel } from "./base.ts";

/** What is known of the client with some address: its row, and of the document it was read from, if any. */
export interface KnownClient {
  /** The key of the client's row. */
  readonly id: string;
  readonly isFromDocument: boolean;
  readonly freshUntil: Date | null;
}

/** The document that a client is known by: what it said, by its hash, and until when that is good. */
export class ClientDocument extends BaseModel {
  static override tableName = "client_documents";
  static override idColumn = "clientId";
  /** The key of the client's row. */
  declare clientId: string;
  declare contentHash: Buffer;
  declare fetchedAt: Date;
  declare freshUntil: Date;

  /** The client with this address, deleted ones included: an address that was taken stays taken. */
  static async findByAddress(
    db: TransactionOrKnex,
    address: string,
  ): Promise<KnownClient | undefined> {
    const [row] = await ClientDocument.statement<KnownClient>(
      db,
      `SELECT c.id, c.from_document AND c.deleted_at IS NULL AS "isFromDocument", d.fresh_until AS "freshUntil"
       FROM oauth_clients c LEFT JOIN client_documents d ON d.client_id = c.id
       WHERE c.client_id = :address`,
      { address },
    );
    return row;
  }

  /**
   * Notes that the document was read again, unless a later reading was noted before. Of any number of readers of one
   * new content, one gets `true`: whose business it is to change the client.
   */
  static async read(
    db: TransactionOrKnex,
    document: { clientId: string; contentHash: Buffer; fetchedAt: Date; freshUntil: Date },
  ): Promise<boolean> {
    const [row] = await ClientDocument.statement<{ changed: boolean }>(
      db,
      `UPDATE client_documents d
       SET content_hash = :contentHash, fetched_at = :fetchedAt, fresh_until = :freshUntil
       FROM (SELECT client_id, content_hash FROM client_documents WHERE client_id = :clientId FOR UPDATE) AS before
       WHERE d.client_id = before.client_id AND d.fetched_at <= :fetchedAt
       RETURNING before.content_hash <> :contentHash AS changed`,
      document,
    );
    return row?.changed === true;
  }
}
