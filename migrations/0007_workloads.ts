import type { Knex } from "knex";

/** Workloads elsewhere, such as the jobs of a CI system, whose own tokens stand for one of our clients (RFC 7523 §2.1). */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE workloads (
      id          uuid PRIMARY KEY,
      -- The client that the workload is here.
      client_id   uuid NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
      -- The iss of its tokens.
      issuer_url  text NOT NULL CHECK (char_length(issuer_url) <= 2000),
      jwks_uri    text CHECK (char_length(jwks_uri) <= 2000),
      jwks        jsonb,
      algorithms  text[] NOT NULL CHECK (cardinality(algorithms) > 0),
      -- What its tokens must say, claim by claim.
      claims      jsonb NOT NULL,
      created_at  timestamptz NOT NULL DEFAULT now(),
      CHECK ((jwks IS NULL) <> (jwks_uri IS NULL))
    );
    CREATE INDEX workloads_client_idx ON workloads (client_id, issuer_url);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE workloads");
}
