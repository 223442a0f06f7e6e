import type { JWTPayload, JWTVerifyGetKey } from "jose";
import { UpstreamError, type Trace } from "../connector.ts";
import { SKEW, verifyToken, wrong, type Expected } from "./jwt.ts";
import { TENANT, type OidcSettings } from "./settings.ts";

/** Who somebody is, as the provider signed it for us. */
export interface IdTokenClaims extends JWTPayload {
  readonly iss: string;
  readonly sub: string;
}

interface ExpectedIdToken extends Expected {
  readonly settings: OidcSettings;
  /** What was kept when the person left: `nonce`, and since when the sign-in there must be. */
  readonly secrets: Readonly<Record<string, string>>;
}

const WHAT = "ID token";

/**
 * The claims of an ID token that answers the request it came for (OIDC Core §3.1.3.7).
 *
 * @throws UpstreamError `invalid` or `expired`, with the claim in its rule.
 */
export async function verifyIdToken(
  idToken: string,
  keys: JWTVerifyGetKey,
  { settings, secrets, ...expected }: ExpectedIdToken,
  trace: Trace,
): Promise<IdTokenClaims> {
  if (idToken === "")
    throw new UpstreamError(
      "invalid",
      "oidc.id_token",
      "The token endpoint granted no ID token (OIDC Core §3.1.3.3).",
      {
        hint: "The scopes must contain openid, and the client must be one of OpenID Connect there.",
      },
    );
  const claims = await verifyToken(idToken, keys, expected, trace);
  const { iss = "", sub } = claims;
  if (typeof sub !== "string" || sub === "") throw wrong(WHAT, "sub", sub, "a text");
  if (settings.nonce && (secrets["nonce"] === undefined || claims["nonce"] !== secrets["nonce"]))
    throw wrong(WHAT, "nonce", claims["nonce"], "the one of this request");
  assertTenant(iss, claims["tid"], expected.issuer.name);
  for (const [claim, value] of Object.entries(settings.required_claims))
    if (claims[claim] !== value) throw wrong(WHAT, claim, claims[claim], value);
  assertFresh(claims["auth_time"], secrets["fresh_since"]);
  return { ...claims, iss, sub };
}

/** Whose directory it is must be the same in both places (T-90). */
function assertTenant(iss: string, tid: unknown, template: string): void {
  if (!template.includes(TENANT)) return;
  if (typeof tid === "string" && iss === template.replace(TENANT, tid)) return;
  throw wrong(WHAT, "tid", tid, `the directory of ${iss}`);
}

/** OIDC Core §3.1.2.1, `max_age`: a sign-in that was asked for anew must have happened since. */
function assertFresh(authTime: unknown, since: string | undefined): void {
  if (since === undefined) return;
  const latest = Date.now() / 1000 + SKEW;
  if (typeof authTime === "number" && authTime >= Number(since) - SKEW && authTime <= latest)
    return;
  throw wrong(WHAT, "auth_time", authTime, `a time since ${since}`, {
    hint: "The provider must honour max_age; if it cannot, set max_age to false.",
  });
}
