import type { Knex } from "knex";

/** Clients that are known by the address of a document about them, and how long what it said is good. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE oauth_clients ADD COLUMN from_document boolean NOT NULL DEFAULT false;

    -- Beside the client and not in it: reading the document again changes this alone, and no node's cache.
    CREATE TABLE client_documents (
      client_id    uuid PRIMARY KEY REFERENCES oauth_clients ON DELETE CASCADE,
      content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
      fetched_at   timestamptz NOT NULL,
      fresh_until  timestamptz NOT NULL
    ) WITH (fillfactor=85);
    CREATE INDEX client_documents_fresh_idx ON client_documents (fresh_until);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE client_documents;
    ALTER TABLE oauth_clients DROP COLUMN from_document;
  `);
}
