import type { Knex } from "knex";

const SCOPES = "'account','ip','account_ip','code_ip','code_session','hint'";

/** Clients that register themselves are counted by network, and how often people are asked by person. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope IN (${SCOPES},'registration','ciba','ciba_user'));
    CREATE INDEX oauth_clients_dynamic_idx ON oauth_clients (issuer, created_at) WHERE is_dynamic;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP INDEX oauth_clients_dynamic_idx;
    DELETE FROM login_throttles WHERE scope IN ('registration','ciba','ciba_user');
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope IN (${SCOPES}));
  `);
}
