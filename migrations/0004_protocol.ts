import type { Knex } from "knex";

/** The rest of the protocol: several issuers, every way to authenticate a client. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE oauth_clients
      -- The name of the issuer that the client belongs to, as in MORE_ISSUERS; empty for the first one.
      ADD COLUMN is_dynamic boolean NOT NULL DEFAULT false,
      ADD COLUMN issuer text NOT NULL DEFAULT '' CHECK (issuer ~ '^[a-z0-9]{0,20}$'),
      DROP CONSTRAINT oauth_clients_token_endpoint_auth_method_check,
      ADD CONSTRAINT oauth_clients_token_endpoint_auth_method_check CHECK (token_endpoint_auth_method IN (
        'none','client_secret_basic','client_secret_post','client_secret_jwt','private_key_jwt',
        'tls_client_auth','self_signed_tls_client_auth'));

    -- Which browser began it, by the hash of a cookie; nobody else goes on with it.
    ALTER TABLE oauth_interactions ADD COLUMN browser_hash bytea CHECK (octet_length(browser_hash) = 32);
    CREATE INDEX oauth_interactions_browser_idx ON oauth_interactions (browser_hash) WHERE browser_hash IS NOT NULL;

    CREATE TABLE initial_access_tokens (
      id          uuid PRIMARY KEY,
      name        text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
      token_hash  bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
      max_uses    integer CHECK (max_uses > 0),
      uses        integer NOT NULL DEFAULT 0,
      created_at  timestamptz NOT NULL DEFAULT now(),
      expires_at  timestamptz,
      revoked_at  timestamptz
    );
    CREATE TABLE registration_access_tokens (
      client_id   uuid PRIMARY KEY REFERENCES oauth_clients ON DELETE CASCADE,
      token_hash  bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
      created_at  timestamptz NOT NULL DEFAULT now()
    );

    -- What clients were told, or could not be told, of sessions that ended.
    CREATE TABLE logout_notices (
      id           uuid PRIMARY KEY,
      client_id    uuid NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
      user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      sid          text NOT NULL,
      status       text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued','delivered','failed')),
      attempts     smallint NOT NULL DEFAULT 0,
      last_error   text CHECK (char_length(last_error) <= 500),
      created_at   timestamptz NOT NULL DEFAULT now(),
      delivered_at timestamptz
    ) WITH (fillfactor=75);
    CREATE INDEX logout_notices_client_idx ON logout_notices (client_id, created_at);
    CREATE INDEX logout_notices_user_idx ON logout_notices (user_id);
    CREATE INDEX logout_notices_created_idx ON logout_notices (created_at);

    -- Only for clients whose registered algorithms need the secret itself.
    ALTER TABLE oauth_client_secrets ADD COLUMN secret_enc bytea;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE logout_notices;
    DROP TABLE registration_access_tokens;
    DROP TABLE initial_access_tokens;
    ALTER TABLE oauth_client_secrets DROP COLUMN secret_enc;
    ALTER TABLE oauth_interactions DROP COLUMN browser_hash;
    ALTER TABLE oauth_clients
      DROP COLUMN issuer,
      DROP COLUMN is_dynamic,
      DROP CONSTRAINT oauth_clients_token_endpoint_auth_method_check,
      ADD CONSTRAINT oauth_clients_token_endpoint_auth_method_check CHECK (token_endpoint_auth_method IN (
        'none','client_secret_basic','client_secret_post','private_key_jwt'));
  `);
}
