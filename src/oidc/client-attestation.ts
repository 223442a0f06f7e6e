import type { KeyObject } from "node:crypto";
import type { JWTVerifyGetKey } from "jose";
import { errors, type Client, type Configuration } from "oidc-provider";
import { ATTESTED_METHODS, type Issuer } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import type { Workload } from "../models/workload.ts";
import type { WorkloadKeys } from "../workloads/assertion.ts";

type Feature = NonNullable<NonNullable<Configuration["features"]>["attestClientAuth"]>;
type Header = Parameters<JWTVerifyGetKey>[0];

/** Seconds by which clocks may differ. */
const SKEW = 15;
/** The engine never shows this to whoever looks for a key, and asks for no other: the header says which one it is. */
const NO_TOKEN = { payload: "", signature: "" };

/** What it takes to believe an attestation. */
interface AttestationNeeds {
  readonly issuer: Issuer;
  readonly seal: Seal;
  readonly workloadKeys: WorkloadKeys;
}

/**
 * Clients without a secret whose instances prove that they are what they say: somebody whom the operator named for this
 * client attests the instance's key, and the instance signs with it (OAuth 2.0 Attestation-Based Client Authentication,
 * draft 12, which the engine calls an experiment; another draft is another `ack`). Challenges come from a key that all
 * nodes derive, so any node knows what another gave out.
 */
export function clientAttestation({ issuer, seal, workloadKeys }: AttestationNeeds): Feature {
  if (!ATTESTED_METHODS.some((method) => issuer.preset.authMethods.includes(method)))
    return { enabled: false };
  return {
    enabled: true,
    ack: "draft-12",
    challengeSecret: seal.derive("client-attestation"),
    getAttestationSignaturePublicKey: async (_ctx, header, _payload, client) =>
      (await attesterOf(client, workloadKeys)(header as unknown as Header, NO_TOKEN)) as KeyObject,
    async assertAttestationJwtAndPop(_ctx, attestation, pop) {
      for (const { payload } of [attestation, pop]) {
        const { iat = 0 } = payload;
        if (typeof iat !== "number" || iat > Date.now() / 1000 + SKEW)
          throw new errors.InvalidClientAuth("iat must not be in the future");
      }
    },
  };
}

/** The keys that the operator registered for this client; nobody attests for all of them. */
function attesterOf(client: Client, keys: WorkloadKeys): JWTVerifyGetKey {
  const { attester_jwks: jwks = null, attester_jwks_uri: jwksUri = null } = client as {
    attester_jwks?: Workload["jwks"];
    attester_jwks_uri?: string;
  };
  if (jwks === null && jwksUri === null)
    throw new errors.InvalidClientAuth("nobody attests instances of this client");
  return keys.of({ jwks, jwksUri });
}
