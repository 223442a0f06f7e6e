import type { Knex } from "knex";

const THROTTLES =
  "'account','ip','account_ip','code_ip','code_session','hint','registration','ciba','ciba_user'";
const ENDINGS = "'logout','superseded','user_disabled','admin_revoked'";

/** People who make their accounts themselves, prove addresses, come back without a password, and agree to terms. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE users
      DROP CONSTRAINT users_created_via_check,
      ADD CONSTRAINT users_created_via_check
        CHECK (created_via IN ('setup','admin','registration','invitation'));

    -- A letter: a link, and a code for whoever reads it on another device than the one that asked. Who asks learns
    -- nothing of the address, so the row is the same for every address, and a job decides what the letter says.
    ALTER TABLE one_time_tokens
      DROP CONSTRAINT one_time_tokens_purpose_check,
      ADD CONSTRAINT one_time_tokens_purpose_check CHECK (purpose IN
        ('setup','register','verify_email','reset_password','undo_email_change','invitation')),
      ALTER COLUMN token_hash DROP NOT NULL,
      ADD COLUMN user_id       uuid REFERENCES users ON DELETE CASCADE,
      ADD COLUMN email_id      uuid REFERENCES user_emails ON DELETE CASCADE,
      -- Keyed, of the address it is for.
      ADD COLUMN target_hash   bytea CHECK (octet_length(target_hash) = 32),
      -- Keyed, of the row's id and the code.
      ADD COLUMN code_hash     bytea CHECK (octet_length(code_hash) = 32),
      -- Of the interaction or the session that asked.
      ADD COLUMN binding_hash  bytea CHECK (octet_length(binding_hash) = 32),
      ADD COLUMN context_enc   bytea CHECK (octet_length(context_enc) <= 4096),
      ADD COLUMN attempts      smallint NOT NULL DEFAULT 0 CHECK (attempts <= 5),
      ADD COLUMN revoke_reason text CHECK (revoke_reason IN
        ('superseded','password_changed','email_changed','withdrawn')),
      ADD CONSTRAINT one_time_tokens_setup_check CHECK (purpose <> 'setup' OR token_hash IS NOT NULL);
    CREATE UNIQUE INDEX one_time_tokens_live_uq ON one_time_tokens (user_id, purpose, target_hash)
      WHERE used_at IS NULL AND revoked_at IS NULL AND user_id IS NOT NULL;
    CREATE INDEX one_time_tokens_binding_idx ON one_time_tokens (binding_hash) WHERE binding_hash IS NOT NULL;
    CREATE INDEX one_time_tokens_email_idx ON one_time_tokens (email_id) WHERE email_id IS NOT NULL;

    CREATE TABLE invitations (
      id                uuid PRIMARY KEY,
      email             text NOT NULL CHECK (char_length(email) <= 254),
      email_norm        text NOT NULL CHECK (email_norm = lower(email_norm)),
      client_id         uuid REFERENCES oauth_clients ON DELETE CASCADE,
      letter_id         uuid NOT NULL UNIQUE REFERENCES one_time_tokens ON DELETE CASCADE,
      created_at        timestamptz NOT NULL DEFAULT now(),
      expires_at        timestamptz NOT NULL,
      accepted_at       timestamptz,
      accepted_user_id  uuid REFERENCES users ON DELETE CASCADE,
      revoked_at        timestamptz,
      CHECK ((accepted_at IS NULL) = (accepted_user_id IS NULL))
    );
    CREATE UNIQUE INDEX invitations_pending_uq ON invitations (email_norm)
      WHERE accepted_at IS NULL AND revoked_at IS NULL;
    CREATE INDEX invitations_client_idx ON invitations (client_id) WHERE client_id IS NOT NULL;
    CREATE INDEX invitations_accepted_idx ON invitations (accepted_user_id) WHERE accepted_user_id IS NOT NULL;

    -- Of each document the version with the highest number counts, unless it was withdrawn.
    CREATE TABLE terms_versions (
      id            uuid PRIMARY KEY,
      document      text NOT NULL CHECK (document ~ '^[a-z][a-z0-9-]{0,39}$'),
      version       integer NOT NULL CHECK (version > 0),
      is_mandatory  boolean NOT NULL,
      published_at  timestamptz NOT NULL DEFAULT now(),
      withdrawn_at  timestamptz,
      UNIQUE (document, version)
    );
    CREATE TABLE terms_texts (
      version_id  uuid NOT NULL REFERENCES terms_versions ON DELETE CASCADE,
      locale      text NOT NULL CHECK (char_length(locale) <= 35),
      title       text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
      summary     text CHECK (char_length(summary) <= 2000),
      body        text NOT NULL CHECK (char_length(body) <= 200000),
      PRIMARY KEY (version_id, locale)
    );
    CREATE TABLE terms_acceptances (
      user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      version_id  uuid NOT NULL REFERENCES terms_versions,
      accepted    boolean NOT NULL,
      locale      text NOT NULL CHECK (char_length(locale) <= 35),
      decided_at  timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (user_id, version_id)
    );
    CREATE INDEX terms_acceptances_version_idx ON terms_acceptances (version_id);

    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope IN (${THROTTLES},'mail_ip','mail_target'));
    ALTER TABLE sessions
      DROP CONSTRAINT sessions_end_reason_check,
      ADD CONSTRAINT sessions_end_reason_check
        CHECK (end_reason IN (${ENDINGS},'password_changed','email_restored'));
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    UPDATE sessions SET end_reason = 'admin_revoked' WHERE end_reason IN ('password_changed','email_restored');
    ALTER TABLE sessions
      DROP CONSTRAINT sessions_end_reason_check,
      ADD CONSTRAINT sessions_end_reason_check CHECK (end_reason IN (${ENDINGS}));
    DELETE FROM login_throttles WHERE scope IN ('mail_ip','mail_target');
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope IN (${THROTTLES}));
    DROP TABLE terms_acceptances, terms_texts, terms_versions, invitations;
    DELETE FROM one_time_tokens WHERE purpose <> 'setup';
    ALTER TABLE one_time_tokens
      DROP CONSTRAINT one_time_tokens_setup_check,
      DROP COLUMN user_id, DROP COLUMN email_id, DROP COLUMN target_hash, DROP COLUMN code_hash,
      DROP COLUMN binding_hash, DROP COLUMN context_enc, DROP COLUMN attempts, DROP COLUMN revoke_reason,
      ALTER COLUMN token_hash SET NOT NULL,
      DROP CONSTRAINT one_time_tokens_purpose_check,
      ADD CONSTRAINT one_time_tokens_purpose_check CHECK (purpose IN ('setup'));
    UPDATE users SET created_via = 'admin' WHERE created_via IN ('registration','invitation');
    ALTER TABLE users
      DROP CONSTRAINT users_created_via_check,
      ADD CONSTRAINT users_created_via_check CHECK (created_via IN ('setup','admin'));
  `);
}
