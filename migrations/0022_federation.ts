import type { Knex } from "knex";

/** Identity providers elsewhere that people sign in with, whose people they are, and sign-ins that are on their way. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE identity_providers (
      id                   uuid PRIMARY KEY,
      slug                 text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])\\?$'),
      kind                 text NOT NULL CHECK (kind IN ('oidc','oauth2','saml')),
      preset               text,
      name                 text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
      -- The name of the issuer of ours that it serves; empty for the first one.
      at_issuer            text NOT NULL DEFAULT '',
      enabled              boolean NOT NULL DEFAULT true,
      show_button          boolean NOT NULL DEFAULT true,
      display_order        smallint NOT NULL DEFAULT 100,
      client_id            text CHECK (char_length(client_id) <= 512),
      client_secret_enc    bytea,
      -- The private JWK that our assertions to it are signed with, where it asks for private_key_jwt.
      private_key_enc      bytea,
      -- Its iss, or its entity ID.
      issuer               text CHECK (char_length(issuer) BETWEEN 1 AND 1024),
      -- Endpoints, scopes, parameters: what its kind needs beside.
      settings             jsonb NOT NULL DEFAULT '{}' CHECK (pg_column_size(settings) <= 65536),
      -- Claim or attribute of theirs for each claim of ours.
      attribute_mapping    jsonb NOT NULL DEFAULT '{}',
      -- Value of theirs for each group of ours.
      group_mapping        jsonb NOT NULL DEFAULT '{}',
      linking_policy       text NOT NULL DEFAULT 'prompt'
                           CHECK (linking_policy IN ('never','prompt','verified_email','isolated')),
      jit_provisioning     boolean NOT NULL DEFAULT true,
      sync_profile         boolean NOT NULL DEFAULT false,
      trust_email_verified boolean NOT NULL DEFAULT false,
      -- What of its acr or amr stands for two factors.
      trusted_acr_values   text[] NOT NULL DEFAULT '{}',
      keep_access          boolean NOT NULL DEFAULT false,
      -- Clients that may have its tokens, where they are kept, by token exchange (RFC 8693).
      exchange_client_ids  text[] NOT NULL DEFAULT '{}',
      version              integer NOT NULL DEFAULT 1,
      created_at           timestamptz NOT NULL DEFAULT now(),
      updated_at           timestamptz NOT NULL DEFAULT now(),
      CHECK (kind = 'oauth2' OR issuer IS NOT NULL),
      CHECK (kind = 'saml' OR client_id IS NOT NULL)
    );

    CREATE TABLE saml_connections (
      provider_id          uuid PRIMARY KEY REFERENCES identity_providers ON DELETE CASCADE,
      metadata_url         text CHECK (char_length(metadata_url) <= 2048),
      metadata_xml         text NOT NULL CHECK (char_length(metadata_xml) BETWEEN 1 AND 1048576),
      metadata_fetched_at  timestamptz,
      metadata_valid_until timestamptz,
      -- What the last look at metadata_url found and an operator has not agreed to.
      pending_xml          text CHECK (char_length(pending_xml) <= 1048576),
      name_id_format       text,
      sign_requests        boolean NOT NULL DEFAULT true,
      want_response_signed boolean NOT NULL DEFAULT false,
      want_encrypted       boolean NOT NULL DEFAULT false,
      allow_idp_initiated  boolean NOT NULL DEFAULT false,
      allow_legacy_crypto  boolean NOT NULL DEFAULT false,
      -- Ours, as PEM: what requests are signed with and assertions encrypted for.
      sp_certificate       text NOT NULL,
      sp_private_key_enc   bytea NOT NULL,
      updated_at           timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE sso_domains (
      id                 uuid PRIMARY KEY,
      domain             text NOT NULL CHECK (domain ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])\\?\\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$'),
      provider_id        uuid NOT NULL REFERENCES identity_providers ON DELETE CASCADE,
      dns_challenge      text NOT NULL,
      verified_at        timestamptz,
      -- Whether its people can sign in through the provider only.
      enforce_sso        boolean NOT NULL DEFAULT false,
      created_at         timestamptz NOT NULL DEFAULT now(),
      UNIQUE (provider_id, domain),
      CHECK (NOT enforce_sso OR verified_at IS NOT NULL)
    );
    CREATE UNIQUE INDEX sso_domains_verified_uq ON sso_domains (domain) WHERE verified_at IS NOT NULL;

    CREATE TABLE identities (
      id             uuid PRIMARY KEY,
      user_id        uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      provider_id    uuid NOT NULL REFERENCES identity_providers ON DELETE RESTRICT,
      -- Who says so: the iss or entity ID, which is not always the provider's own.
      issuer         text NOT NULL CHECK (char_length(issuer) BETWEEN 1 AND 1024),
      subject        text NOT NULL CHECK (char_length(subject) BETWEEN 1 AND 255),
      email          text CHECK (char_length(email) <= 254),
      email_verified boolean NOT NULL DEFAULT false,
      name           text CHECK (char_length(name) <= 200),
      linked_via     text NOT NULL CHECK (linked_via IN ('signup','auto','user')),
      last_login_at  timestamptz,
      created_at     timestamptz NOT NULL DEFAULT now(),
      updated_at     timestamptz NOT NULL DEFAULT now(),
      UNIQUE (provider_id, issuer, subject)
    );
    CREATE INDEX identities_user_idx ON identities (user_id);

    CREATE TABLE identity_tokens (
      identity_id       uuid PRIMARY KEY REFERENCES identities ON DELETE CASCADE,
      access_token_enc  bytea NOT NULL,
      refresh_token_enc bytea,
      scopes            text[] NOT NULL DEFAULT '{}',
      expires_at        timestamptz,
      -- Until when somebody is getting new ones.
      refreshing_until  timestamptz,
      updated_at        timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE federation_states (
      state_hash   bytea PRIMARY KEY CHECK (octet_length(state_hash) = 32),
      provider_id  uuid NOT NULL REFERENCES identity_providers ON DELETE CASCADE,
      purpose      text NOT NULL CHECK (purpose IN ('login','link','test','logout')),
      -- The browser that it began in.
      binding_hash bytea NOT NULL CHECK (octet_length(binding_hash) = 32),
      -- Whose account the identity will be linked to.
      user_id      uuid REFERENCES users ON DELETE CASCADE,
      -- Where the browser goes with the outcome.
      return_to    text NOT NULL CHECK (char_length(return_to) <= 2048),
      -- What the answer is held against: nonce, code verifier, request ID.
      secrets_enc  bytea NOT NULL,
      created_at   timestamptz NOT NULL DEFAULT now(),
      answered_at  timestamptz,
      -- What the provider said, until the page that it was said for takes it.
      outcome_hash bytea UNIQUE CHECK (octet_length(outcome_hash) = 32),
      outcome_enc  bytea,
      expires_at   timestamptz NOT NULL,
      CHECK (purpose <> 'link' OR user_id IS NOT NULL)
    );
    CREATE INDEX federation_states_provider_idx ON federation_states (provider_id);
    CREATE INDEX federation_states_user_idx ON federation_states (user_id) WHERE user_id IS NOT NULL;
    CREATE INDEX federation_states_gc_idx ON federation_states (expires_at);

    -- What happened, step by step, where a sign-in through a provider failed; found by the number on the page.
    CREATE TABLE federation_traces (
      support_id  text PRIMARY KEY CHECK (char_length(support_id) <= 64),
      provider_id uuid NOT NULL REFERENCES identity_providers ON DELETE CASCADE,
      reason      text NOT NULL,
      steps       jsonb NOT NULL CHECK (pg_column_size(steps) <= 65536),
      created_at  timestamptz NOT NULL DEFAULT now(),
      expires_at  timestamptz NOT NULL
    );
    CREATE INDEX federation_traces_provider_idx ON federation_traces (provider_id);
    CREATE INDEX federation_traces_gc_idx ON federation_traces (expires_at);

    ALTER TABLE users
      DROP CONSTRAINT users_created_via_check,
      ADD CONSTRAINT users_created_via_check
        CHECK (created_via IN ('setup','admin','registration','invitation','federation'));

    -- How a session began elsewhere, so that what ends it there ends it here.
    ALTER TABLE sessions
      ADD COLUMN identity_id uuid REFERENCES identities ON DELETE SET NULL,
      ADD COLUMN upstream_enc bytea,
      ADD COLUMN upstream_acr text CHECK (char_length(upstream_acr) <= 1024),
      ADD COLUMN upstream_amr text[],
      ADD COLUMN upstream_key bytea CHECK (octet_length(upstream_key) = 32),
      ADD COLUMN not_after timestamptz;
    CREATE INDEX sessions_identity_idx ON sessions (identity_id) WHERE identity_id IS NOT NULL;
    CREATE INDEX sessions_upstream_idx ON sessions (upstream_key) WHERE upstream_key IS NOT NULL;

    CREATE TRIGGER identity_providers_changed AFTER INSERT OR UPDATE OR DELETE ON identity_providers
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_connections');
    CREATE TRIGGER saml_connections_changed AFTER INSERT OR UPDATE OR DELETE ON saml_connections
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_connections');
    CREATE TRIGGER sso_domains_changed AFTER INSERT OR UPDATE OR DELETE ON sso_domains
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_connections');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE sessions DROP COLUMN not_after, DROP COLUMN upstream_key, DROP COLUMN upstream_amr, DROP COLUMN upstream_acr, DROP COLUMN upstream_enc, DROP COLUMN identity_id;
    DROP TABLE federation_traces, federation_states, identity_tokens, identities, sso_domains, saml_connections,
      identity_providers;
    UPDATE users SET created_via = 'registration' WHERE created_via = 'federation';
    ALTER TABLE users
      DROP CONSTRAINT users_created_via_check,
      ADD CONSTRAINT users_created_via_check
        CHECK (created_via IN ('setup','admin','registration','invitation'));
  `);
}
