import type { Knex } from "knex";

/** An initial access token is good at one issuer, and clients that came with a document are counted by day. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- The name of the issuer, as in MORE_ISSUERS; empty for the first one.
    ALTER TABLE initial_access_tokens
      ADD COLUMN issuer text NOT NULL DEFAULT '' CHECK (issuer ~ '^[a-z0-9]{0,20}$');
    CREATE INDEX oauth_clients_document_idx ON oauth_clients (issuer, created_at) WHERE from_document;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP INDEX oauth_clients_document_idx;
    ALTER TABLE initial_access_tokens DROP COLUMN issuer;
  `);
}
