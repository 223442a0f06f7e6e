import type { Knex } from "knex";

/** Roles that apps see, given to people and to groups, by hand or as identity providers say; apart from the system roles. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE role_assignments RENAME TO system_roles;
    ALTER TABLE system_roles RENAME CONSTRAINT role_assignments_pkey TO system_roles_pkey;
    ALTER TABLE system_roles RENAME CONSTRAINT role_assignments_role_check TO system_roles_role_check;
    ALTER TABLE system_roles RENAME CONSTRAINT role_assignments_user_id_fkey TO system_roles_user_id_fkey;

    CREATE TABLE roles (
      id         uuid PRIMARY KEY,
      -- What apps see.
      slug       text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9_:.-]{0,99}$'),
      -- What people read.
      name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
      -- An inactive one stays assigned and gives nothing.
      is_active  boolean NOT NULL DEFAULT true,
      created_at timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE role_assignments (
      role_id     uuid NOT NULL REFERENCES roles ON DELETE CASCADE,
      user_id     uuid REFERENCES users ON DELETE CASCADE,
      group_id    uuid REFERENCES groups ON DELETE CASCADE,
      -- Who says so: somebody at an identity provider. None where an operator did.
      identity_id uuid REFERENCES identities ON DELETE CASCADE,
      created_at  timestamptz NOT NULL DEFAULT now(),
      UNIQUE NULLS NOT DISTINCT (role_id, user_id, group_id, identity_id),
      CHECK (num_nonnulls(user_id, group_id) = 1),
      CHECK (identity_id IS NULL OR user_id IS NOT NULL)
    );
    CREATE INDEX role_assignments_user_idx ON role_assignments (user_id) WHERE user_id IS NOT NULL;
    CREATE INDEX role_assignments_group_idx ON role_assignments (group_id) WHERE group_id IS NOT NULL;
    CREATE INDEX role_assignments_identity_idx ON role_assignments (identity_id) WHERE identity_id IS NOT NULL;

    -- Value of theirs for each role of ours.
    ALTER TABLE identity_providers ADD COLUMN role_mapping jsonb NOT NULL DEFAULT '{}';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE identity_providers DROP COLUMN role_mapping;
    DROP TABLE role_assignments, roles;
    ALTER TABLE system_roles RENAME CONSTRAINT system_roles_pkey TO role_assignments_pkey;
    ALTER TABLE system_roles RENAME CONSTRAINT system_roles_role_check TO role_assignments_role_check;
    ALTER TABLE system_roles RENAME CONSTRAINT system_roles_user_id_fkey TO role_assignments_user_id_fkey;
    ALTER TABLE system_roles RENAME TO role_assignments;
  `);
}
