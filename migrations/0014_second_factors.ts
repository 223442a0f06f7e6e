import type { Knex } from "knex";

const SCOPES =
  "'account','ip','account_ip','code_ip','code_session','hint','registration','ciba','ciba_user'";
const MORE = "'factor','factor_user','recovery_user','email_code','email_code_ip'";

/** Authenticator apps, recovery codes, codes by e-mail, and browsers that are not asked again. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope IN (${SCOPES},${MORE}));

    -- How often somebody put off setting up a second factor that a policy asks for.
    ALTER TABLE users ADD COLUMN enrolment_skips smallint NOT NULL DEFAULT 0 CHECK (enrolment_skips >= 0);

    -- While it is being set up a factor belongs to one interaction or session (binding_hash), and to nobody else.
    CREATE TABLE mfa_factors (
      id              uuid PRIMARY KEY,
      user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      type            text NOT NULL CHECK (type IN ('totp','email')),
      name            text NOT NULL CHECK (char_length(name) <= 100),
      secret_enc      bytea,
      binding_hash    bytea CHECK (octet_length(binding_hash) = 32),
      failures        smallint NOT NULL DEFAULT 0,
      last_used_step  bigint,
      last_used_at    timestamptz,
      disabled_at     timestamptz,
      verified_at     timestamptz,
      created_at      timestamptz NOT NULL DEFAULT now(),
      CHECK ((type = 'totp') = (secret_enc IS NOT NULL)),
      CHECK ((verified_at IS NULL) = (binding_hash IS NOT NULL))
    ) WITH (fillfactor=85);
    CREATE INDEX mfa_factors_user_idx ON mfa_factors (user_id);
    CREATE UNIQUE INDEX mfa_factors_email_uq ON mfa_factors (user_id) WHERE type = 'email';
    CREATE UNIQUE INDEX mfa_factors_pending_uq ON mfa_factors (binding_hash, user_id) WHERE verified_at IS NULL;
    CREATE INDEX mfa_factors_pending_gc ON mfa_factors (created_at) WHERE verified_at IS NULL;

    CREATE TABLE recovery_codes (
      id          uuid PRIMARY KEY,
      user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      selector    text NOT NULL CHECK (selector ~ '^[0-9a-z]{4}$'),
      code_hash   text NOT NULL CHECK (code_hash LIKE '$argon2id$%'),
      created_at  timestamptz NOT NULL DEFAULT now(),
      used_at     timestamptz,
      UNIQUE (user_id, selector)
    );

    -- One for each interaction, purpose and person named; user_id is null where nobody of that name exists.
    CREATE TABLE email_codes (
      binding_hash  bytea PRIMARY KEY CHECK (octet_length(binding_hash) = 32),
      user_id       uuid REFERENCES users ON DELETE CASCADE,
      code_hash     bytea NOT NULL CHECK (octet_length(code_hash) = 32),
      attempts      smallint NOT NULL DEFAULT 0,
      created_at    timestamptz NOT NULL,
      expires_at    timestamptz NOT NULL,
      used_at       timestamptz,
      CHECK (expires_at > created_at)
    ) WITH (fillfactor=80);
    CREATE INDEX email_codes_user_idx ON email_codes (user_id) WHERE user_id IS NOT NULL;
    CREATE INDEX email_codes_gc_idx ON email_codes (expires_at);

    CREATE TABLE trusted_browsers (
      id            uuid PRIMARY KEY,
      user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      token_hash    bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
      agent_hash    bytea NOT NULL CHECK (octet_length(agent_hash) = 32),
      name          text NOT NULL CHECK (char_length(name) <= 100),
      created_at    timestamptz NOT NULL DEFAULT now(),
      last_used_at  timestamptz NOT NULL DEFAULT now(),
      expires_at    timestamptz NOT NULL,
      CHECK (expires_at > created_at)
    );
    CREATE INDEX trusted_browsers_user_idx ON trusted_browsers (user_id);
    CREATE INDEX trusted_browsers_gc_idx ON trusted_browsers (expires_at);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE trusted_browsers, email_codes, recovery_codes, mfa_factors;
    ALTER TABLE users DROP COLUMN enrolment_skips;
    DELETE FROM login_throttles WHERE scope IN (${MORE});
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope IN (${SCOPES}));
  `);
}
