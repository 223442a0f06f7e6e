import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { describe, it } from "mocha";
import { parseClientMetadata, type ClientMetadata } from "../../src/clients/schema.ts";
import { AppError } from "../../src/errors.ts";
import { presetOf } from "../../src/issuers.ts";

const PRODUCTION = presetOf("production");

const MINIMAL = { client_name: "An app", redirect_uris: ["https://app.example.com/cb"] };
const RLO = "\u202e";

function accept(metadata: object): ClientMetadata {
  return parseClientMetadata({ ...MINIMAL, ...metadata }, PRODUCTION);
}

function refusal(metadata: unknown): string {
  try {
    parseClientMetadata(metadata, PRODUCTION);
  } catch (error) {
    assert(error instanceof AppError);
    assert.equal(error.code, "invalid_client_metadata");
    return error.message;
  }
  assert.fail("the metadata was accepted");
}

/** Refused, and the message begins with the field and says what to do. */
function refuse(metadata: object, pattern: RegExp): void {
  assert.match(refusal({ ...MINIMAL, ...metadata }), pattern);
}

const rsa = (bits: number, exponent = 65_537) =>
  generateKeyPairSync("rsa", { modulusLength: bits, publicExponent: exponent });
const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });

const withKeys = (...keys: object[]) => ({
  token_endpoint_auth_method: "private_key_jwt",
  jwks: { keys },
});
const jwk = ({ publicKey }: { publicKey: KeyObject }) => publicKey.export({ format: "jwk" });

describe("client metadata", () => {
  it("is complete with the defaults of RFC 7591 §2 and ours", () => {
    assert.deepEqual(parseClientMetadata(MINIMAL, PRODUCTION), {
      client_name: "An app",
      application_type: "web",
      redirect_uris: ["https://app.example.com/cb"],
      post_logout_redirect_uris: [],
      grant_types: ["authorization_code"],
      response_types: ["code"],
      token_endpoint_auth_method: "client_secret_basic",
      subject_type: "public",
      id_token_signed_response_alg: "ES256",
      require_auth_time: false,
      backchannel_logout_session_required: false,
      authorization_details_types: [],
      dpop_bound_access_tokens: false,
      tls_client_certificate_bound_access_tokens: false,
      require_pushed_authorization_requests: false,
      require_signed_request_object: false,
      first_party: false,
      require_second_factor: false,
      token_exchange_impersonation: false,
      refresh_reuse_interval: 10,
      cors_origins: [],
    });
  });

  it("says what the operator demands of people who come by it", () => {
    const demands = {
      sign_up: "open",
      require_verified_email: true,
      required_claims: ["birthdate"],
      identity_providers: ["acme"],
    };
    const { sign_up: signUp } = parseClientMetadata({ ...MINIMAL, ...demands }, PRODUCTION);
    assert.equal(signUp, "open");
    for (const [wrong, message] of [
      [{ sign_up: "maybe" }, /^sign_up must be closed or invitation or open/],
      [{ required_claims: ["picture"] }, /^required_claims\[0\] must be name or /],
      [{ required_claims: ["name", "name"] }, /^required_claims must not list anything twice/],
      [{ identity_providers: "acme" }, /^identity_providers must be an array/],
      [{ identity_providers: ["a", "a"] }, /^identity_providers must not list anything twice/],
    ] as const)
      assert.throws(() => parseClientMetadata({ ...MINIMAL, ...wrong }, PRODUCTION), { message });
  });

  /** What the engine alone takes or leaves (security.md 0.7), with what we make of it. */
  const TABLE: readonly [what: string, metadata: object, expected: "accepted" | RegExp][] = [
    ["an https redirect URI", {}, "accepted"],
    [
      "an http redirect URI on the network",
      { redirect_uris: ["http://app.example.com/cb"] },
      /^redirect_uris\[0\] must use https/,
    ],
    [
      "an http redirect URI on this machine",
      { redirect_uris: ["http://localhost:8080/cb", "http://127.0.0.1/cb", "http://[::1]:1/cb"] },
      "accepted",
    ],
    [
      "a redirect URI with a user name",
      { redirect_uris: ["https://app.example.com@evil.example/cb"] },
      /^redirect_uris\[0\] must have no user name/,
    ],
    [
      "a redirect URI with a wildcard",
      { redirect_uris: ["https://*.example.com/cb"] },
      /^redirect_uris\[0\] must not contain \*/,
    ],
    [
      "a redirect URI with a fragment",
      { redirect_uris: ["https://app.example.com/cb#top"] },
      /^redirect_uris\[0\] must have no fragment/,
    ],
    [
      "a redirect URI with a control character",
      { redirect_uris: ["https://app.example.com/\r\ncb"] },
      /^redirect_uris\[0\] must be a URL/,
    ],
    [
      "a redirect URI with a backslash",
      { redirect_uris: ["https://app.example.com\\@evil.example"] },
      /^redirect_uris\[0\] must be a URL/,
    ],
    [
      "a redirect URI of 2,001 characters",
      { redirect_uris: [`https://app.example.com/${"a".repeat(1_977)}`] },
      /^redirect_uris\[0\] must have at most 2000 characters/,
    ],
    [
      "a relative redirect URI",
      { redirect_uris: ["/cb"] },
      /^redirect_uris\[0\] must be an absolute URL/,
    ],
    [
      "a javascript: redirect URI",
      { redirect_uris: ["javascript:alert(1)"], application_type: "native" },
      /^redirect_uris\[0\] must use https/,
    ],
    [
      "a data: redirect URI",
      { redirect_uris: ["data:text/html,x"] },
      /^redirect_uris\[0\] must use https/,
    ],
    [
      "a custom scheme of a web application",
      { redirect_uris: ["com.example.app:/cb"] },
      /^redirect_uris\[0\] must use https, or application_type must be native/,
    ],
    [
      "a custom scheme of a native application (RFC 8252 §7.1)",
      { redirect_uris: ["com.example.app:/cb"], application_type: "native" },
      "accepted",
    ],
    [
      "a custom scheme without a dot",
      { redirect_uris: ["myapp:/cb"], application_type: "native" },
      /^redirect_uris\[0\] must use https, or for a native application/,
    ],
    ["no redirect URI", { redirect_uris: [] }, /^redirect_uris must have at least one address/],
    [
      "5,000 redirect URIs",
      { redirect_uris: Array.from({ length: 5_000 }, (_, n) => `https://app.example.com/${n}`) },
      /^redirect_uris must have at most 20 entries/,
    ],
    [
      "a name of 100 kB",
      { client_name: "a".repeat(100_000) },
      /^client_name must have at most 64 characters/,
    ],
    [
      "a name that turns the text around",
      { client_name: `A${RLO}knab` },
      /^client_name must not contain control, invisible or direction-changing/,
    ],
    ["a secret chosen by the caller", { client_secret: "abcd" }, /^client_secret is not known/],
    [
      "a key set over http",
      { jwks_uri: "http://app.example.com/jwks" },
      /^jwks_uri must use https/,
    ],
    [
      "a logo on this machine",
      { logo_uri: "https://127.0.0.1/logo.png" },
      /^logo_uri must be on a public host/,
    ],
    [
      "unsigned ID tokens",
      { id_token_signed_response_alg: "none" },
      /^id_token_signed_response_alg must be ES256 or RS256/,
    ],
  ];

  describe("is held to more than the engine asks for (T-43, the table behind finding 0.7)", () => {
    it("has 23 rows", () => assert.equal(TABLE.length, 23));
    for (const [what, metadata, expected] of TABLE) {
      it(`${expected === "accepted" ? "accepts" : "refuses"} ${what}`, () => {
        if (expected === "accepted") accept(metadata);
        else refuse(metadata, expected);
      });
    }
  });

  it("refuses other spellings of a host, which an exact comparison would not see as the same", () => {
    for (const uri of [
      "http://127.1/cb",
      "http://0x7f.1/cb",
      "https://ex%61mple.com/cb",
      "https://app.example.com:443/cb",
    ])
      refuse({ redirect_uris: [uri] }, /^redirect_uris\[0\] must spell its host and port as/);
  });

  it("refuses https on the device itself for native applications (RFC 8252 §7.3)", () => {
    refuse(
      { redirect_uris: ["https://localhost/cb"], application_type: "native" },
      /must use http,/,
    );
  });

  it("holds post-logout redirect URIs to the same rules", () => {
    refuse(
      { post_logout_redirect_uris: ["http://app.example.com"] },
      /^post_logout_redirect_uris\[0\] must use https/,
    );
  });

  it("names every problem at once, those between fields too", () => {
    const message = refusal({
      client_name: "",
      redirect_uri: "https://app.example.com/cb",
      grant_types: ["implicit"],
      jwks: { keys: [] },
      jwks_uri: "https://app.example.com/jwks",
      token_endpoint_auth_method: "none",
      token_endpoint_auth_signing_alg: "ES256",
      default_max_age: -1,
      contacts: ["nobody"],
    });
    assert.deepEqual(message.split("; ").toSorted(), [
      "client_name must say what people know the application as",
      "contacts[0] must be an e-mail address",
      "default_max_age must be at least 0",
      "grant_types must not have implicit for these response_types",
      "jwks.keys must hold at least one key",
      "redirect_uri is not known, so remove or rename",
      "redirect_uris must have at least one address, because grant_types has authorization_code",
      "token_endpoint_auth_signing_alg is for private_key_jwt and client_secret_jwt only, so remove it",
    ]);
    assert.match(refusal({}), /client_name is missing.*redirect_uris must have at least one/);
    assert.match(refusal("text"), /^metadata must be an object/);
  });

  it("derives response_types and accepts them where they say the same", () => {
    const machine = { redirect_uris: [], grant_types: ["client_credentials"] };
    assert.deepEqual(accept(machine).response_types, []);
    assert.deepEqual(accept({ response_types: ["code"] }).response_types, ["code"]);
    refuse(
      { ...machine, response_types: ["code"] },
      /^response_types must not have code for these grant_types/,
    );
  });

  it("takes a device: no redirect URI, no secret, refresh tokens if it likes (RFC 8628 §3.1)", () => {
    const device = {
      redirect_uris: [],
      grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
      token_endpoint_auth_method: "none",
    };
    assert.deepEqual(accept(device).response_types, []);
    refuse(
      { ...device, redirect_uris: MINIMAL.redirect_uris },
      /^redirect_uris must be empty, or grant_types must have authorization_code/,
    );
    refuse(
      { ...device, subject_type: "pairwise" },
      /^token_endpoint_auth_method must be private_key_jwt for a pairwise.*jwks_uri must be given/,
    );
    assert.throws(
      () => parseClientMetadata({ ...MINIMAL, ...device }, presetOf("fapi2")),
      /grant_types must not have urn:ietf:params:oauth:grant-type:device_code at this issuer/,
    );
  });

  const TILL = {
    redirect_uris: [],
    grant_types: ["urn:openid:params:grant-type:ciba"],
    backchannel_token_delivery_mode: "poll",
  };

  it("takes a client that asks people elsewhere, with a ping or without (CIBA Core §4)", () => {
    accept(TILL);
    accept({
      ...TILL,
      backchannel_token_delivery_mode: "ping",
      backchannel_client_notification_endpoint: "https://till.example.com/ping",
      backchannel_user_code_parameter: false,
    });
  });

  it("refuses one that says too little, or what is not offered (CIBA Core §4)", () => {
    refuse({ ...TILL, token_endpoint_auth_method: "none" }, /must not be none for urn:openid/);
    refuse(
      { ...TILL, backchannel_token_delivery_mode: undefined },
      /^backchannel_token_delivery_mode must be poll or ping/,
    );
    refuse({ ...TILL, backchannel_token_delivery_mode: "push" }, /must be poll or ping/);
    refuse(
      { ...TILL, backchannel_token_delivery_mode: "ping" },
      /^backchannel_client_notification_endpoint must be given/,
    );
    const endpoint = { backchannel_client_notification_endpoint: "https://till.example.com/ping" };
    refuse({ ...TILL, ...endpoint }, /must not be given where .* is poll/);
    refuse(endpoint, /is for urn:openid:params:grant-type:ciba only, so remove it/);
    refuse(
      {
        ...TILL,
        backchannel_token_delivery_mode: "ping",
        backchannel_client_notification_endpoint: "http://localhost:1/ping",
      },
      /^backchannel_client_notification_endpoint must use https/,
    );
    refuse({ ...TILL, backchannel_user_code_parameter: true }, /must be false/);
    refuse(
      { ...TILL, backchannel_authentication_request_signing_alg: "ES256" },
      /^jwks or jwks_uri must be given/,
    );
    refuse(
      { ...TILL, backchannel_authentication_request_signing_alg: "HS256" },
      /must be ES256 or/,
    );
  });

  it("refuses grants that make no sense together", () => {
    refuse(
      { redirect_uris: [], grant_types: ["refresh_token"] },
      /^grant_types must have authorization_code/,
    );
    refuse({ grant_types: ["client_credentials"] }, /^redirect_uris must be empty/);
    refuse(
      {
        redirect_uris: [],
        grant_types: ["client_credentials"],
        token_endpoint_auth_method: "none",
      },
      /^token_endpoint_auth_method must not be none for the client_credentials grant/,
    );
    const exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    refuse(
      { grant_types: ["authorization_code", exchange], token_endpoint_auth_method: "none" },
      /^token_endpoint_auth_method must not be none for token exchange/,
    );
    refuse(
      { token_exchange_impersonation: true },
      /^grant_types must have .*token-exchange where token_exchange_impersonation is true/,
    );
    refuse(
      { grant_types: ["authorization_code", "authorization_code"] },
      /must not list anything twice/,
    );
  });

  it("normalises names to NFC and counts code points (T-42)", () => {
    assert.equal(accept({ client_name: " Cafe\u0301 " }).client_name, "Café");
    assert.equal(accept({ client_name: "🦊".repeat(64) }).client_name.length, 128);
    for (const hidden of ["\u0000", "\u200b", "\u2066", "\u00ad", "\u3164", "\u2028", "\ud800"])
      refuse({ client_name: `A${hidden}pp` }, /^client_name must not contain/);
  });

  it("refuses addresses that are not https for what is shown or fetched", () => {
    for (const field of [
      "client_uri",
      "logo_uri",
      "policy_uri",
      "tos_uri",
      "initiate_login_uri",
      "jwks_uri",
    ]) {
      accept({ [field]: "https://app.example.com/x" });
      for (const uri of [
        "http://localhost/x",
        "javascript:alert(1)",
        "https://a@app.example.com/x",
        "x",
      ])
        refuse({ [field]: uri }, new RegExp(`^${field} must`));
    }
    for (const host of [
      "localhost",
      "10.0.0.1",
      "169.254.169.254",
      "[::1]",
      "[::ffff:10.0.0.1]",
      "intranet",
      "2130706433",
    ])
      refuse({ logo_uri: `https://${host}/logo.png` }, /^logo_uri must/);
  });

  it("takes origins exactly as browsers send them", () => {
    accept({ cors_origins: ["https://app.example.com", "http://localhost:5173"] });
    for (const origin of [
      "https://app.example.com/",
      "https://App.example.com",
      "http://app.example.com",
      "null",
      "*",
    ])
      refuse({ cors_origins: [origin] }, /^cors_origins\[0\] must/);
  });

  describe("with keys (T-37)", () => {
    it("accepts RSA of 2048 bits, P-256 to P-521 and Ed25519", () => {
      accept(
        withKeys(
          jwk(rsa(2048)),
          jwk(ec("P-256")),
          jwk(ec("P-521")),
          jwk(generateKeyPairSync("ed25519")),
        ),
      );
    });

    it("refuses weak, symmetric, private and broken keys", () => {
      refuse(
        withKeys(jwk(rsa(1024))),
        /^jwks\.keys\[0\] must have at least 2048 bits, and this one has 1024/,
      );
      refuse(withKeys(jwk(rsa(2048, 3))), /public exponent/);
      refuse(withKeys({ kty: "oct", k: "c2VjcmV0" }), /^jwks\.keys\[0\] must be a public key/);
      refuse(withKeys(jwk(ec("secp256k1"))), /^jwks\.keys\[0\] must use one of the curves/);
      refuse(
        withKeys({ kty: "EC", crv: "P-256", x: "AA", y: "AA" }),
        /^jwks\.keys\[0\] is not a valid public key/,
      );
      const leaked = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
      refuse(withKeys(leaked), /^jwks\.keys\[0\] must be a public key without d/);
    });

    it("refuses more than 10 keys, and a kid twice", () => {
      const key = jwk(ec("P-256"));
      refuse(
        withKeys(...Array.from({ length: 1_000 }, () => key)),
        /^jwks\.keys must hold at most 10 keys/,
      );
      refuse(
        withKeys({ ...key, kid: "a" }, { ...key, kid: "a" }),
        /must not use the same kid twice/,
      );
    });

    it("needs a signature of userinfo where it is encrypted", () => {
      const keys = withKeys(jwk(ec("P-256")));
      const encrypted = { ...keys, userinfo_encrypted_response_alg: "ECDH-ES" };
      refuse(encrypted, /^userinfo_signed_response_alg must be given/);
    });

    it("needs exactly one source of keys for private_key_jwt", () => {
      refuse({ token_endpoint_auth_method: "private_key_jwt" }, /^jwks or jwks_uri must be given/);
      refuse(
        { ...withKeys(jwk(ec("P-256"))), jwks_uri: "https://a.example/jwks" },
        /must not both be given/,
      );
    });
  });
});
