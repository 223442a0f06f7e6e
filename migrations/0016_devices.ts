import type { Knex } from "knex";

const SCOPES =
  "'account','ip','account_ip','code_ip','code_session','hint','registration','ciba','ciba_user','mail_ip','mail_target'";

const ENDINGS =
  "'logout','superseded','user_disabled','admin_revoked','password_changed','email_restored'";

/**
 * The browsers that people sign in with, and what is known of each sign-in. What is counted is listed in the code, at
 * the limits, and so is why sessions end; the database keeps to their form.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope ~ '^[a-z][a-z_]{1,29}$');

    -- A browser that a person signed in with, known by a random cookie; whoever shares it has a row of their own.
    CREATE TABLE user_devices (
      id             uuid PRIMARY KEY,
      user_id        uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      cookie_hash    bytea NOT NULL CHECK (octet_length(cookie_hash) = 32),
      browser_family text CHECK (char_length(browser_family) <= 50),
      os_family      text CHECK (char_length(os_family) <= 50),
      last_country   text CHECK (char_length(last_country) = 2),
      first_seen_at  timestamptz NOT NULL DEFAULT now(),
      last_seen_on   date NOT NULL,
      UNIQUE (cookie_hash, user_id)
    ) WITH (fillfactor=90);
    CREATE INDEX user_devices_user_idx ON user_devices (user_id);
    CREATE INDEX user_devices_gc_idx ON user_devices (last_seen_on);

    ALTER TABLE sessions
      DROP CONSTRAINT sessions_end_reason_check,
      ADD CONSTRAINT sessions_end_reason_check CHECK (end_reason ~ '^[a-z][a-z_]{1,29}$'),
      ADD COLUMN device_id    uuid REFERENCES user_devices ON DELETE SET NULL,
      ADD COLUMN login_method text CHECK (char_length(login_method) <= 30),
      ADD COLUMN country      text CHECK (char_length(country) = 2),
      -- Degrees, rounded: near enough to see that nobody can have travelled so fast.
      ADD COLUMN place        point,
      ADD COLUMN risk_score   smallint NOT NULL DEFAULT 0 CHECK (risk_score BETWEEN 0 AND 100),
      ADD COLUMN risk_reasons text[] NOT NULL DEFAULT '{}';
    CREATE INDEX sessions_device_idx ON sessions (device_id) WHERE device_id IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    UPDATE sessions SET end_reason = 'admin_revoked' WHERE end_reason NOT IN (${ENDINGS});
    ALTER TABLE sessions
      DROP COLUMN device_id, DROP COLUMN login_method, DROP COLUMN country, DROP COLUMN place,
      DROP COLUMN risk_score, DROP COLUMN risk_reasons,
      DROP CONSTRAINT sessions_end_reason_check,
      ADD CONSTRAINT sessions_end_reason_check CHECK (end_reason IN (${ENDINGS}));
    DROP TABLE user_devices;
    DELETE FROM login_throttles WHERE scope NOT IN (${SCOPES});
    ALTER TABLE login_throttles
      DROP CONSTRAINT login_throttles_scope_check,
      ADD CONSTRAINT login_throttles_scope_check CHECK (scope IN (${SCOPES}));
  `);
}
