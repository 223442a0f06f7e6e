import type { Knex } from "knex";

/** When whoever has a session last proved who they are, for what only they may do. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE sessions ADD COLUMN confirmed_at timestamptz");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE sessions DROP COLUMN confirmed_at");
}
