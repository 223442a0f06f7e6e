import type { Knex } from "knex";

/**
 * Clients and everything the engine keeps. Two rules shape these tables: what is mutable, visible to people or
 * long-lived has typed columns; and no column that changes often has an index, so that updates stay in place (HOT).
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE oauth_clients (
      id                  uuid PRIMARY KEY,
      client_id           text NOT NULL UNIQUE CHECK (client_id ~ '^[!-~]+$' AND char_length(client_id) <= 512),
      name                text NOT NULL CHECK (char_length(name) <= 200),
      status              text NOT NULL DEFAULT 'active' CHECK (status IN ('active','disabled')),
      application_type    text NOT NULL DEFAULT 'web' CHECK (application_type IN ('web','native')),
      token_endpoint_auth_method text NOT NULL DEFAULT 'client_secret_basic'
                          CHECK (token_endpoint_auth_method IN ('none','client_secret_basic','client_secret_post','private_key_jwt')),
      redirect_uris       text[] NOT NULL DEFAULT '{}' CHECK (cardinality(redirect_uris) <= 100),
      post_logout_redirect_uris text[] NOT NULL DEFAULT '{}' CHECK (cardinality(post_logout_redirect_uris) <= 100),
      grant_types         text[] NOT NULL DEFAULT '{authorization_code}',
      response_types      text[] NOT NULL DEFAULT '{code}',
      scope               text CHECK (char_length(scope) <= 4096),
      jwks                jsonb,
      jwks_uri            text CHECK (char_length(jwks_uri) <= 2048),
      consent_mode        text NOT NULL DEFAULT 'explicit' CHECK (consent_mode IN ('explicit','first_party')),
      refresh_reuse_interval smallint NOT NULL DEFAULT 10 CHECK (refresh_reuse_interval BETWEEN 0 AND 300),
      cors_origins        text[] NOT NULL DEFAULT '{}',
      -- Registered metadata of RFC 7591 and OpenID registration that nothing but the engine reads.
      metadata            jsonb NOT NULL DEFAULT '{}' CHECK (pg_column_size(metadata) <= 16384),
      version             integer NOT NULL DEFAULT 1,
      created_at          timestamptz NOT NULL DEFAULT now(),
      updated_at          timestamptz NOT NULL DEFAULT now(),
      deleted_at          timestamptz,
      CHECK (jwks IS NULL OR jwks_uri IS NULL),
      CHECK (NOT ('authorization_code' = ANY (grant_types)) OR cardinality(redirect_uris) > 0)
    );
    CREATE INDEX oauth_clients_created_idx ON oauth_clients (created_at, id) WHERE deleted_at IS NULL;

    CREATE TABLE oauth_client_secrets (
      id           uuid PRIMARY KEY,
      client_id    uuid NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
      secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
      hint         text NOT NULL CHECK (char_length(hint) BETWEEN 2 AND 6),
      created_at   timestamptz NOT NULL DEFAULT now(),
      expires_at   timestamptz,
      revoked_at   timestamptz
    );
    CREATE UNIQUE INDEX oauth_client_secrets_hash_uq ON oauth_client_secrets (client_id, secret_hash);

    -- Whoever changes a client tells every node, so that no cache outlives the change.
    CREATE FUNCTION lintel_notify() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_notify(TG_ARGV[0], ''); RETURN NULL; END $$;
    CREATE TRIGGER oauth_clients_changed AFTER INSERT OR UPDATE OR DELETE ON oauth_clients
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_clients');
    CREATE TRIGGER oauth_client_secrets_changed AFTER INSERT OR UPDATE OR DELETE ON oauth_client_secrets
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_clients');
    CREATE TRIGGER signing_keys_changed AFTER INSERT OR UPDATE OR DELETE ON signing_keys
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_keys');

    CREATE TABLE sessions (
      uid              text PRIMARY KEY CHECK (char_length(uid) BETWEEN 16 AND 64),
      cookie_hash      bytea UNIQUE CHECK (octet_length(cookie_hash) = 32),
      cookie_enc       bytea,
      previous_cookie_hash bytea CHECK (octet_length(previous_cookie_hash) = 32),
      previous_valid_until timestamptz,
      user_id          uuid REFERENCES users ON DELETE CASCADE,
      transient        boolean NOT NULL DEFAULT false,
      logged_in_at     timestamptz,
      acr              text,
      amr              text[],
      authorizations   jsonb,
      state            jsonb,
      ip_prefix        cidr,
      user_agent       text CHECK (char_length(user_agent) <= 255),
      created_at       timestamptz NOT NULL DEFAULT now(),
      last_active_at   timestamptz NOT NULL DEFAULT now(),
      expires_at       timestamptz NOT NULL,
      gc_on            date NOT NULL,
      ended_at         timestamptz,
      end_reason       text CHECK (end_reason IN ('logout','superseded','user_disabled','admin_revoked'))
    ) WITH (fillfactor=75, autovacuum_vacuum_scale_factor=0.02);
    CREATE INDEX sessions_previous_idx ON sessions (previous_cookie_hash) WHERE previous_cookie_hash IS NOT NULL;
    CREATE INDEX sessions_user_idx ON sessions (user_id) WHERE user_id IS NOT NULL;
    CREATE INDEX sessions_gc_idx ON sessions (gc_on);

    -- The durable decision of a person about a client; signing out does not touch it.
    CREATE TABLE oauth_consents (
      id               uuid PRIMARY KEY,
      user_id          uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      client_id        uuid NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
      scopes           text[] NOT NULL DEFAULT '{}',
      rejected_scopes  text[] NOT NULL DEFAULT '{}',
      granted_at       timestamptz NOT NULL DEFAULT now(),
      updated_at       timestamptz NOT NULL DEFAULT now(),
      revoked_at       timestamptz
    ) WITH (fillfactor=90);
    CREATE UNIQUE INDEX oauth_consents_active_uq ON oauth_consents (user_id, client_id) WHERE revoked_at IS NULL;
    CREATE INDEX oauth_consents_client_idx ON oauth_consents (client_id);

    -- The engine's Grant: what one sign-in of one user at one client may do.
    CREATE TABLE oauth_grants (
      id               uuid PRIMARY KEY,
      user_id          uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      client_id        uuid NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
      session_uid      text,
      payload          jsonb NOT NULL,
      tokens_valid_after timestamptz,
      created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
      expires_at       timestamptz NOT NULL,
      gc_on            date NOT NULL,
      revoked_at       timestamptz
    ) WITH (fillfactor=85);
    CREATE INDEX oauth_grants_user_client_idx ON oauth_grants (user_id, client_id);
    CREATE INDEX oauth_grants_client_idx ON oauth_grants (client_id);
    CREATE INDEX oauth_grants_session_idx ON oauth_grants (session_uid) WHERE session_uid IS NOT NULL;
    CREATE INDEX oauth_grants_gc_idx ON oauth_grants (gc_on);

    -- Finished and expired interactions stay as tombstones, so that an old address can say what happened.
    CREATE TABLE oauth_interactions (
      uid_hash     bytea PRIMARY KEY CHECK (octet_length(uid_hash) = 32),
      client_id    text,
      user_id      uuid,
      payload_enc  bytea,
      created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
      expires_at   timestamptz NOT NULL,
      finished_at  timestamptz,
      gc_at        timestamptz NOT NULL
    ) WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0.02);
    CREATE INDEX oauth_interactions_gc_idx ON oauth_interactions (gc_at);

    CREATE TABLE oauth_authorizations (
      code_hash        bytea NOT NULL CHECK (octet_length(code_hash) = 32),
      expires_at       timestamptz NOT NULL,
      grant_id         uuid NOT NULL,
      client_id        uuid NOT NULL,
      user_id          uuid NOT NULL,
      session_uid      text,
      redirect_uri     text NOT NULL,
      scope            text,
      payload          jsonb NOT NULL,
      created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
      consumed_at      timestamptz,
      PRIMARY KEY (code_hash, expires_at)
    ) PARTITION BY RANGE (expires_at);

    -- One row per family: a token is its id, a counter and a MAC; rotation moves the counter.
    CREATE TABLE refresh_tokens (
      id               uuid PRIMARY KEY,
      grant_id         uuid NOT NULL REFERENCES oauth_grants ON DELETE CASCADE,
      client_id        uuid NOT NULL,
      user_id          uuid NOT NULL,
      counter          integer NOT NULL DEFAULT 0 CHECK (counter >= 0),
      rotated_at       timestamptz,
      session_uid      text,
      scope            text,
      payload          jsonb NOT NULL,
      created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
      expires_at       timestamptz NOT NULL,
      gc_on            date NOT NULL,
      revoked_at       timestamptz
    ) WITH (fillfactor=75, autovacuum_vacuum_scale_factor=0.02);
    CREATE INDEX refresh_tokens_grant_idx ON refresh_tokens (grant_id);
    CREATE INDEX refresh_tokens_gc_idx ON refresh_tokens (gc_on);

    -- Insert once, consume once, short-lived: opaque access tokens, client-credentials tokens, pushed requests.
    CREATE TABLE oidc_artifacts (
      id_hash     bytea NOT NULL CHECK (octet_length(id_hash) = 32),
      expires_at  timestamptz NOT NULL,
      model       smallint NOT NULL,
      grant_id    uuid,
      created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
      consumed_at timestamptz,
      payload     jsonb NOT NULL,
      PRIMARY KEY (id_hash, expires_at)
    ) PARTITION BY RANGE (expires_at);

    CREATE TABLE replay_guards (
      key_hash   bytea PRIMARY KEY CHECK (octet_length(key_hash) = 32),
      expires_at timestamptz NOT NULL
    );
    CREATE INDEX replay_guards_gc_idx ON replay_guards (expires_at);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE replay_guards, oidc_artifacts, refresh_tokens, oauth_authorizations, oauth_interactions, oauth_grants,
      oauth_consents, sessions, oauth_client_secrets, oauth_clients;
    DROP TRIGGER signing_keys_changed ON signing_keys;
    DROP FUNCTION lintel_notify();
  `);
}
