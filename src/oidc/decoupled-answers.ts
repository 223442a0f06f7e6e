import { DECOUPLED_GRANTS } from "../issuers.ts";
import type { Afterwards } from "./afterwards.ts";

/** Seconds between two questions of a client, until it asks too often (RFC 8628 §3.2, CIBA Core §7.3); the column's default. */
const INTERVAL = 5;
/** Metadata that the engine makes up (CIBA Core §4). */
const USER_CODE = "backchannel_user_code_parameter_supported";
/** Where clients begin what is approved elsewhere, and what they must have registered for it. */
const GRANTS: Readonly<Record<string, string>> = {
  device_authorization: DECOUPLED_GRANTS.device,
  backchannel_authentication: DECOUPLED_GRANTS.ciba,
};

/**
 * Says how often a client may ask, calls one that did not register the grant by its name (RFC 6749 §5.2), and takes
 * back what the engine advertises but we do not offer.
 */
export function sayWhatIsOffered(answered: Afterwards): void {
  for (const [route, grant] of Object.entries(GRANTS))
    answered.at([route], ({ body, status, oidc: { client } }) => {
      if (typeof body !== "object" || body === null) return;
      if (status === 200) Object.assign(body, { interval: INTERVAL });
      if (status === 400 && client?.grantTypeAllowed(grant) === false)
        Object.assign(body, { error: "unauthorized_client" });
    });
  answered.at(["discovery"], ({ body }) => {
    if (typeof body === "object" && body !== null && USER_CODE in body)
      Object.assign(body, { [USER_CODE]: false });
  });
}
