import type { Knex } from "knex";

/** Passkeys, the challenges that they answer, and how often somebody was asked to create one (WebAuthn Level 3). */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- 64 bytes that say nothing of the person and are not their id (WebAuthn §14.6.1).
    ALTER TABLE users ADD COLUMN webauthn_user_handle bytea NOT NULL
      DEFAULT sha512(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text
        || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'))
      CHECK (octet_length(webauthn_user_handle) = 64);
    CREATE UNIQUE INDEX users_webauthn_handle_uq ON users (webauthn_user_handle);

    CREATE TABLE webauthn_credentials (
      id               uuid PRIMARY KEY,
      user_id          uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      credential_id    bytea NOT NULL UNIQUE CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
      public_key       bytea NOT NULL,
      rp_id            text NOT NULL,
      sign_count       bigint NOT NULL CHECK (sign_count >= 0),
      aaguid           uuid,
      transports       text[] NOT NULL DEFAULT '{}',
      -- Whether it may be copied to other devices of the person, and whether it was.
      backup_eligible  boolean NOT NULL,
      backed_up        boolean NOT NULL,
      name             text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
      clone_warning_at timestamptz,
      last_used_at     timestamptz,
      created_at       timestamptz NOT NULL DEFAULT now(),
      CHECK (backup_eligible OR NOT backed_up)
    );
    CREATE INDEX webauthn_credentials_user_idx ON webauthn_credentials (user_id, created_at);

    CREATE TABLE auth_challenges (
      -- Of the purpose, the sign-in or session and the person that a challenge is for.
      binding_hash  bytea PRIMARY KEY CHECK (octet_length(binding_hash) = 32),
      challenge     bytea NOT NULL CHECK (octet_length(challenge) = 32),
      created_at    timestamptz NOT NULL DEFAULT now(),
      expires_at    timestamptz NOT NULL,
      CHECK (expires_at > created_at AND expires_at <= created_at + interval '1 hour')
    ) WITH (fillfactor=80);
    CREATE INDEX auth_challenges_gc_idx ON auth_challenges (expires_at);

    CREATE TABLE passkey_offers (
      user_id     uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
      times       smallint NOT NULL CHECK (times > 0),
      last_at     timestamptz NOT NULL,
      -- "Don't ask again".
      declined_at timestamptz
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE passkey_offers;
    DROP TABLE auth_challenges;
    DROP TABLE webauthn_credentials;
    ALTER TABLE users DROP COLUMN webauthn_user_handle;
  `);
}
