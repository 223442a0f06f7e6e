import type { Knex } from "knex";

/** Organizations whose people sign in here: who belongs to them, what they demand, and roles that are held inside one. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE organizations (
      id                    uuid PRIMARY KEY,
      -- What apps see.
      slug                  text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])\\?$'),
      -- What people read.
      name                  text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
      -- Whether its members must have a second step, wherever they sign in.
      require_second_factor boolean NOT NULL DEFAULT false,
      created_at            timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE organization_members (
      organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
      user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      -- By what they belong to it: an identity at a connection of the organization. None where an operator says so.
      identity_id     uuid REFERENCES identities ON DELETE CASCADE,
      created_at      timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (organization_id, user_id)
    );
    CREATE INDEX organization_members_user_idx ON organization_members (user_id);
    CREATE INDEX organization_members_identity_idx ON organization_members (identity_id) WHERE identity_id IS NOT NULL;

    -- Whose people sign in through it.
    ALTER TABLE identity_providers ADD COLUMN organization_id uuid REFERENCES organizations ON DELETE RESTRICT;
    CREATE INDEX identity_providers_organization_idx ON identity_providers (organization_id)
      WHERE organization_id IS NOT NULL;

    -- Inside which it is held; who leaves that leaves it behind.
    ALTER TABLE role_assignments
      ADD COLUMN organization_id uuid REFERENCES organizations ON DELETE CASCADE,
      DROP CONSTRAINT role_assignments_role_id_user_id_group_id_identity_id_key,
      ADD CONSTRAINT role_assignments_once
        UNIQUE NULLS NOT DISTINCT (role_id, user_id, group_id, identity_id, organization_id),
      ADD CONSTRAINT role_assignments_member_fk FOREIGN KEY (organization_id, user_id)
        REFERENCES organization_members (organization_id, user_id) ON DELETE CASCADE;
    CREATE INDEX role_assignments_member_idx ON role_assignments (organization_id, user_id)
      WHERE organization_id IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DELETE FROM role_assignments WHERE organization_id IS NOT NULL;
    ALTER TABLE role_assignments
      DROP CONSTRAINT role_assignments_once,
      DROP COLUMN organization_id,
      ADD CONSTRAINT role_assignments_role_id_user_id_group_id_identity_id_key
        UNIQUE NULLS NOT DISTINCT (role_id, user_id, group_id, identity_id);
    ALTER TABLE identity_providers DROP COLUMN organization_id;
    DROP TABLE organization_members, organizations;
  `);
}
