import type { Knex } from "knex";

/** How well somebody must have proven who they are before they are given a permission (RFC 9470). */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(
    "ALTER TABLE permissions ADD COLUMN level smallint NOT NULL DEFAULT 1 CHECK (level BETWEEN 1 AND 3)",
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE permissions DROP COLUMN level");
}
