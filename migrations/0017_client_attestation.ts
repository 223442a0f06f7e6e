import type { Knex } from "knex";

const METHODS =
  "'none','client_secret_basic','client_secret_post','client_secret_jwt','private_key_jwt','tls_client_auth','self_signed_tls_client_auth'";
const ATTESTED = "'attest_jwt_client_auth','attest_jwt_client_auth_dpop'";

/** Clients whose instances somebody attests (OAuth 2.0 Attestation-Based Client Authentication). */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE oauth_clients
      DROP CONSTRAINT oauth_clients_token_endpoint_auth_method_check,
      ADD CONSTRAINT oauth_clients_token_endpoint_auth_method_check
        CHECK (token_endpoint_auth_method IN (${METHODS},${ATTESTED}));
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DELETE FROM oauth_clients WHERE token_endpoint_auth_method IN (${ATTESTED});
    ALTER TABLE oauth_clients
      DROP CONSTRAINT oauth_clients_token_endpoint_auth_method_check,
      ADD CONSTRAINT oauth_clients_token_endpoint_auth_method_check
        CHECK (token_endpoint_auth_method IN (${METHODS}));
  `);
}
