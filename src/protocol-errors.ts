/** What a client's developer can do about an error of the protocol. */
export interface ProtocolError {
  /** Where the code is defined. */
  readonly specification: string;
  /** What to change, as a developer is told in development and in docs/errors.json. */
  readonly fix: string;
}

/** Every error code that clients get from the protocol's endpoints, in one list. */
export const PROTOCOL_ERRORS: Readonly<Record<string, ProtocolError>> = {
  access_denied: {
    specification: "RFC 6749 §4.1.2.1",
    fix: "The person said no, or left. Offer them to start again.",
  },
  authorization_pending: {
    specification: "RFC 8628 §3.5",
    fix: "The person has not decided yet. Ask again after the interval.",
  },
  consent_required: {
    specification: "OIDC Core §3.1.2.6",
    fix: "Start again without prompt=none, so that the person can be asked.",
  },
  expired_login_hint_token: {
    specification: "OIDC CIBA §13",
    fix: "Get a new login_hint_token and begin another request.",
  },
  expired_token: {
    specification: "RFC 8628 §3.5",
    fix: "The person took too long. Begin another request and show the new code.",
  },
  insufficient_scope: {
    specification: "RFC 6750 §3.1",
    fix: "Ask for a token with the scope that this resource needs.",
  },
  interaction_required: {
    specification: "OIDC Core §3.1.2.6",
    fix: "Start again without prompt=none, so that the person can be asked.",
  },
  invalid_authorization_details: {
    specification: "RFC 9396 §5",
    fix: "Send authorization_details whose types are registered here and allowed for the client, with exactly their fields.",
  },
  invalid_binding_message: {
    specification: "OIDC CIBA §13",
    fix: "Send a short binding_message of letters, digits and plain punctuation.",
  },
  invalid_client: {
    specification: "RFC 6749 §5.2",
    fix: "Check the client_id, that it belongs to this issuer, and that it authenticates with the registered method and a live secret or key: lintel client show CLIENT_ID.",
  },
  invalid_client_metadata: {
    specification: "RFC 7591 §3.2.2",
    fix: "Correct the fields that error_description names.",
  },
  invalid_dpop_proof: {
    specification: "RFC 9449 §5",
    fix: "Make a new proof for each request: typ dpop+jwt, the key in jwk, htm, htu, iat of now, a fresh jti, and ath beside an access token.",
  },
  invalid_grant: {
    specification: "RFC 6749 §5.2",
    fix: "The code or token was used, has expired, was revoked, or belongs to another client, redirect_uri or code_verifier. Start again.",
  },
  invalid_redirect_uri: {
    specification: "RFC 6749 §3.1.2.4",
    fix: "Register exactly the redirect_uri that the request sends: lintel client update CLIENT_ID --redirect-uri URL.",
  },
  invalid_request: {
    specification: "RFC 6749 §4.1.2.1",
    fix: "Correct the parameter that error_description names. Each may be sent once.",
  },
  invalid_request_object: {
    specification: "RFC 9101 §7",
    fix: "Sign the request with a registered key and algorithm, with iss and aud, and the parameters as claims.",
  },
  invalid_request_uri: {
    specification: "RFC 9101 §7",
    fix: "Use a request_uri from the pushed authorization endpoint once, within its lifetime, or one that the client registered and that answers.",
  },
  invalid_scope: {
    specification: "RFC 6749 §4.1.2.1",
    fix: "Ask for scopes that discovery lists and the client is allowed, separated by single spaces.",
  },
  invalid_target: {
    specification: "RFC 8707 §2",
    fix: "Name a resource that is registered here and open to the client: lintel resource list.",
  },
  invalid_token: {
    specification: "RFC 6750 §3.1",
    fix: "The access token has expired, was revoked, or is bound to another key. Refresh it, or start again.",
  },
  invalid_user_code: {
    specification: "OIDC CIBA §13",
    fix: "Ask the person for their code again.",
  },
  login_required: {
    specification: "OIDC Core §3.1.2.6",
    fix: "Nobody is signed in, or not recently enough. Start again without prompt=none.",
  },
  missing_user_code: {
    specification: "OIDC CIBA §13",
    fix: "Ask the person for their code and send it as user_code.",
  },
  registration_not_supported: {
    specification: "OIDC Core §3.1.2.6",
    fix: "Leave the registration parameter out.",
  },
  request_not_supported: {
    specification: "OIDC Core §3.1.2.6",
    fix: "Leave the request parameter out, or push the request.",
  },
  request_uri_not_supported: {
    specification: "OIDC Core §3.1.2.6",
    fix: "Leave the request_uri parameter out, or push the request.",
  },
  slow_down: {
    specification: "RFC 8628 §3.5",
    fix: "Wait five seconds longer between two requests than before.",
  },
  temporarily_unavailable: {
    specification: "RFC 6749 §4.1.2.1",
    fix: "Try again in a moment.",
  },
  server_error: {
    specification: "RFC 6749 §4.1.2.1",
    fix: "Try again. If it happens again, look the reference up in the server's log.",
  },
  transaction_failed: { specification: "OIDC CIBA §13", fix: "Begin another request." },
  unauthorized_client: {
    specification: "RFC 6749 §4.1.2.1",
    fix: "Register the grant or response type for the client: lintel client update CLIENT_ID --grant GRANT.",
  },
  unknown_user_id: {
    specification: "OIDC CIBA §13",
    fix: "The hint names nobody who can be asked. Check it with the person.",
  },
  unmet_authentication_requirements: {
    specification: "OIDC Unmet Authentication Requirements §1",
    fix: "The person could not sign in the way acr_values demands. Ask for less, or have them set it up.",
  },
  unsupported_grant_type: {
    specification: "RFC 6749 §5.2",
    fix: "Use a grant_type that discovery lists.",
  },
  unsupported_response_mode: {
    specification: "OAuth 2.0 Multiple Response Types §2.1",
    fix: "Use a response_mode that discovery lists and the client may use; tokens never travel in a query.",
  },
  unsupported_response_type: {
    specification: "RFC 6749 §4.1.2.1",
    fix: "Use a response_type that discovery lists; code is always one.",
  },
  unsupported_token_type: {
    specification: "RFC 7009 §2.2.1",
    fix: "Only access and refresh tokens can be revoked.",
  },
  use_attestation_challenge: {
    specification: "OAuth 2.0 Attestation-Based Client Authentication §Errors",
    fix: "Send a new proof with the challenge of the OAuth-Client-Attestation-Challenge header.",
  },
  use_dpop_nonce: {
    specification: "RFC 9449 §8",
    fix: "Send the proof again with the nonce of the DPoP-Nonce header.",
  },
};
