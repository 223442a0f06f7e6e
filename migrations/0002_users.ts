import type { Knex } from "knex";

/** People, their addresses and passwords, the system role, single-use links, and the counters that slow guessing down. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE users (
      id                    uuid PRIMARY KEY,
      username              text CHECK (char_length(username) BETWEEN 2 AND 100),
      username_norm         text CHECK (username_norm = lower(username_norm)),
      status                text NOT NULL DEFAULT 'active' CHECK (status IN ('active','deactivated')),
      status_changed_at     timestamptz NOT NULL DEFAULT now(),
      sessions_valid_after  timestamptz,
      created_via           text NOT NULL CHECK (created_via IN ('setup','admin')),
      last_login_at         timestamptz,
      created_at            timestamptz NOT NULL DEFAULT now(),
      updated_at            timestamptz NOT NULL DEFAULT now(),
      CHECK ((username IS NULL) = (username_norm IS NULL))
    ) WITH (fillfactor=85);
    CREATE UNIQUE INDEX users_username_uq ON users (username_norm) WHERE username_norm IS NOT NULL;
    CREATE INDEX users_created_idx ON users (created_at, id);

    CREATE TABLE user_profiles (
      user_id      uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
      display_name text CHECK (char_length(display_name) <= 200),
      given_name   text CHECK (char_length(given_name) <= 100),
      middle_name  text CHECK (char_length(middle_name) <= 100),
      family_name  text CHECK (char_length(family_name) <= 100),
      nickname     text CHECK (char_length(nickname) <= 100),
      profile_url  text CHECK (char_length(profile_url) <= 2048),
      picture_url  text CHECK (char_length(picture_url) <= 2048),
      website      text CHECK (char_length(website) <= 2048),
      gender       text CHECK (char_length(gender) <= 100),
      birthdate    text CHECK (char_length(birthdate) <= 10),
      zoneinfo     text CHECK (char_length(zoneinfo) <= 100),
      locale       text CHECK (char_length(locale) <= 35),
      phone_number text CHECK (char_length(phone_number) <= 40),
      address      jsonb,
      updated_at   timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE user_emails (
      id             uuid PRIMARY KEY,
      user_id        uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      email          text NOT NULL CHECK (char_length(email) <= 254),
      email_norm     text NOT NULL CHECK (email_norm = lower(email_norm) AND position('@' in email_norm) > 1),
      is_primary     boolean NOT NULL DEFAULT false,
      verified_at    timestamptz,
      created_at     timestamptz NOT NULL DEFAULT now(),
      UNIQUE (user_id, email_norm)
    );
    -- Unique among verified addresses only: a squatter cannot keep the owner of an address out.
    CREATE UNIQUE INDEX user_emails_verified_uq ON user_emails (email_norm) WHERE verified_at IS NOT NULL;
    CREATE UNIQUE INDEX user_emails_primary_uq ON user_emails (user_id) WHERE is_primary;
    CREATE INDEX user_emails_lookup_idx ON user_emails (email_norm);

    CREATE TABLE user_passwords (
      user_id       uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
      hash          text NOT NULL CHECK (hash LIKE '$%'),
      changed_at    timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE role_assignments (
      user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      role        text NOT NULL CHECK (role IN ('superadmin')),
      granted_at  timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (user_id, role)
    );

    CREATE TABLE login_throttles (
      key_hash       bytea PRIMARY KEY CHECK (octet_length(key_hash) = 32),
      scope          text NOT NULL CHECK (scope IN ('account','ip','account_ip')),
      failures       integer NOT NULL DEFAULT 0,
      window_start   timestamptz NOT NULL DEFAULT now(),
      blocked_until  timestamptz,
      gc_on          date NOT NULL
    ) WITH (fillfactor=70);
    CREATE INDEX login_throttles_gc_idx ON login_throttles (gc_on);

    CREATE TABLE one_time_tokens (
      id            uuid PRIMARY KEY,
      purpose       text NOT NULL CHECK (purpose IN ('setup')),
      token_hash    bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
      created_at    timestamptz NOT NULL DEFAULT now(),
      expires_at    timestamptz NOT NULL,
      used_at       timestamptz,
      revoked_at    timestamptz,
      CHECK (expires_at > created_at)
    );
    CREATE INDEX one_time_tokens_gc_idx ON one_time_tokens (expires_at);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(
    "DROP TABLE one_time_tokens, login_throttles, role_assignments, user_passwords, user_emails, user_profiles, users",
  );
}
