import type { PresetName } from "../issuers.ts";

/** One plan of the OpenID Foundation's suite, and what it needs of us. */
export interface Plan {
  /** The preset of the issuer that it is run against. */
  readonly preset: PresetName;
  /** Which clients it uses: those that it registers itself unless its variant says otherwise, or ours. */
  readonly clients: "registered-by-the-suite" | "ours";
  /** What our clients are to be able to do. */
  readonly profile?: "fapi1" | "fapi2" | "fapi2-signed" | "ciba";
  /** The part of the variant that is the same in every run. */
  readonly variant: Readonly<Record<string, string>>;
}

const BY_SUITE = {
  preset: "conformance",
  clients: "registered-by-the-suite",
} as const;
const DISCOVERY = { server_metadata: "discovery", client_registration: "dynamic_client" } as const;
const DYNAMIC = { client_registration: "dynamic_client" } as const;

/** The plans that `lintel conformance` knows, by the names that the suite gives them. */
export const PLANS: Readonly<Record<string, Plan>> = {
  "oidcc-config-certification-test-plan": { ...BY_SUITE, variant: {} },
  "oidcc-basic-certification-test-plan": { ...BY_SUITE, variant: DISCOVERY },
  "oidcc-implicit-certification-test-plan": { ...BY_SUITE, variant: DISCOVERY },
  "oidcc-hybrid-certification-test-plan": { ...BY_SUITE, variant: DISCOVERY },
  "oidcc-formpost-basic-certification-test-plan": { ...BY_SUITE, variant: DISCOVERY },
  "oidcc-formpost-implicit-certification-test-plan": { ...BY_SUITE, variant: DISCOVERY },
  "oidcc-formpost-hybrid-certification-test-plan": { ...BY_SUITE, variant: DISCOVERY },
  "oidcc-dynamic-certification-test-plan": { ...BY_SUITE, variant: { response_type: "code" } },
  "oidcc-3rdparty-init-login-certification-test-plan": {
    ...BY_SUITE,
    variant: { response_type: "code" },
  },
  "oidcc-rp-initiated-logout-certification-test-plan": {
    ...BY_SUITE,
    variant: { ...DYNAMIC, response_type: "code" },
  },
  "oidcc-backchannel-rp-initiated-logout-certification-test-plan": {
    ...BY_SUITE,
    variant: { ...DYNAMIC, response_type: "code" },
  },
  "oidcc-frontchannel-rp-initiated-logout-certification-test-plan": {
    ...BY_SUITE,
    variant: { ...DYNAMIC, response_type: "code" },
  },
  "oidcc-session-management-certification-test-plan": {
    ...BY_SUITE,
    variant: { ...DYNAMIC, response_type: "code" },
  },
  "fapi2-security-profile-final-test-plan": {
    preset: "fapi2",
    clients: "ours",
    profile: "fapi2",
    variant: {
      client_auth_type: "private_key_jwt",
      sender_constrain: "dpop",
      openid: "openid_connect",
      fapi_profile: "plain_fapi",
    },
  },
  "fapi2-message-signing-final-test-plan": {
    preset: "fapi2",
    clients: "ours",
    profile: "fapi2-signed",
    variant: {
      client_auth_type: "private_key_jwt",
      sender_constrain: "dpop",
      openid: "openid_connect",
      fapi_profile: "plain_fapi",
      fapi_request_method: "signed_non_repudiation",
      fapi_response_mode: "jarm",
    },
  },
  "fapi1-advanced-final-test-plan": {
    preset: "fapi1",
    clients: "ours",
    profile: "fapi1",
    variant: {
      client_auth_type: "private_key_jwt",
      fapi_profile: "plain_fapi",
      fapi_auth_request_method: "by_value",
      fapi_response_mode: "plain_response",
    },
  },
  "fapi-ciba-id1-test-plan": {
    preset: "fapi1",
    clients: "ours",
    profile: "ciba",
    variant: {
      client_auth_type: "private_key_jwt",
      fapi_ciba_profile: "plain_fapi",
      ciba_mode: "poll",
      client_registration: "static_client",
    },
  },
};

/** Whether a variant has clients show certificates; FAPI 1.0 binds tokens to nothing else. */
export function needsCertificates({ profile }: Plan, variant: Plan["variant"]): boolean {
  return (
    profile === "fapi1" ||
    profile === "ciba" ||
    variant["client_auth_type"] === "mtls" ||
    variant["sender_constrain"] === "mtls"
  );
}
