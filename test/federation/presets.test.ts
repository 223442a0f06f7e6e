import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { ZodError } from "zod";
import {
  applyPreset,
  PRESET_NAMES,
  PRESETS,
  type PresetName,
} from "../../src/federation/oidc/presets.ts";
import {
  oauth2Settings,
  oidcContradictions,
  oidcIssuer,
  oidcSettings,
} from "../../src/federation/oidc/settings.ts";

const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const OTHER_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad";

/** What an operator would give each of them. */
const GIVEN: Readonly<Record<PresetName, object>> = {
  google: { hosted_domain: "example.com" },
  microsoft: { tenants: [TENANT, OTHER_TENANT] },
  apple: { team_id: "ABCDE12345", key_id: "KEY1234567" },
  github: {},
  gitlab: { domain: "gitlab.example.com" },
  okta: { domain: "example.okta.com", authorization_server: "default" },
  auth0: { domain: "example.eu.auth0.com" },
  keycloak: { realm_url: "https://sso.example.com/realms/staff/" },
  discord: {},
  linkedin: {},
};

function problems(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    assert(error instanceof ZodError);
    return error.issues.map(({ path, message }) => `${path.join(".")} ${message}`);
  }
  assert.fail("it was accepted");
}

const LEAST = {
  authorization_endpoint: "https://op.example/auth",
  token_endpoint: "https://op.example/token",
};

describe("connection presets", () => {
  for (const name of PRESET_NAMES)
    it(`make of ${name} a connection whose settings are right`, () => {
      const { kind, issuer, settings } = applyPreset(name, GIVEN[name]);
      if (kind === "oauth2") {
        oauth2Settings.parse(settings);
        return;
      }
      assert.equal(oidcIssuer.parse(issuer), issuer);
      assert.deepEqual(oidcContradictions(issuer, oidcSettings.parse(settings)), []);
    });

  it("spell issuers as their providers do", () => {
    const issuers = PRESET_NAMES.map((name) => applyPreset(name, GIVEN[name]).issuer);
    assert.deepEqual(issuers, [
      "https://accounts.google.com",
      "https://login.microsoftonline.com/{tenantid}/v2.0",
      "https://appleid.apple.com",
      "https://github.com/login/oauth",
      "https://gitlab.example.com",
      "https://example.okta.com/oauth2/default",
      "https://example.eu.auth0.com/",
      "https://sso.example.com/realms/staff",
      "https://discord.com",
      "https://www.linkedin.com/oauth",
    ]);
  });

  it("name one directory of Microsoft's in the issuer, and list several", () => {
    const one = applyPreset("microsoft", { tenants: [TENANT.toUpperCase()] });
    assert.equal(one.issuer, `https://login.microsoftonline.com/${TENANT}/v2.0`);
    assert.equal("allowed_tenants" in one.settings, false);
    const { settings } = applyPreset("microsoft", GIVEN.microsoft);
    assert.deepEqual(oidcSettings.parse(settings).allowed_tenants, [TENANT, OTHER_TENANT]);
  });

  it("never identify anybody by an address or a name", () => {
    for (const name of PRESET_NAMES) {
      const { kind, settings } = applyPreset(name, GIVEN[name]);
      const read = (kind === "oidc" ? oidcSettings : oauth2Settings).parse(settings);
      for (const claim of read.subject_claims) assert.match(claim, /^(sub|id|oid|tid)$/);
    }
  });

  it("say which parameter is missing, and where to find it", () => {
    const missing = (name: PresetName) => problems(() => applyPreset(name));
    assert.match(missing("microsoft").join(), /^tenants is missing: list the directory/);
    assert.match(missing("apple").join(), /^team_id is missing: .*key_id is missing/);
    assert.match(missing("okta").join(), /^domain is missing, such as example\.okta\.com/);
    assert.match(missing("auth0").join(), /^domain is missing, such as/);
    assert.match(missing("keycloak").join(), /^realm_url is missing, such as/);
  });

  it("say what is wrong with a parameter", () => {
    const wrong = (name: PresetName, given: object) =>
      problems(() => applyPreset(name, given)).join();
    assert.match(wrong("microsoft", { tenants: ["common"] }), /must be a directory \(tenant\) ID/);
    assert.match(wrong("okta", { domain: "https://example.okta.com" }), /without https:\/\//);
    assert.match(wrong("keycloak", { realm_url: "https://sso.example.com" }), /must end with/);
    assert.match(wrong("keycloak", { realm_url: "http://sso.example.com/realms/a" }), /use https/);
    assert.match(wrong("google", { domain: "example.com" }), /domain/);
  });

  it("know whether a secret or a private key goes with them", () => {
    const withKey = PRESET_NAMES.filter((name) => PRESETS[name].credential === "private_key");
    assert.deepEqual(withKey, ["apple"]);
  });
});

describe("connection settings", () => {
  const refusal = (settings: object) => problems(() => oidcSettings.parse(settings)).join();

  it("need openid among the scopes", () => {
    assert.match(refusal({ scopes: ["email"] }), /^scopes must contain openid/);
  });

  it("need endpoints where discovery is off", () => {
    assert.match(refusal({ discovery: false }), /authorization_endpoint must be given.*jwks_uri/);
    oidcSettings.parse({ ...LEAST, discovery: false, jwks_uri: "https://op.example/keys" });
  });

  it("take no endpoint without TLS, but on this machine", () => {
    assert.match(refusal({ token_endpoint: "http://op.example/token" }), /must use https/);
    oidcSettings.parse({ token_endpoint: "http://localhost:8080/token" });
  });

  it("take no algorithm that proves nothing", () => {
    for (const alg of ["none", "HS256"])
      assert.match(refusal({ id_token_signed_response_alg: alg }), /id_token_signed_response_alg/);
  });

  it("leave state, nonce, redirect_uri and their like to us", () => {
    for (const name of ["state", "nonce", "redirect_uri", "code_challenge", "request_uri"])
      assert.match(
        refusal({ authorization_params: { [name]: "x" } }),
        new RegExp(`^authorization_params\\.${name} is sent by Lintel itself`),
      );
  });

  it("keep the two parts of Apple's key together", () => {
    assert.match(refusal({ team_id: "ABCDE12345" }), /belong together/);
  });

  it("never leave a code without anything that binds it", () => {
    const settings = { pkce: false, nonce: false, token_endpoint_auth_method: "none" };
    assert.match(refusal(settings), /^pkce must be on/);
  });

  it("are told of a name that is not known", () => {
    assert.match(refusal({ client_secret: "x" }), /client_secret/);
  });

  it("list the directories that are allowed where the issuer is many (T-90)", () => {
    const issuer = "https://login.microsoftonline.com/{tenantid}/v2.0";
    const bare = oidcSettings.parse({});
    assert.match(oidcContradictions(issuer, bare).join(), /allowed_tenants must name at least one/);
    assert.match(oidcContradictions(issuer, bare).join(), /discovery_url must be given/);
    const tenants = oidcSettings.parse({ allowed_tenants: [TENANT] });
    assert.match(oidcContradictions("https://op.example", tenants).join(), /remove it/);
  });

  it("of OAuth 2.0 need a claim that says who it is", () => {
    const given = { ...LEAST, userinfo_endpoint: "https://api.example/user" };
    assert.match(problems(() => oauth2Settings.parse(given)).join(), /^subject_claims/);
  });

  it("take an issuer as it is spelled, without a query", () => {
    assert.equal(oidcIssuer.parse("https://op.example/"), "https://op.example/");
    assert.match(problems(() => oidcIssuer.parse("https://op.example/?a=b")).join(), /no query/);
    assert.match(problems(() => oidcIssuer.parse("http://op.example")).join(), /must use https/);
  });
});
