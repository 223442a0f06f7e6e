import type { Knex } from "knex";

/** Settings, keys, audit and the mail outbox: what every other table leans on. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE settings (
      key         text PRIMARY KEY CHECK (key ~ '^[a-z][a-z0-9_.]{1,99}$'),
      value       jsonb NOT NULL,
      updated_at  timestamptz NOT NULL DEFAULT now()
    );

    -- Wrapped data-encryption keys: ENCRYPTION_KEY opens them, they open everything named *_enc.
    CREATE TABLE data_keys (
      id           uuid PRIMARY KEY,
      purpose      text NOT NULL CHECK (purpose IN ('app')),
      kek_id       text NOT NULL,
      wrapped_dek  bytea NOT NULL,
      created_at   timestamptz NOT NULL DEFAULT now(),
      retired_at   timestamptz
    );
    CREATE UNIQUE INDEX data_keys_app_uq ON data_keys (purpose) WHERE retired_at IS NULL;

    CREATE TABLE signing_keys (
      kid          text PRIMARY KEY,
      usage        text NOT NULL CHECK (usage IN ('oidc_sig')),
      alg          text NOT NULL,
      state        text NOT NULL CHECK (state IN ('pending','active','retiring','retired')),
      public_jwk   jsonb NOT NULL,
      private_enc  bytea NOT NULL,
      created_at   timestamptz NOT NULL DEFAULT now(),
      activate_at  timestamptz NOT NULL,
      retire_at    timestamptz,
      CHECK (retire_at IS NULL OR retire_at > activate_at)
    );
    CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (usage, alg) WHERE state = 'active';

    CREATE TABLE audit_events (
      id              uuid NOT NULL,
      occurred_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
      type            text NOT NULL CHECK (char_length(type) <= 80),
      outcome         text NOT NULL CHECK (outcome IN ('success','failure','denied')),
      actor_type      text NOT NULL CHECK (actor_type IN ('user','admin','client','system','anonymous')),
      actor_id        uuid,
      user_id         uuid,
      client_id       uuid,
      session_uid     text,
      target_type     text,
      target_id       text,
      request_id      text,
      ip_prefix       cidr,
      details         jsonb NOT NULL DEFAULT '{}',
      PRIMARY KEY (id, occurred_at)
    ) PARTITION BY RANGE (occurred_at);
    CREATE INDEX audit_events_user_idx ON audit_events (user_id, occurred_at DESC) WHERE user_id IS NOT NULL;
    CREATE INDEX audit_events_type_idx ON audit_events (type, occurred_at DESC) WHERE outcome <> 'success';

    CREATE TABLE outbox_messages (
      id              uuid PRIMARY KEY,
      channel         text NOT NULL CHECK (channel IN ('email')),
      template        text NOT NULL,
      locale          text NOT NULL,
      recipient_enc   bytea NOT NULL,
      payload_enc     bytea NOT NULL,
      dedupe_key      text UNIQUE,
      user_id         uuid,
      status          text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued','sending','sent','failed')),
      attempts        smallint NOT NULL DEFAULT 0,
      last_error      text,
      created_at      timestamptz NOT NULL DEFAULT now(),
      sent_at         timestamptz
    ) WITH (fillfactor=75);
    CREATE INDEX outbox_messages_created_idx ON outbox_messages (created_at);
    CREATE INDEX outbox_messages_user_idx ON outbox_messages (user_id) WHERE user_id IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE outbox_messages, audit_events, signing_keys, data_keys, settings");
}
