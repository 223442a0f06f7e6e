import type { Knex } from "knex";

/** APIs that access tokens are for (RFC 8707), what may be done at each, and which clients may ask for it. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE api_resources (
      id             uuid PRIMARY KEY,
      -- The absolute URI that requests name it by, and the audience of its tokens.
      indicator      text NOT NULL UNIQUE
                     CHECK (indicator ~ '^[a-z][a-z0-9+.-]*:[!-~]+$' AND indicator !~ '#' AND char_length(indicator) <= 512),
      -- The name of the issuer whose tokens it takes, as in MORE_ISSUERS; empty for the first one.
      issuer         text NOT NULL DEFAULT '' CHECK (issuer ~ '^[a-z0-9]{0,20}$'),
      name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 64),
      open_to        text NOT NULL DEFAULT 'listed' CHECK (open_to IN ('listed','any')),
      token_format   text NOT NULL DEFAULT 'jwt' CHECK (token_format IN ('jwt','opaque')),
      -- Seconds.
      token_lifetime integer NOT NULL DEFAULT 600 CHECK (token_lifetime BETWEEN 60 AND 3600),
      -- The issuer's first algorithm where it is null.
      signing_alg    text,
      -- The client that the API itself is: it asks about opaque tokens (RFC 7662 §2.1) and exchanges those it is sent.
      own_client_id uuid REFERENCES oauth_clients ON DELETE SET NULL,
      created_at     timestamptz NOT NULL DEFAULT now(),
      updated_at     timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX api_resources_own_client_idx ON api_resources (own_client_id);

    CREATE TABLE permissions (
      id              uuid PRIMARY KEY,
      api_resource_id uuid NOT NULL REFERENCES api_resources ON DELETE CASCADE,
      -- A scope token (RFC 6749 §3.3).
      name            text NOT NULL CHECK (name ~ '^[!#-\\[\\]-~]{1,100}$'),
      -- What it allows, in words for the consent page.
      description     text NOT NULL CHECK (char_length(description) BETWEEN 1 AND 200),
      created_at      timestamptz NOT NULL DEFAULT now(),
      UNIQUE (api_resource_id, name)
    );

    CREATE TABLE api_resource_clients (
      api_resource_id uuid NOT NULL REFERENCES api_resources ON DELETE CASCADE,
      client_id       uuid NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
      -- The permissions that this client may have; all where it is null.
      permissions     text[],
      PRIMARY KEY (api_resource_id, client_id)
    );
    CREATE INDEX api_resource_clients_client_idx ON api_resource_clients (client_id);

    CREATE TRIGGER api_resources_changed AFTER INSERT OR UPDATE OR DELETE ON api_resources
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_resources');
    CREATE TRIGGER permissions_changed AFTER INSERT OR UPDATE OR DELETE ON permissions
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_resources');
    CREATE TRIGGER api_resource_clients_changed AFTER INSERT OR UPDATE OR DELETE ON api_resource_clients
      FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_resources');

    -- The grant of a token that was exchanged for those of this one (RFC 8693); whatever ends it ends this one too.
    ALTER TABLE oauth_grants ADD COLUMN parent_id uuid REFERENCES oauth_grants ON DELETE CASCADE;
    CREATE INDEX oauth_grants_parent_idx ON oauth_grants (parent_id) WHERE parent_id IS NOT NULL;
    CREATE FUNCTION lintel_end_derived_grants() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        UPDATE oauth_grants SET revoked_at = clock_timestamp(), tokens_valid_after = clock_timestamp()
         WHERE parent_id = NEW.id AND revoked_at IS NULL;
        RETURN NULL;
      END $$;
    CREATE TRIGGER oauth_grants_ended AFTER UPDATE OF revoked_at, tokens_valid_after ON oauth_grants FOR EACH ROW
      WHEN (NEW.tokens_valid_after IS DISTINCT FROM OLD.tokens_valid_after OR NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
      EXECUTE FUNCTION lintel_end_derived_grants();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TRIGGER oauth_grants_ended ON oauth_grants;
    DROP FUNCTION lintel_end_derived_grants();
    ALTER TABLE oauth_grants DROP COLUMN parent_id;
    DROP TABLE api_resource_clients, permissions, api_resources;
  `);
}
