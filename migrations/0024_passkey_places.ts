import type { Knex } from "knex";

/** With which browser a passkey was last used, and whether it is built into the device that the browser is on. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE webauthn_credentials
      ADD COLUMN last_device_id uuid REFERENCES user_devices (id) ON DELETE SET NULL,
      ADD COLUMN is_built_in boolean NOT NULL DEFAULT false;
    CREATE INDEX webauthn_credentials_last_device_idx ON webauthn_credentials (last_device_id)
      WHERE last_device_id IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE webauthn_credentials DROP COLUMN last_device_id, DROP COLUMN is_built_in;
  `);
}
