import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Of a finished sign-in: what was known then about when its person's sign-ins last ceased to count.
    ALTER TABLE oauth_interactions ADD COLUMN as_of timestamptz;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`ALTER TABLE oauth_interactions DROP COLUMN as_of`);
}
