import type { Knex } from "knex";

/** What clients look like: each one's logo as it was last fetched. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE client_logos (
      client_id  uuid PRIMARY KEY REFERENCES oauth_clients ON DELETE CASCADE,
      logo_uri   text NOT NULL,
      -- Both null where there was nothing to show.
      media_type text CHECK (media_type IN ('image/png','image/jpeg','image/webp','image/gif')),
      bytes      bytea CHECK (octet_length(bytes) <= 262144),
      fetched_at timestamptz NOT NULL,
      CHECK ((media_type IS NULL) = (bytes IS NULL))
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE client_logos");
}
