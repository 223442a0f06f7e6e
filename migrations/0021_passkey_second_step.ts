import type { Knex } from "knex";

/** Whether somebody is asked for a passkey after their password wherever they sign in, and not only in its place. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(
    "ALTER TABLE users ADD COLUMN passkey_is_second_step boolean NOT NULL DEFAULT false",
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE users DROP COLUMN passkey_is_second_step");
}
