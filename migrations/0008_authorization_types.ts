import type { Knex } from "knex";

/** Types of authorization details (RFC 9396): what clients can ask a person to allow beyond scopes. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE authorization_types (
      type        text PRIMARY KEY CHECK (char_length(type) BETWEEN 1 AND 200),
      -- Not jsonb, which would forget the order in which people read the fields.
      definition  json NOT NULL,
      created_at  timestamptz NOT NULL DEFAULT now(),
      updated_at  timestamptz NOT NULL DEFAULT now()
    );
    CREATE TRIGGER authorization_types_changed AFTER INSERT OR UPDATE OR DELETE ON authorization_types
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_authorization_types');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`DROP TABLE authorization_types`);
}
