-- What all migrations together make. Written by `UPDATE_SCHEMA=1 npm test`; review the diff.

CREATE TABLE api_resource_clients
  api_resource_id uuid NOT NULL
  client_id uuid NOT NULL
  permissions text[]
  CONSTRAINT api_resource_clients_api_resource_id_fkey FOREIGN KEY (api_resource_id) REFERENCES api_resources(id) ON DELETE CASCADE
  CONSTRAINT api_resource_clients_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT api_resource_clients_pkey PRIMARY KEY (api_resource_id, client_id)
  CREATE INDEX api_resource_clients_client_idx ON api_resource_clients USING btree (client_id)
  CREATE TRIGGER api_resource_clients_changed AFTER INSERT OR DELETE OR UPDATE ON api_resource_clients FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_resources')

CREATE TABLE api_resources
  id uuid NOT NULL
  indicator text NOT NULL
  issuer text NOT NULL DEFAULT ''::text
  name text NOT NULL
  open_to text NOT NULL DEFAULT 'listed'::text
  token_format text NOT NULL DEFAULT 'jwt'::text
  token_lifetime integer NOT NULL DEFAULT 600
  signing_alg text
  own_client_id uuid
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT api_resources_indicator_check CHECK (((indicator ~ '^[a-z][a-z0-9+.-]*:[!-~]+$'::text) AND (indicator !~ '#'::text) AND (char_length(indicator) <= 512)))
  CONSTRAINT api_resources_indicator_key UNIQUE (indicator)
  CONSTRAINT api_resources_issuer_check CHECK ((issuer ~ '^[a-z0-9]{0,20}$'::text))
  CONSTRAINT api_resources_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 64)))
  CONSTRAINT api_resources_open_to_check CHECK ((open_to = ANY (ARRAY['listed'::text, 'any'::text])))
  CONSTRAINT api_resources_own_client_id_fkey FOREIGN KEY (own_client_id) REFERENCES oauth_clients(id) ON DELETE SET NULL
  CONSTRAINT api_resources_pkey PRIMARY KEY (id)
  CONSTRAINT api_resources_token_format_check CHECK ((token_format = ANY (ARRAY['jwt'::text, 'opaque'::text])))
  CONSTRAINT api_resources_token_lifetime_check CHECK (((token_lifetime >= 60) AND (token_lifetime <= 3600)))
  CREATE INDEX api_resources_own_client_idx ON api_resources USING btree (own_client_id)
  CREATE TRIGGER api_resources_changed AFTER INSERT OR DELETE OR UPDATE ON api_resources FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_resources')

CREATE TABLE audit_events PARTITION BY RANGE (occurred_at)
  id uuid NOT NULL
  occurred_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  type text NOT NULL
  outcome text NOT NULL
  actor_type text NOT NULL
  actor_id uuid
  user_id uuid
  client_id uuid
  session_uid text
  target_type text
  target_id text
  request_id text
  ip_prefix cidr
  details jsonb NOT NULL DEFAULT '{}'::jsonb
  CONSTRAINT audit_events_actor_type_check CHECK ((actor_type = ANY (ARRAY['user'::text, 'admin'::text, 'client'::text, 'system'::text, 'anonymous'::text])))
  CONSTRAINT audit_events_outcome_check CHECK ((outcome = ANY (ARRAY['success'::text, 'failure'::text, 'denied'::text])))
  CONSTRAINT audit_events_pkey PRIMARY KEY (id, occurred_at)
  CONSTRAINT audit_events_type_check CHECK ((char_length(type) <= 80))
  CREATE INDEX audit_events_type_idx ON ONLY audit_events USING btree (type, occurred_at DESC) WHERE (outcome <> 'success'::text)
  CREATE INDEX audit_events_user_idx ON ONLY audit_events USING btree (user_id, occurred_at DESC) WHERE (user_id IS NOT NULL)

CREATE TABLE auth_challenges WITH (fillfactor=80)
  binding_hash bytea NOT NULL
  challenge bytea NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone NOT NULL
  CONSTRAINT auth_challenges_binding_hash_check CHECK ((octet_length(binding_hash) = 32))
  CONSTRAINT auth_challenges_challenge_check CHECK ((octet_length(challenge) = 32))
  CONSTRAINT auth_challenges_check CHECK (((expires_at > created_at) AND (expires_at <= (created_at + '01:00:00'::interval))))
  CONSTRAINT auth_challenges_pkey PRIMARY KEY (binding_hash)
  CREATE INDEX auth_challenges_gc_idx ON auth_challenges USING btree (expires_at)

CREATE TABLE authorization_types
  type text NOT NULL
  definition json NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT authorization_types_pkey PRIMARY KEY (type)
  CONSTRAINT authorization_types_type_check CHECK (((char_length(type) >= 1) AND (char_length(type) <= 200)))
  CREATE TRIGGER authorization_types_changed AFTER INSERT OR DELETE OR UPDATE ON authorization_types FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_authorization_types')

CREATE TABLE client_documents WITH (fillfactor=85)
  client_id uuid NOT NULL
  content_hash bytea NOT NULL
  fetched_at timestamp with time zone NOT NULL
  fresh_until timestamp with time zone NOT NULL
  CONSTRAINT client_documents_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT client_documents_content_hash_check CHECK ((octet_length(content_hash) = 32))
  CONSTRAINT client_documents_pkey PRIMARY KEY (client_id)
  CREATE INDEX client_documents_fresh_idx ON client_documents USING btree (fresh_until)

CREATE TABLE client_logos
  client_id uuid NOT NULL
  logo_uri text NOT NULL
  media_type text
  bytes bytea
  fetched_at timestamp with time zone NOT NULL
  CONSTRAINT client_logos_bytes_check CHECK ((octet_length(bytes) <= 262144))
  CONSTRAINT client_logos_check CHECK (((media_type IS NULL) = (bytes IS NULL)))
  CONSTRAINT client_logos_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT client_logos_media_type_check CHECK ((media_type = ANY (ARRAY['image/png'::text, 'image/jpeg'::text, 'image/webp'::text, 'image/gif'::text])))
  CONSTRAINT client_logos_pkey PRIMARY KEY (client_id)

CREATE TABLE data_keys
  id uuid NOT NULL
  purpose text NOT NULL
  kek_id text NOT NULL
  wrapped_dek bytea NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  retired_at timestamp with time zone
  CONSTRAINT data_keys_pkey PRIMARY KEY (id)
  CONSTRAINT data_keys_purpose_check CHECK ((purpose = 'app'::text))
  CREATE UNIQUE INDEX data_keys_app_uq ON data_keys USING btree (purpose) WHERE (retired_at IS NULL)

CREATE TABLE decoupled_authorizations WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0.02)
  id uuid NOT NULL
  kind text NOT NULL
  code_hash bytea NOT NULL
  user_code_hash bytea
  client_id uuid NOT NULL
  user_id uuid
  grant_id uuid
  status text NOT NULL DEFAULT 'pending'::text
  payload_enc bytea NOT NULL
  poll_interval integer NOT NULL DEFAULT 5
  last_polled_at timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  expires_at timestamp with time zone NOT NULL
  gc_at timestamp with time zone NOT NULL
  decided_at timestamp with time zone
  consumed_at timestamp with time zone
  pinged_at timestamp with time zone
  ping_attempts smallint NOT NULL DEFAULT 0
  ping_error text
  CONSTRAINT decoupled_authorizations_check CHECK (((kind = 'device'::text) = (user_code_hash IS NOT NULL)))
  CONSTRAINT decoupled_authorizations_check1 CHECK (((kind = 'device'::text) OR (user_id IS NOT NULL)))
  CONSTRAINT decoupled_authorizations_check2 CHECK (((status <> 'approved'::text) OR ((user_id IS NOT NULL) AND (grant_id IS NOT NULL))))
  CONSTRAINT decoupled_authorizations_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT decoupled_authorizations_code_hash_check CHECK ((octet_length(code_hash) = 32))
  CONSTRAINT decoupled_authorizations_code_hash_key UNIQUE (code_hash)
  CONSTRAINT decoupled_authorizations_kind_check CHECK ((kind = ANY (ARRAY['device'::text, 'ciba'::text])))
  CONSTRAINT decoupled_authorizations_ping_error_check CHECK ((char_length(ping_error) <= 500))
  CONSTRAINT decoupled_authorizations_pkey PRIMARY KEY (id)
  CONSTRAINT decoupled_authorizations_poll_interval_check CHECK ((poll_interval > 0))
  CONSTRAINT decoupled_authorizations_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'in_flight'::text, 'approved'::text, 'denied'::text])))
  CONSTRAINT decoupled_authorizations_user_code_hash_check CHECK ((octet_length(user_code_hash) = 32))
  CONSTRAINT decoupled_authorizations_user_code_hash_key UNIQUE (user_code_hash)
  CONSTRAINT decoupled_authorizations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX decoupled_authorizations_client_idx ON decoupled_authorizations USING btree (client_id)
  CREATE INDEX decoupled_authorizations_gc_idx ON decoupled_authorizations USING btree (gc_at)
  CREATE INDEX decoupled_authorizations_user_idx ON decoupled_authorizations USING btree (user_id) WHERE (user_id IS NOT NULL)

CREATE TABLE email_codes WITH (fillfactor=80)
  binding_hash bytea NOT NULL
  user_id uuid
  code_hash bytea NOT NULL
  attempts smallint NOT NULL DEFAULT 0
  created_at timestamp with time zone NOT NULL
  expires_at timestamp with time zone NOT NULL
  used_at timestamp with time zone
  CONSTRAINT email_codes_binding_hash_check CHECK ((octet_length(binding_hash) = 32))
  CONSTRAINT email_codes_check CHECK ((expires_at > created_at))
  CONSTRAINT email_codes_code_hash_check CHECK ((octet_length(code_hash) = 32))
  CONSTRAINT email_codes_pkey PRIMARY KEY (binding_hash)
  CONSTRAINT email_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX email_codes_gc_idx ON email_codes USING btree (expires_at)
  CREATE INDEX email_codes_user_idx ON email_codes USING btree (user_id) WHERE (user_id IS NOT NULL)

CREATE TABLE federation_states
  state_hash bytea NOT NULL
  provider_id uuid NOT NULL
  purpose text NOT NULL
  binding_hash bytea NOT NULL
  user_id uuid
  return_to text NOT NULL
  secrets_enc bytea NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  answered_at timestamp with time zone
  outcome_hash bytea
  outcome_enc bytea
  expires_at timestamp with time zone NOT NULL
  CONSTRAINT federation_states_binding_hash_check CHECK ((octet_length(binding_hash) = 32))
  CONSTRAINT federation_states_check CHECK (((purpose <> 'link'::text) OR (user_id IS NOT NULL)))
  CONSTRAINT federation_states_outcome_hash_check CHECK ((octet_length(outcome_hash) = 32))
  CONSTRAINT federation_states_outcome_hash_key UNIQUE (outcome_hash)
  CONSTRAINT federation_states_pkey PRIMARY KEY (state_hash)
  CONSTRAINT federation_states_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES identity_providers(id) ON DELETE CASCADE
  CONSTRAINT federation_states_purpose_check CHECK ((purpose = ANY (ARRAY['login'::text, 'link'::text, 'test'::text, 'logout'::text])))
  CONSTRAINT federation_states_return_to_check CHECK ((char_length(return_to) <= 2048))
  CONSTRAINT federation_states_state_hash_check CHECK ((octet_length(state_hash) = 32))
  CONSTRAINT federation_states_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX federation_states_gc_idx ON federation_states USING btree (expires_at)
  CREATE INDEX federation_states_provider_idx ON federation_states USING btree (provider_id)
  CREATE INDEX federation_states_user_idx ON federation_states USING btree (user_id) WHERE (user_id IS NOT NULL)

CREATE TABLE federation_traces
  support_id text NOT NULL
  provider_id uuid NOT NULL
  reason text NOT NULL
  steps jsonb NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone NOT NULL
  CONSTRAINT federation_traces_pkey PRIMARY KEY (support_id)
  CONSTRAINT federation_traces_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES identity_providers(id) ON DELETE CASCADE
  CONSTRAINT federation_traces_steps_check CHECK ((pg_column_size(steps) <= 65536))
  CONSTRAINT federation_traces_support_id_check CHECK ((char_length(support_id) <= 64))
  CREATE INDEX federation_traces_gc_idx ON federation_traces USING btree (expires_at)
  CREATE INDEX federation_traces_provider_idx ON federation_traces USING btree (provider_id)

CREATE TABLE group_members
  group_id uuid NOT NULL
  user_id uuid NOT NULL
  identity_id uuid
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT group_members_group_id_fkey FOREIGN KEY (group_id) REFERENCES groups(id) ON DELETE CASCADE
  CONSTRAINT group_members_group_id_user_id_identity_id_key UNIQUE NULLS NOT DISTINCT (group_id, user_id, identity_id)
  CONSTRAINT group_members_identity_id_fkey FOREIGN KEY (identity_id) REFERENCES identities(id) ON DELETE CASCADE
  CONSTRAINT group_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX group_members_identity_idx ON group_members USING btree (identity_id) WHERE (identity_id IS NOT NULL)
  CREATE INDEX group_members_user_idx ON group_members USING btree (user_id)

CREATE TABLE groups
  id uuid NOT NULL
  name text NOT NULL
  require_second_factor boolean NOT NULL DEFAULT false
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT groups_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100)))
  CONSTRAINT groups_name_key UNIQUE (name)
  CONSTRAINT groups_pkey PRIMARY KEY (id)

CREATE TABLE identities
  id uuid NOT NULL
  user_id uuid NOT NULL
  provider_id uuid NOT NULL
  issuer text NOT NULL
  subject text NOT NULL
  email text
  email_verified boolean NOT NULL DEFAULT false
  name text
  linked_via text NOT NULL
  last_login_at timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT identities_email_check CHECK ((char_length(email) <= 254))
  CONSTRAINT identities_issuer_check CHECK (((char_length(issuer) >= 1) AND (char_length(issuer) <= 1024)))
  CONSTRAINT identities_linked_via_check CHECK ((linked_via = ANY (ARRAY['signup'::text, 'auto'::text, 'user'::text])))
  CONSTRAINT identities_name_check CHECK ((char_length(name) <= 200))
  CONSTRAINT identities_pkey PRIMARY KEY (id)
  CONSTRAINT identities_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES identity_providers(id) ON DELETE RESTRICT
  CONSTRAINT identities_provider_id_issuer_subject_key UNIQUE (provider_id, issuer, subject)
  CONSTRAINT identities_subject_check CHECK (((char_length(subject) >= 1) AND (char_length(subject) <= 255)))
  CONSTRAINT identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX identities_user_idx ON identities USING btree (user_id)

CREATE TABLE identity_providers
  id uuid NOT NULL
  slug text NOT NULL
  kind text NOT NULL
  preset text
  name text NOT NULL
  at_issuer text NOT NULL DEFAULT ''::text
  enabled boolean NOT NULL DEFAULT true
  show_button boolean NOT NULL DEFAULT true
  display_order smallint NOT NULL DEFAULT 100
  client_id text
  client_secret_enc bytea
  private_key_enc bytea
  issuer text
  settings jsonb NOT NULL DEFAULT '{}'::jsonb
  attribute_mapping jsonb NOT NULL DEFAULT '{}'::jsonb
  group_mapping jsonb NOT NULL DEFAULT '{}'::jsonb
  linking_policy text NOT NULL DEFAULT 'prompt'::text
  jit_provisioning boolean NOT NULL DEFAULT true
  sync_profile boolean NOT NULL DEFAULT false
  trust_email_verified boolean NOT NULL DEFAULT false
  trusted_acr_values text[] NOT NULL DEFAULT '{}'::text[]
  keep_access boolean NOT NULL DEFAULT false
  exchange_client_ids text[] NOT NULL DEFAULT '{}'::text[]
  version integer NOT NULL DEFAULT 1
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  role_mapping jsonb NOT NULL DEFAULT '{}'::jsonb
  organization_id uuid
  CONSTRAINT identity_providers_check CHECK (((kind = 'oauth2'::text) OR (issuer IS NOT NULL)))
  CONSTRAINT identity_providers_check1 CHECK (((kind = 'saml'::text) OR (client_id IS NOT NULL)))
  CONSTRAINT identity_providers_client_id_check CHECK ((char_length(client_id) <= 512))
  CONSTRAINT identity_providers_issuer_check CHECK (((char_length(issuer) >= 1) AND (char_length(issuer) <= 1024)))
  CONSTRAINT identity_providers_kind_check CHECK ((kind = ANY (ARRAY['oidc'::text, 'oauth2'::text, 'saml'::text])))
  CONSTRAINT identity_providers_linking_policy_check CHECK ((linking_policy = ANY (ARRAY['never'::text, 'prompt'::text, 'verified_email'::text, 'isolated'::text])))
  CONSTRAINT identity_providers_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100)))
  CONSTRAINT identity_providers_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations(id) ON DELETE RESTRICT
  CONSTRAINT identity_providers_pkey PRIMARY KEY (id)
  CONSTRAINT identity_providers_settings_check CHECK ((pg_column_size(settings) <= 65536))
  CONSTRAINT identity_providers_slug_check CHECK ((slug ~ '^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$'::text))
  CONSTRAINT identity_providers_slug_key UNIQUE (slug)
  CREATE INDEX identity_providers_organization_idx ON identity_providers USING btree (organization_id) WHERE (organization_id IS NOT NULL)
  CREATE TRIGGER identity_providers_changed AFTER INSERT OR DELETE OR UPDATE ON identity_providers FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_connections')

CREATE TABLE identity_tokens
  identity_id uuid NOT NULL
  access_token_enc bytea NOT NULL
  refresh_token_enc bytea
  scopes text[] NOT NULL DEFAULT '{}'::text[]
  expires_at timestamp with time zone
  refreshing_until timestamp with time zone
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT identity_tokens_identity_id_fkey FOREIGN KEY (identity_id) REFERENCES identities(id) ON DELETE CASCADE
  CONSTRAINT identity_tokens_pkey PRIMARY KEY (identity_id)

CREATE TABLE initial_access_tokens
  id uuid NOT NULL
  name text NOT NULL
  token_hash bytea NOT NULL
  max_uses integer
  uses integer NOT NULL DEFAULT 0
  created_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone
  revoked_at timestamp with time zone
  issuer text NOT NULL DEFAULT ''::text
  CONSTRAINT initial_access_tokens_issuer_check CHECK ((issuer ~ '^[a-z0-9]{0,20}$'::text))
  CONSTRAINT initial_access_tokens_max_uses_check CHECK ((max_uses > 0))
  CONSTRAINT initial_access_tokens_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100)))
  CONSTRAINT initial_access_tokens_pkey PRIMARY KEY (id)
  CONSTRAINT initial_access_tokens_token_hash_check CHECK ((octet_length(token_hash) = 32))
  CONSTRAINT initial_access_tokens_token_hash_key UNIQUE (token_hash)

CREATE TABLE invitations
  id uuid NOT NULL
  email text NOT NULL
  email_norm text NOT NULL
  client_id uuid
  letter_id uuid NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone NOT NULL
  accepted_at timestamp with time zone
  accepted_user_id uuid
  revoked_at timestamp with time zone
  CONSTRAINT invitations_accepted_user_id_fkey FOREIGN KEY (accepted_user_id) REFERENCES users(id) ON DELETE CASCADE
  CONSTRAINT invitations_check CHECK (((accepted_at IS NULL) = (accepted_user_id IS NULL)))
  CONSTRAINT invitations_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT invitations_email_check CHECK ((char_length(email) <= 254))
  CONSTRAINT invitations_email_norm_check CHECK ((email_norm = lower(email_norm)))
  CONSTRAINT invitations_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES one_time_tokens(id) ON DELETE CASCADE
  CONSTRAINT invitations_letter_id_key UNIQUE (letter_id)
  CONSTRAINT invitations_pkey PRIMARY KEY (id)
  CREATE INDEX invitations_accepted_idx ON invitations USING btree (accepted_user_id) WHERE (accepted_user_id IS NOT NULL)
  CREATE INDEX invitations_client_idx ON invitations USING btree (client_id) WHERE (client_id IS NOT NULL)
  CREATE UNIQUE INDEX invitations_pending_uq ON invitations USING btree (email_norm) WHERE ((accepted_at IS NULL) AND (revoked_at IS NULL))

CREATE TABLE login_throttles WITH (fillfactor=70)
  key_hash bytea NOT NULL
  scope text NOT NULL
  failures integer NOT NULL DEFAULT 0
  window_start timestamp with time zone NOT NULL DEFAULT now()
  blocked_until timestamp with time zone
  gc_on date NOT NULL
  CONSTRAINT login_throttles_key_hash_check CHECK ((octet_length(key_hash) = 32))
  CONSTRAINT login_throttles_pkey PRIMARY KEY (key_hash)
  CONSTRAINT login_throttles_scope_check CHECK ((scope ~ '^[a-z][a-z_]{1,29}$'::text))
  CREATE INDEX login_throttles_gc_idx ON login_throttles USING btree (gc_on)

CREATE TABLE logout_notices WITH (fillfactor=75)
  id uuid NOT NULL
  client_id uuid NOT NULL
  user_id uuid NOT NULL
  sid text NOT NULL
  status text NOT NULL DEFAULT 'queued'::text
  attempts smallint NOT NULL DEFAULT 0
  last_error text
  created_at timestamp with time zone NOT NULL DEFAULT now()
  delivered_at timestamp with time zone
  CONSTRAINT logout_notices_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT logout_notices_last_error_check CHECK ((char_length(last_error) <= 500))
  CONSTRAINT logout_notices_pkey PRIMARY KEY (id)
  CONSTRAINT logout_notices_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'delivered'::text, 'failed'::text])))
  CONSTRAINT logout_notices_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX logout_notices_client_idx ON logout_notices USING btree (client_id, created_at)
  CREATE INDEX logout_notices_created_idx ON logout_notices USING btree (created_at)
  CREATE INDEX logout_notices_user_idx ON logout_notices USING btree (user_id)

CREATE TABLE mfa_factors WITH (fillfactor=85)
  id uuid NOT NULL
  user_id uuid NOT NULL
  type text NOT NULL
  name text NOT NULL
  secret_enc bytea
  binding_hash bytea
  failures smallint NOT NULL DEFAULT 0
  last_used_step bigint
  last_used_at timestamp with time zone
  disabled_at timestamp with time zone
  verified_at timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT mfa_factors_binding_hash_check CHECK ((octet_length(binding_hash) = 32))
  CONSTRAINT mfa_factors_check CHECK (((type = 'totp'::text) = (secret_enc IS NOT NULL)))
  CONSTRAINT mfa_factors_check1 CHECK (((verified_at IS NULL) = (binding_hash IS NOT NULL)))
  CONSTRAINT mfa_factors_name_check CHECK ((char_length(name) <= 100))
  CONSTRAINT mfa_factors_pkey PRIMARY KEY (id)
  CONSTRAINT mfa_factors_type_check CHECK ((type = ANY (ARRAY['totp'::text, 'email'::text])))
  CONSTRAINT mfa_factors_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX mfa_factors_pending_gc ON mfa_factors USING btree (created_at) WHERE (verified_at IS NULL)
  CREATE INDEX mfa_factors_user_idx ON mfa_factors USING btree (user_id)
  CREATE UNIQUE INDEX mfa_factors_email_uq ON mfa_factors USING btree (user_id) WHERE (type = 'email'::text)
  CREATE UNIQUE INDEX mfa_factors_pending_uq ON mfa_factors USING btree (binding_hash, user_id) WHERE (verified_at IS NULL)

CREATE TABLE oauth_authorizations PARTITION BY RANGE (expires_at)
  code_hash bytea NOT NULL
  expires_at timestamp with time zone NOT NULL
  grant_id uuid NOT NULL
  client_id uuid NOT NULL
  user_id uuid NOT NULL
  session_uid text
  redirect_uri text NOT NULL
  scope text
  payload jsonb NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  consumed_at timestamp with time zone
  CONSTRAINT oauth_authorizations_code_hash_check CHECK ((octet_length(code_hash) = 32))
  CONSTRAINT oauth_authorizations_pkey PRIMARY KEY (code_hash, expires_at)

CREATE TABLE oauth_client_secrets
  id uuid NOT NULL
  client_id uuid NOT NULL
  secret_hash bytea NOT NULL
  hint text NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone
  revoked_at timestamp with time zone
  secret_enc bytea
  CONSTRAINT oauth_client_secrets_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT oauth_client_secrets_hint_check CHECK (((char_length(hint) >= 2) AND (char_length(hint) <= 6)))
  CONSTRAINT oauth_client_secrets_pkey PRIMARY KEY (id)
  CONSTRAINT oauth_client_secrets_secret_hash_check CHECK ((octet_length(secret_hash) = 32))
  CREATE UNIQUE INDEX oauth_client_secrets_hash_uq ON oauth_client_secrets USING btree (client_id, secret_hash)
  CREATE TRIGGER oauth_client_secrets_changed AFTER INSERT OR DELETE OR UPDATE ON oauth_client_secrets FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_clients')

CREATE TABLE oauth_clients
  id uuid NOT NULL
  client_id text NOT NULL
  name text NOT NULL
  status text NOT NULL DEFAULT 'active'::text
  application_type text NOT NULL DEFAULT 'web'::text
  token_endpoint_auth_method text NOT NULL DEFAULT 'client_secret_basic'::text
  redirect_uris text[] NOT NULL DEFAULT '{}'::text[]
  post_logout_redirect_uris text[] NOT NULL DEFAULT '{}'::text[]
  grant_types text[] NOT NULL DEFAULT '{authorization_code}'::text[]
  response_types text[] NOT NULL DEFAULT '{code}'::text[]
  scope text
  jwks jsonb
  jwks_uri text
  consent_mode text NOT NULL DEFAULT 'explicit'::text
  refresh_reuse_interval smallint NOT NULL DEFAULT 10
  cors_origins text[] NOT NULL DEFAULT '{}'::text[]
  metadata jsonb NOT NULL DEFAULT '{}'::jsonb
  version integer NOT NULL DEFAULT 1
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  deleted_at timestamp with time zone
  is_dynamic boolean NOT NULL DEFAULT false
  issuer text NOT NULL DEFAULT ''::text
  from_document boolean NOT NULL DEFAULT false
  CONSTRAINT oauth_clients_application_type_check CHECK ((application_type = ANY (ARRAY['web'::text, 'native'::text])))
  CONSTRAINT oauth_clients_check CHECK (((jwks IS NULL) OR (jwks_uri IS NULL)))
  CONSTRAINT oauth_clients_check1 CHECK (((NOT ('authorization_code'::text = ANY (grant_types))) OR (cardinality(redirect_uris) > 0)))
  CONSTRAINT oauth_clients_client_id_check CHECK (((client_id ~ '^[!-~]+$'::text) AND (char_length(client_id) <= 512)))
  CONSTRAINT oauth_clients_client_id_key UNIQUE (client_id)
  CONSTRAINT oauth_clients_consent_mode_check CHECK ((consent_mode = ANY (ARRAY['explicit'::text, 'first_party'::text])))
  CONSTRAINT oauth_clients_issuer_check CHECK ((issuer ~ '^[a-z0-9]{0,20}$'::text))
  CONSTRAINT oauth_clients_jwks_uri_check CHECK ((char_length(jwks_uri) <= 2048))
  CONSTRAINT oauth_clients_metadata_check CHECK ((pg_column_size(metadata) <= 16384))
  CONSTRAINT oauth_clients_name_check CHECK ((char_length(name) <= 200))
  CONSTRAINT oauth_clients_pkey PRIMARY KEY (id)
  CONSTRAINT oauth_clients_post_logout_redirect_uris_check CHECK ((cardinality(post_logout_redirect_uris) <= 100))
  CONSTRAINT oauth_clients_redirect_uris_check CHECK ((cardinality(redirect_uris) <= 100))
  CONSTRAINT oauth_clients_refresh_reuse_interval_check CHECK (((refresh_reuse_interval >= 0) AND (refresh_reuse_interval <= 300)))
  CONSTRAINT oauth_clients_scope_check CHECK ((char_length(scope) <= 4096))
  CONSTRAINT oauth_clients_status_check CHECK ((status = ANY (ARRAY['active'::text, 'disabled'::text])))
  CONSTRAINT oauth_clients_token_endpoint_auth_method_check CHECK ((token_endpoint_auth_method = ANY (ARRAY['none'::text, 'client_secret_basic'::text, 'client_secret_post'::text, 'client_secret_jwt'::text, 'private_key_jwt'::text, 'tls_client_auth'::text, 'self_signed_tls_client_auth'::text, 'attest_jwt_client_auth'::text, 'attest_jwt_client_auth_dpop'::text])))
  CREATE INDEX oauth_clients_created_idx ON oauth_clients USING btree (created_at, id) WHERE (deleted_at IS NULL)
  CREATE INDEX oauth_clients_document_idx ON oauth_clients USING btree (issuer, created_at) WHERE from_document
  CREATE INDEX oauth_clients_dynamic_idx ON oauth_clients USING btree (issuer, created_at) WHERE is_dynamic
  CREATE TRIGGER oauth_clients_changed AFTER INSERT OR DELETE OR UPDATE ON oauth_clients FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_clients')

CREATE TABLE oauth_consents WITH (fillfactor=90)
  id uuid NOT NULL
  user_id uuid NOT NULL
  client_id uuid NOT NULL
  scopes text[] NOT NULL DEFAULT '{}'::text[]
  rejected_scopes text[] NOT NULL DEFAULT '{}'::text[]
  granted_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  revoked_at timestamp with time zone
  CONSTRAINT oauth_consents_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT oauth_consents_pkey PRIMARY KEY (id)
  CONSTRAINT oauth_consents_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX oauth_consents_client_idx ON oauth_consents USING btree (client_id)
  CREATE UNIQUE INDEX oauth_consents_active_uq ON oauth_consents USING btree (user_id, client_id) WHERE (revoked_at IS NULL)

CREATE TABLE oauth_grants WITH (fillfactor=85)
  id uuid NOT NULL
  user_id uuid NOT NULL
  client_id uuid NOT NULL
  session_uid text
  payload jsonb NOT NULL
  tokens_valid_after timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  expires_at timestamp with time zone NOT NULL
  gc_on date NOT NULL
  revoked_at timestamp with time zone
  parent_id uuid
  CONSTRAINT oauth_grants_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT oauth_grants_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES oauth_grants(id) ON DELETE CASCADE
  CONSTRAINT oauth_grants_pkey PRIMARY KEY (id)
  CONSTRAINT oauth_grants_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX oauth_grants_client_idx ON oauth_grants USING btree (client_id)
  CREATE INDEX oauth_grants_gc_idx ON oauth_grants USING btree (gc_on)
  CREATE INDEX oauth_grants_parent_idx ON oauth_grants USING btree (parent_id) WHERE (parent_id IS NOT NULL)
  CREATE INDEX oauth_grants_session_idx ON oauth_grants USING btree (session_uid) WHERE (session_uid IS NOT NULL)
  CREATE INDEX oauth_grants_user_client_idx ON oauth_grants USING btree (user_id, client_id)
  CREATE TRIGGER oauth_grants_ended AFTER UPDATE OF revoked_at, tokens_valid_after ON oauth_grants FOR EACH ROW WHEN (((new.tokens_valid_after IS DISTINCT FROM old.tokens_valid_after) OR (new.revoked_at IS DISTINCT FROM old.revoked_at))) EXECUTE FUNCTION lintel_end_derived_grants()

CREATE TABLE oauth_interactions WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0.02)
  uid_hash bytea NOT NULL
  client_id text
  user_id uuid
  payload_enc bytea
  created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  expires_at timestamp with time zone NOT NULL
  finished_at timestamp with time zone
  gc_at timestamp with time zone NOT NULL
  browser_hash bytea
  as_of timestamp with time zone
  CONSTRAINT oauth_interactions_browser_hash_check CHECK ((octet_length(browser_hash) = 32))
  CONSTRAINT oauth_interactions_pkey PRIMARY KEY (uid_hash)
  CONSTRAINT oauth_interactions_uid_hash_check CHECK ((octet_length(uid_hash) = 32))
  CREATE INDEX oauth_interactions_browser_idx ON oauth_interactions USING btree (browser_hash) WHERE (browser_hash IS NOT NULL)
  CREATE INDEX oauth_interactions_gc_idx ON oauth_interactions USING btree (gc_at)

CREATE TABLE oidc_artifacts PARTITION BY RANGE (expires_at)
  id_hash bytea NOT NULL
  expires_at timestamp with time zone NOT NULL
  model smallint NOT NULL
  grant_id uuid
  created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  consumed_at timestamp with time zone
  payload jsonb NOT NULL
  CONSTRAINT oidc_artifacts_id_hash_check CHECK ((octet_length(id_hash) = 32))
  CONSTRAINT oidc_artifacts_pkey PRIMARY KEY (id_hash, expires_at)

CREATE TABLE one_time_tokens
  id uuid NOT NULL
  purpose text NOT NULL
  token_hash bytea
  created_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone NOT NULL
  used_at timestamp with time zone
  revoked_at timestamp with time zone
  user_id uuid
  email_id uuid
  target_hash bytea
  code_hash bytea
  binding_hash bytea
  context_enc bytea
  attempts smallint NOT NULL DEFAULT 0
  revoke_reason text
  CONSTRAINT one_time_tokens_attempts_check CHECK ((attempts <= 5))
  CONSTRAINT one_time_tokens_binding_hash_check CHECK ((octet_length(binding_hash) = 32))
  CONSTRAINT one_time_tokens_check CHECK ((expires_at > created_at))
  CONSTRAINT one_time_tokens_code_hash_check CHECK ((octet_length(code_hash) = 32))
  CONSTRAINT one_time_tokens_context_enc_check CHECK ((octet_length(context_enc) <= 4096))
  CONSTRAINT one_time_tokens_email_id_fkey FOREIGN KEY (email_id) REFERENCES user_emails(id) ON DELETE CASCADE
  CONSTRAINT one_time_tokens_pkey PRIMARY KEY (id)
  CONSTRAINT one_time_tokens_purpose_check CHECK ((purpose = ANY (ARRAY['setup'::text, 'register'::text, 'verify_email'::text, 'reset_password'::text, 'undo_email_change'::text, 'invitation'::text])))
  CONSTRAINT one_time_tokens_revoke_reason_check CHECK ((revoke_reason = ANY (ARRAY['superseded'::text, 'password_changed'::text, 'email_changed'::text, 'withdrawn'::text])))
  CONSTRAINT one_time_tokens_setup_check CHECK (((purpose <> 'setup'::text) OR (token_hash IS NOT NULL)))
  CONSTRAINT one_time_tokens_target_hash_check CHECK ((octet_length(target_hash) = 32))
  CONSTRAINT one_time_tokens_token_hash_check CHECK ((octet_length(token_hash) = 32))
  CONSTRAINT one_time_tokens_token_hash_key UNIQUE (token_hash)
  CONSTRAINT one_time_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX one_time_tokens_binding_idx ON one_time_tokens USING btree (binding_hash) WHERE (binding_hash IS NOT NULL)
  CREATE INDEX one_time_tokens_email_idx ON one_time_tokens USING btree (email_id) WHERE (email_id IS NOT NULL)
  CREATE INDEX one_time_tokens_gc_idx ON one_time_tokens USING btree (expires_at)
  CREATE UNIQUE INDEX one_time_tokens_live_uq ON one_time_tokens USING btree (user_id, purpose, target_hash) WHERE ((used_at IS NULL) AND (revoked_at IS NULL) AND (user_id IS NOT NULL))

CREATE TABLE organization_members
  organization_id uuid NOT NULL
  user_id uuid NOT NULL
  identity_id uuid
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT organization_members_identity_id_fkey FOREIGN KEY (identity_id) REFERENCES identities(id) ON DELETE CASCADE
  CONSTRAINT organization_members_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations(id) ON DELETE CASCADE
  CONSTRAINT organization_members_pkey PRIMARY KEY (organization_id, user_id)
  CONSTRAINT organization_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX organization_members_identity_idx ON organization_members USING btree (identity_id) WHERE (identity_id IS NOT NULL)
  CREATE INDEX organization_members_user_idx ON organization_members USING btree (user_id)

CREATE TABLE organizations
  id uuid NOT NULL
  slug text NOT NULL
  name text NOT NULL
  require_second_factor boolean NOT NULL DEFAULT false
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT organizations_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100)))
  CONSTRAINT organizations_pkey PRIMARY KEY (id)
  CONSTRAINT organizations_slug_check CHECK ((slug ~ '^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$'::text))
  CONSTRAINT organizations_slug_key UNIQUE (slug)

CREATE TABLE outbox_messages WITH (fillfactor=75)
  id uuid NOT NULL
  channel text NOT NULL
  template text NOT NULL
  locale text NOT NULL
  recipient_enc bytea NOT NULL
  payload_enc bytea NOT NULL
  dedupe_key text
  user_id uuid
  status text NOT NULL DEFAULT 'queued'::text
  attempts smallint NOT NULL DEFAULT 0
  last_error text
  created_at timestamp with time zone NOT NULL DEFAULT now()
  sent_at timestamp with time zone
  CONSTRAINT outbox_messages_channel_check CHECK ((channel = 'email'::text))
  CONSTRAINT outbox_messages_dedupe_key_key UNIQUE (dedupe_key)
  CONSTRAINT outbox_messages_pkey PRIMARY KEY (id)
  CONSTRAINT outbox_messages_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'sending'::text, 'sent'::text, 'failed'::text])))
  CREATE INDEX outbox_messages_created_idx ON outbox_messages USING btree (created_at)
  CREATE INDEX outbox_messages_user_idx ON outbox_messages USING btree (user_id) WHERE (user_id IS NOT NULL)

CREATE TABLE passkey_offers
  user_id uuid NOT NULL
  times smallint NOT NULL
  last_at timestamp with time zone NOT NULL
  declined_at timestamp with time zone
  CONSTRAINT passkey_offers_pkey PRIMARY KEY (user_id)
  CONSTRAINT passkey_offers_times_check CHECK ((times > 0))
  CONSTRAINT passkey_offers_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE

CREATE TABLE permissions
  id uuid NOT NULL
  api_resource_id uuid NOT NULL
  name text NOT NULL
  description text NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  level smallint NOT NULL DEFAULT 1
  CONSTRAINT permissions_api_resource_id_fkey FOREIGN KEY (api_resource_id) REFERENCES api_resources(id) ON DELETE CASCADE
  CONSTRAINT permissions_api_resource_id_name_key UNIQUE (api_resource_id, name)
  CONSTRAINT permissions_description_check CHECK (((char_length(description) >= 1) AND (char_length(description) <= 200)))
  CONSTRAINT permissions_level_check CHECK (((level >= 1) AND (level <= 3)))
  CONSTRAINT permissions_name_check CHECK ((name ~ '^[!#-\[\]-~]{1,100}$'::text))
  CONSTRAINT permissions_pkey PRIMARY KEY (id)
  CREATE TRIGGER permissions_changed AFTER INSERT OR DELETE OR UPDATE ON permissions FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_resources')

CREATE TABLE recovery_codes
  id uuid NOT NULL
  user_id uuid NOT NULL
  selector text NOT NULL
  code_hash text NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  used_at timestamp with time zone
  CONSTRAINT recovery_codes_code_hash_check CHECK ((code_hash ~~ '$argon2id$%'::text))
  CONSTRAINT recovery_codes_pkey PRIMARY KEY (id)
  CONSTRAINT recovery_codes_selector_check CHECK ((selector ~ '^[0-9a-z]{4}$'::text))
  CONSTRAINT recovery_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CONSTRAINT recovery_codes_user_id_selector_key UNIQUE (user_id, selector)

CREATE TABLE refresh_tokens WITH (fillfactor=75, autovacuum_vacuum_scale_factor=0.02)
  id uuid NOT NULL
  grant_id uuid NOT NULL
  client_id uuid NOT NULL
  user_id uuid NOT NULL
  counter integer NOT NULL DEFAULT 0
  rotated_at timestamp with time zone
  session_uid text
  scope text
  payload jsonb NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  expires_at timestamp with time zone NOT NULL
  gc_on date NOT NULL
  revoked_at timestamp with time zone
  CONSTRAINT refresh_tokens_counter_check CHECK ((counter >= 0))
  CONSTRAINT refresh_tokens_grant_id_fkey FOREIGN KEY (grant_id) REFERENCES oauth_grants(id) ON DELETE CASCADE
  CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id)
  CREATE INDEX refresh_tokens_gc_idx ON refresh_tokens USING btree (gc_on)
  CREATE INDEX refresh_tokens_grant_idx ON refresh_tokens USING btree (grant_id)

CREATE TABLE registration_access_tokens
  client_id uuid NOT NULL
  token_hash bytea NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT registration_access_tokens_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT registration_access_tokens_pkey PRIMARY KEY (client_id)
  CONSTRAINT registration_access_tokens_token_hash_check CHECK ((octet_length(token_hash) = 32))
  CONSTRAINT registration_access_tokens_token_hash_key UNIQUE (token_hash)

CREATE TABLE replay_guards
  key_hash bytea NOT NULL
  expires_at timestamp with time zone NOT NULL
  CONSTRAINT replay_guards_key_hash_check CHECK ((octet_length(key_hash) = 32))
  CONSTRAINT replay_guards_pkey PRIMARY KEY (key_hash)
  CREATE INDEX replay_guards_gc_idx ON replay_guards USING btree (expires_at)

CREATE TABLE role_assignments
  role_id uuid NOT NULL
  user_id uuid
  group_id uuid
  identity_id uuid
  created_at timestamp with time zone NOT NULL DEFAULT now()
  organization_id uuid
  CONSTRAINT role_assignments_check CHECK ((num_nonnulls(user_id, group_id) = 1))
  CONSTRAINT role_assignments_check1 CHECK (((identity_id IS NULL) OR (user_id IS NOT NULL)))
  CONSTRAINT role_assignments_group_id_fkey FOREIGN KEY (group_id) REFERENCES groups(id) ON DELETE CASCADE
  CONSTRAINT role_assignments_identity_id_fkey FOREIGN KEY (identity_id) REFERENCES identities(id) ON DELETE CASCADE
  CONSTRAINT role_assignments_member_fk FOREIGN KEY (organization_id, user_id) REFERENCES organization_members(organization_id, user_id) ON DELETE CASCADE
  CONSTRAINT role_assignments_once UNIQUE NULLS NOT DISTINCT (role_id, user_id, group_id, identity_id, organization_id)
  CONSTRAINT role_assignments_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations(id) ON DELETE CASCADE
  CONSTRAINT role_assignments_role_id_fkey FOREIGN KEY (role_id) REFERENCES roles(id) ON DELETE CASCADE
  CONSTRAINT role_assignments_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX role_assignments_group_idx ON role_assignments USING btree (group_id) WHERE (group_id IS NOT NULL)
  CREATE INDEX role_assignments_identity_idx ON role_assignments USING btree (identity_id) WHERE (identity_id IS NOT NULL)
  CREATE INDEX role_assignments_member_idx ON role_assignments USING btree (organization_id, user_id) WHERE (organization_id IS NOT NULL)
  CREATE INDEX role_assignments_user_idx ON role_assignments USING btree (user_id) WHERE (user_id IS NOT NULL)

CREATE TABLE roles
  id uuid NOT NULL
  slug text NOT NULL
  name text NOT NULL
  is_active boolean NOT NULL DEFAULT true
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT roles_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100)))
  CONSTRAINT roles_pkey PRIMARY KEY (id)
  CONSTRAINT roles_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9_:.-]{0,99}$'::text))
  CONSTRAINT roles_slug_key UNIQUE (slug)

CREATE TABLE saml_connections
  provider_id uuid NOT NULL
  metadata_url text
  metadata_xml text NOT NULL
  metadata_fetched_at timestamp with time zone
  metadata_valid_until timestamp with time zone
  pending_xml text
  name_id_format text
  sign_requests boolean NOT NULL DEFAULT true
  want_response_signed boolean NOT NULL DEFAULT false
  want_encrypted boolean NOT NULL DEFAULT false
  allow_idp_initiated boolean NOT NULL DEFAULT false
  allow_legacy_crypto boolean NOT NULL DEFAULT false
  sp_certificate text NOT NULL
  sp_private_key_enc bytea NOT NULL
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT saml_connections_metadata_url_check CHECK ((char_length(metadata_url) <= 2048))
  CONSTRAINT saml_connections_metadata_xml_check CHECK (((char_length(metadata_xml) >= 1) AND (char_length(metadata_xml) <= 1048576)))
  CONSTRAINT saml_connections_pending_xml_check CHECK ((char_length(pending_xml) <= 1048576))
  CONSTRAINT saml_connections_pkey PRIMARY KEY (provider_id)
  CONSTRAINT saml_connections_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES identity_providers(id) ON DELETE CASCADE
  CREATE TRIGGER saml_connections_changed AFTER INSERT OR DELETE OR UPDATE ON saml_connections FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_connections')

CREATE TABLE sessions WITH (fillfactor=75, autovacuum_vacuum_scale_factor=0.02)
  uid text NOT NULL
  cookie_hash bytea
  cookie_enc bytea
  previous_cookie_hash bytea
  previous_valid_until timestamp with time zone
  user_id uuid
  transient boolean NOT NULL DEFAULT false
  logged_in_at timestamp with time zone
  acr text
  amr text[]
  authorizations jsonb
  state jsonb
  ip_prefix cidr
  user_agent text
  created_at timestamp with time zone NOT NULL DEFAULT now()
  last_active_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone NOT NULL
  gc_on date NOT NULL
  ended_at timestamp with time zone
  end_reason text
  device_id uuid
  login_method text
  country text
  place point
  risk_score smallint NOT NULL DEFAULT 0
  risk_reasons text[] NOT NULL DEFAULT '{}'::text[]
  confirmed_at timestamp with time zone
  identity_id uuid
  upstream_enc bytea
  upstream_acr text
  upstream_amr text[]
  upstream_key bytea
  not_after timestamp with time zone
  CONSTRAINT sessions_cookie_hash_check CHECK ((octet_length(cookie_hash) = 32))
  CONSTRAINT sessions_cookie_hash_key UNIQUE (cookie_hash)
  CONSTRAINT sessions_country_check CHECK ((char_length(country) = 2))
  CONSTRAINT sessions_device_id_fkey FOREIGN KEY (device_id) REFERENCES user_devices(id) ON DELETE SET NULL
  CONSTRAINT sessions_end_reason_check CHECK ((end_reason ~ '^[a-z][a-z_]{1,29}$'::text))
  CONSTRAINT sessions_identity_id_fkey FOREIGN KEY (identity_id) REFERENCES identities(id) ON DELETE SET NULL
  CONSTRAINT sessions_login_method_check CHECK ((char_length(login_method) <= 30))
  CONSTRAINT sessions_pkey PRIMARY KEY (uid)
  CONSTRAINT sessions_previous_cookie_hash_check CHECK ((octet_length(previous_cookie_hash) = 32))
  CONSTRAINT sessions_risk_score_check CHECK (((risk_score >= 0) AND (risk_score <= 100)))
  CONSTRAINT sessions_uid_check CHECK (((char_length(uid) >= 16) AND (char_length(uid) <= 64)))
  CONSTRAINT sessions_upstream_acr_check CHECK ((char_length(upstream_acr) <= 1024))
  CONSTRAINT sessions_upstream_key_check CHECK ((octet_length(upstream_key) = 32))
  CONSTRAINT sessions_user_agent_check CHECK ((char_length(user_agent) <= 255))
  CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX sessions_device_idx ON sessions USING btree (device_id) WHERE (device_id IS NOT NULL)
  CREATE INDEX sessions_gc_idx ON sessions USING btree (gc_on)
  CREATE INDEX sessions_identity_idx ON sessions USING btree (identity_id) WHERE (identity_id IS NOT NULL)
  CREATE INDEX sessions_previous_idx ON sessions USING btree (previous_cookie_hash) WHERE (previous_cookie_hash IS NOT NULL)
  CREATE INDEX sessions_upstream_idx ON sessions USING btree (upstream_key) WHERE (upstream_key IS NOT NULL)
  CREATE INDEX sessions_user_idx ON sessions USING btree (user_id) WHERE (user_id IS NOT NULL)

CREATE TABLE settings
  key text NOT NULL
  value jsonb NOT NULL
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT settings_key_check CHECK ((key ~ '^[a-z][a-z0-9_.]{1,99}$'::text))
  CONSTRAINT settings_pkey PRIMARY KEY (key)

CREATE TABLE signing_keys
  kid text NOT NULL
  usage text NOT NULL
  alg text NOT NULL
  state text NOT NULL
  public_jwk jsonb NOT NULL
  private_enc bytea NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  activate_at timestamp with time zone NOT NULL
  retire_at timestamp with time zone
  CONSTRAINT signing_keys_check CHECK (((retire_at IS NULL) OR (retire_at > activate_at)))
  CONSTRAINT signing_keys_pkey PRIMARY KEY (kid)
  CONSTRAINT signing_keys_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'active'::text, 'retiring'::text, 'retired'::text])))
  CONSTRAINT signing_keys_usage_check CHECK ((usage = 'oidc_sig'::text))
  CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys USING btree (usage, alg) WHERE (state = 'active'::text)
  CREATE TRIGGER signing_keys_changed AFTER INSERT OR DELETE OR UPDATE ON signing_keys FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_keys')

CREATE TABLE sso_domains
  id uuid NOT NULL
  domain text NOT NULL
  provider_id uuid NOT NULL
  dns_challenge text NOT NULL
  verified_at timestamp with time zone
  enforce_sso boolean NOT NULL DEFAULT false
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT sso_domains_check CHECK (((NOT enforce_sso) OR (verified_at IS NOT NULL)))
  CONSTRAINT sso_domains_domain_check CHECK ((domain ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$'::text))
  CONSTRAINT sso_domains_pkey PRIMARY KEY (id)
  CONSTRAINT sso_domains_provider_id_domain_key UNIQUE (provider_id, domain)
  CONSTRAINT sso_domains_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES identity_providers(id) ON DELETE CASCADE
  CREATE UNIQUE INDEX sso_domains_verified_uq ON sso_domains USING btree (domain) WHERE (verified_at IS NOT NULL)
  CREATE TRIGGER sso_domains_changed AFTER INSERT OR DELETE OR UPDATE ON sso_domains FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_connections')

CREATE TABLE system_roles
  user_id uuid NOT NULL
  role text NOT NULL
  granted_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT system_roles_pkey PRIMARY KEY (user_id, role)
  CONSTRAINT system_roles_role_check CHECK ((role = 'superadmin'::text))
  CONSTRAINT system_roles_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE

CREATE TABLE terms_acceptances
  user_id uuid NOT NULL
  version_id uuid NOT NULL
  accepted boolean NOT NULL
  locale text NOT NULL
  decided_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT terms_acceptances_locale_check CHECK ((char_length(locale) <= 35))
  CONSTRAINT terms_acceptances_pkey PRIMARY KEY (user_id, version_id)
  CONSTRAINT terms_acceptances_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CONSTRAINT terms_acceptances_version_id_fkey FOREIGN KEY (version_id) REFERENCES terms_versions(id)
  CREATE INDEX terms_acceptances_version_idx ON terms_acceptances USING btree (version_id)

CREATE TABLE terms_texts
  version_id uuid NOT NULL
  locale text NOT NULL
  title text NOT NULL
  summary text
  body text NOT NULL
  CONSTRAINT terms_texts_body_check CHECK ((char_length(body) <= 200000))
  CONSTRAINT terms_texts_locale_check CHECK ((char_length(locale) <= 35))
  CONSTRAINT terms_texts_pkey PRIMARY KEY (version_id, locale)
  CONSTRAINT terms_texts_summary_check CHECK ((char_length(summary) <= 2000))
  CONSTRAINT terms_texts_title_check CHECK (((char_length(title) >= 1) AND (char_length(title) <= 200)))
  CONSTRAINT terms_texts_version_id_fkey FOREIGN KEY (version_id) REFERENCES terms_versions(id) ON DELETE CASCADE

CREATE TABLE terms_versions
  id uuid NOT NULL
  document text NOT NULL
  version integer NOT NULL
  is_mandatory boolean NOT NULL
  published_at timestamp with time zone NOT NULL DEFAULT now()
  withdrawn_at timestamp with time zone
  CONSTRAINT terms_versions_document_check CHECK ((document ~ '^[a-z][a-z0-9-]{0,39}$'::text))
  CONSTRAINT terms_versions_document_version_key UNIQUE (document, version)
  CONSTRAINT terms_versions_pkey PRIMARY KEY (id)
  CONSTRAINT terms_versions_version_check CHECK ((version > 0))
  CREATE TRIGGER terms_changed AFTER INSERT OR DELETE OR UPDATE ON terms_versions FOR EACH STATEMENT EXECUTE FUNCTION lintel_notify('lintel_terms')

CREATE TABLE trusted_browsers
  id uuid NOT NULL
  user_id uuid NOT NULL
  token_hash bytea NOT NULL
  agent_hash bytea NOT NULL
  name text NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  last_used_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone NOT NULL
  CONSTRAINT trusted_browsers_agent_hash_check CHECK ((octet_length(agent_hash) = 32))
  CONSTRAINT trusted_browsers_check CHECK ((expires_at > created_at))
  CONSTRAINT trusted_browsers_name_check CHECK ((char_length(name) <= 100))
  CONSTRAINT trusted_browsers_pkey PRIMARY KEY (id)
  CONSTRAINT trusted_browsers_token_hash_check CHECK ((octet_length(token_hash) = 32))
  CONSTRAINT trusted_browsers_token_hash_key UNIQUE (token_hash)
  CONSTRAINT trusted_browsers_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX trusted_browsers_gc_idx ON trusted_browsers USING btree (expires_at)
  CREATE INDEX trusted_browsers_user_idx ON trusted_browsers USING btree (user_id)

CREATE TABLE user_devices WITH (fillfactor=90)
  id uuid NOT NULL
  user_id uuid NOT NULL
  cookie_hash bytea NOT NULL
  browser_family text
  os_family text
  last_country text
  first_seen_at timestamp with time zone NOT NULL DEFAULT now()
  last_seen_on date NOT NULL
  CONSTRAINT user_devices_browser_family_check CHECK ((char_length(browser_family) <= 50))
  CONSTRAINT user_devices_cookie_hash_check CHECK ((octet_length(cookie_hash) = 32))
  CONSTRAINT user_devices_cookie_hash_user_id_key UNIQUE (cookie_hash, user_id)
  CONSTRAINT user_devices_last_country_check CHECK ((char_length(last_country) = 2))
  CONSTRAINT user_devices_os_family_check CHECK ((char_length(os_family) <= 50))
  CONSTRAINT user_devices_pkey PRIMARY KEY (id)
  CONSTRAINT user_devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX user_devices_gc_idx ON user_devices USING btree (last_seen_on)
  CREATE INDEX user_devices_user_idx ON user_devices USING btree (user_id)

CREATE TABLE user_emails
  id uuid NOT NULL
  user_id uuid NOT NULL
  email text NOT NULL
  email_norm text NOT NULL
  is_primary boolean NOT NULL DEFAULT false
  verified_at timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT user_emails_email_check CHECK ((char_length(email) <= 254))
  CONSTRAINT user_emails_email_norm_check CHECK (((email_norm = lower(email_norm)) AND (POSITION(('@'::text) IN (email_norm)) > 1)))
  CONSTRAINT user_emails_pkey PRIMARY KEY (id)
  CONSTRAINT user_emails_user_id_email_norm_key UNIQUE (user_id, email_norm)
  CONSTRAINT user_emails_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX user_emails_lookup_idx ON user_emails USING btree (email_norm)
  CREATE UNIQUE INDEX user_emails_primary_uq ON user_emails USING btree (user_id) WHERE is_primary
  CREATE UNIQUE INDEX user_emails_verified_uq ON user_emails USING btree (email_norm) WHERE (verified_at IS NOT NULL)

CREATE TABLE user_passwords
  user_id uuid NOT NULL
  hash text NOT NULL
  changed_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT user_passwords_hash_check CHECK ((hash ~~ '$%'::text))
  CONSTRAINT user_passwords_pkey PRIMARY KEY (user_id)
  CONSTRAINT user_passwords_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE

CREATE TABLE user_profiles
  user_id uuid NOT NULL
  display_name text
  given_name text
  middle_name text
  family_name text
  nickname text
  profile_url text
  picture_url text
  website text
  gender text
  birthdate text
  zoneinfo text
  locale text
  phone_number text
  address jsonb
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT user_profiles_birthdate_check CHECK ((char_length(birthdate) <= 10))
  CONSTRAINT user_profiles_display_name_check CHECK ((char_length(display_name) <= 200))
  CONSTRAINT user_profiles_family_name_check CHECK ((char_length(family_name) <= 100))
  CONSTRAINT user_profiles_gender_check CHECK ((char_length(gender) <= 100))
  CONSTRAINT user_profiles_given_name_check CHECK ((char_length(given_name) <= 100))
  CONSTRAINT user_profiles_locale_check CHECK ((char_length(locale) <= 35))
  CONSTRAINT user_profiles_middle_name_check CHECK ((char_length(middle_name) <= 100))
  CONSTRAINT user_profiles_nickname_check CHECK ((char_length(nickname) <= 100))
  CONSTRAINT user_profiles_phone_number_check CHECK ((char_length(phone_number) <= 40))
  CONSTRAINT user_profiles_picture_url_check CHECK ((char_length(picture_url) <= 2048))
  CONSTRAINT user_profiles_pkey PRIMARY KEY (user_id)
  CONSTRAINT user_profiles_profile_url_check CHECK ((char_length(profile_url) <= 2048))
  CONSTRAINT user_profiles_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CONSTRAINT user_profiles_website_check CHECK ((char_length(website) <= 2048))
  CONSTRAINT user_profiles_zoneinfo_check CHECK ((char_length(zoneinfo) <= 100))

CREATE TABLE users WITH (fillfactor=85)
  id uuid NOT NULL
  username text
  username_norm text
  status text NOT NULL DEFAULT 'active'::text
  status_changed_at timestamp with time zone NOT NULL DEFAULT now()
  sessions_valid_after timestamp with time zone
  created_via text NOT NULL
  last_login_at timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  webauthn_user_handle bytea NOT NULL DEFAULT sha512(convert_to((((((gen_random_uuid())::text || (gen_random_uuid())::text) || (gen_random_uuid())::text) || (gen_random_uuid())::text) || (gen_random_uuid())::text), 'UTF8'::name))
  enrolment_skips smallint NOT NULL DEFAULT 0
  passkey_is_second_step boolean NOT NULL DEFAULT false
  credentials_changed_at timestamp with time zone
  CONSTRAINT users_check CHECK (((username IS NULL) = (username_norm IS NULL)))
  CONSTRAINT users_created_via_check CHECK ((created_via = ANY (ARRAY['setup'::text, 'admin'::text, 'registration'::text, 'invitation'::text, 'federation'::text])))
  CONSTRAINT users_enrolment_skips_check CHECK ((enrolment_skips >= 0))
  CONSTRAINT users_pkey PRIMARY KEY (id)
  CONSTRAINT users_status_check CHECK ((status = ANY (ARRAY['active'::text, 'deactivated'::text])))
  CONSTRAINT users_username_check CHECK (((char_length(username) >= 2) AND (char_length(username) <= 100)))
  CONSTRAINT users_username_norm_check CHECK ((username_norm = lower(username_norm)))
  CONSTRAINT users_webauthn_user_handle_check CHECK ((octet_length(webauthn_user_handle) = 64))
  CREATE INDEX users_created_idx ON users USING btree (created_at, id)
  CREATE UNIQUE INDEX users_username_uq ON users USING btree (username_norm) WHERE (username_norm IS NOT NULL)
  CREATE UNIQUE INDEX users_webauthn_handle_uq ON users USING btree (webauthn_user_handle)

CREATE TABLE webauthn_credentials
  id uuid NOT NULL
  user_id uuid NOT NULL
  credential_id bytea NOT NULL
  public_key bytea NOT NULL
  rp_id text NOT NULL
  sign_count bigint NOT NULL
  aaguid uuid
  transports text[] NOT NULL DEFAULT '{}'::text[]
  backup_eligible boolean NOT NULL
  backed_up boolean NOT NULL
  name text NOT NULL
  clone_warning_at timestamp with time zone
  last_used_at timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT now()
  last_device_id uuid
  is_built_in boolean NOT NULL DEFAULT false
  CONSTRAINT webauthn_credentials_check CHECK ((backup_eligible OR (NOT backed_up)))
  CONSTRAINT webauthn_credentials_credential_id_check CHECK (((octet_length(credential_id) >= 1) AND (octet_length(credential_id) <= 1023)))
  CONSTRAINT webauthn_credentials_credential_id_key UNIQUE (credential_id)
  CONSTRAINT webauthn_credentials_last_device_id_fkey FOREIGN KEY (last_device_id) REFERENCES user_devices(id) ON DELETE SET NULL
  CONSTRAINT webauthn_credentials_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100)))
  CONSTRAINT webauthn_credentials_pkey PRIMARY KEY (id)
  CONSTRAINT webauthn_credentials_sign_count_check CHECK ((sign_count >= 0))
  CONSTRAINT webauthn_credentials_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
  CREATE INDEX webauthn_credentials_last_device_idx ON webauthn_credentials USING btree (last_device_id) WHERE (last_device_id IS NOT NULL)
  CREATE INDEX webauthn_credentials_user_idx ON webauthn_credentials USING btree (user_id, created_at)

CREATE TABLE workloads
  id uuid NOT NULL
  client_id uuid NOT NULL
  issuer_url text NOT NULL
  jwks_uri text
  jwks jsonb
  algorithms text[] NOT NULL
  claims jsonb NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CONSTRAINT workloads_algorithms_check CHECK ((cardinality(algorithms) > 0))
  CONSTRAINT workloads_check CHECK (((jwks IS NULL) <> (jwks_uri IS NULL)))
  CONSTRAINT workloads_client_id_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients(id) ON DELETE CASCADE
  CONSTRAINT workloads_issuer_url_check CHECK ((char_length(issuer_url) <= 2000))
  CONSTRAINT workloads_jwks_uri_check CHECK ((char_length(jwks_uri) <= 2000))
  CONSTRAINT workloads_pkey PRIMARY KEY (id)
  CREATE INDEX workloads_client_idx ON workloads USING btree (client_id, issuer_url)
