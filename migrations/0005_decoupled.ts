import type { Knex } from "knex";

/** Sign-ins that begin on one device and are approved on another (RFC 8628, OpenID Connect CIBA Core). */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE decoupled_authorizations (
      id               uuid PRIMARY KEY,
      kind             text NOT NULL CHECK (kind IN ('device','ciba')),
      -- Of the device_code or the auth_req_id, and of what a person types.
      code_hash        bytea NOT NULL UNIQUE CHECK (octet_length(code_hash) = 32),
      user_code_hash   bytea UNIQUE CHECK (octet_length(user_code_hash) = 32),
      client_id        uuid NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
      user_id          uuid REFERENCES users ON DELETE CASCADE,
      grant_id         uuid,
      status           text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending','in_flight','approved','denied')),
      payload_enc      bytea NOT NULL,
      -- Seconds that the client leaves between two questions, and when it last asked.
      poll_interval    integer NOT NULL DEFAULT 5 CHECK (poll_interval > 0),
      last_polled_at   timestamptz,
      created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
      expires_at       timestamptz NOT NULL,
      gc_at            timestamptz NOT NULL,
      decided_at       timestamptz,
      consumed_at      timestamptz,
      -- Whether a client that wants to be told was told (CIBA Core §10.2).
      pinged_at        timestamptz,
      ping_attempts    smallint NOT NULL DEFAULT 0,
      ping_error       text CHECK (char_length(ping_error) <= 500),
      CHECK ((kind = 'device') = (user_code_hash IS NOT NULL)),
      CHECK (kind = 'device' OR user_id IS NOT NULL),
      CHECK (status <> 'approved' OR (user_id IS NOT NULL AND grant_id IS NOT NULL))
    ) WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0.02);
    CREATE INDEX decoupled_authorizations_client_idx ON decoupled_authorizations (client_id);
    CREATE INDEX decoupled_authorizations_user_idx ON decoupled_authorizations (user_id) WHERE user_id IS NOT NULL;
    CREATE INDEX decoupled_authorizations_gc_idx ON decoupled_authorizations (gc_at);

    -- Guesses of user codes are counted by network and by session, those of login hints by client.
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check
        CHECK (scope IN ('account','ip','account_ip','code_ip','code_session','hint'));
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DELETE FROM login_throttles WHERE scope IN ('code_ip','code_session','hint');
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope IN ('account','ip','account_ip'));
    DROP TABLE decoupled_authorizations;
  `);
}
