import type { Knex } from "knex";

/** A new password ends what was begun with the old one, and new terms are noticed by every node. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- What was shown before it counts no more in a sign-in that is not finished.
    ALTER TABLE users ADD COLUMN credentials_changed_at timestamptz;
    CREATE TRIGGER terms_changed AFTER INSERT OR UPDATE OR DELETE ON terms_versions
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_terms');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TRIGGER terms_changed ON terms_versions;
    ALTER TABLE users DROP COLUMN credentials_changed_at;
  `);
}
