import type { Knex } from "knex";

/** Groups of people: by hand, or as identity providers say. Never a system role. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE groups (
      id                    uuid PRIMARY KEY,
      name                  text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 100),
      -- Whether its members must have a second step, wherever they sign in.
      require_second_factor boolean NOT NULL DEFAULT false,
      created_at            timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE group_members (
      group_id    uuid NOT NULL REFERENCES groups ON DELETE CASCADE,
      user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      -- Who says so: somebody at an identity provider. None where an operator did.
      identity_id uuid REFERENCES identities ON DELETE CASCADE,
      created_at  timestamptz NOT NULL DEFAULT now(),
      UNIQUE NULLS NOT DISTINCT (group_id, user_id, identity_id)
    );
    CREATE INDEX group_members_user_idx ON group_members (user_id);
    CREATE INDEX group_members_identity_idx ON group_members (identity_id) WHERE identity_id IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`DROP TABLE group_members, groups`);
}
