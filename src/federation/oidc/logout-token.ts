import type { JWTVerifyGetKey } from "jose";
import type { Knex } from "knex";
import { sha256 } from "../../lib/secret.ts";
import { ReplayGuard } from "../../models/replay-guard.ts";
import { UpstreamError, type Answer, type Trace, type UpstreamLogout } from "../connector.ts";
import { LONGEST, SKEW, verifyToken, wrong, type Expected } from "./jwt.ts";
import { subjectOf, type Claims } from "./person.ts";

const WHAT = "logout token";
const EVENT = "http://schemas.openid.net/event/backchannel-logout";

interface Context {
  readonly keys: JWTVerifyGetKey;
  readonly expected: Expected;
  readonly knex: Knex;
  readonly providerId: string;
  readonly subjectClaims: readonly string[];
}

/**
 * Whose session ended, from a logout token (OIDC Back-Channel Logout §2.6). Each is good once.
 *
 * @throws UpstreamError `invalid`, `expired` or `replayed`.
 */
export async function verifyLogoutToken(
  { method, parameters }: Omit<Answer, "secrets">,
  { keys, expected, knex, providerId, subjectClaims }: Context,
  trace: Trace,
): Promise<UpstreamLogout> {
  const { logout_token: token } = parameters;
  if (method !== "POST" || token === undefined)
    throw new UpstreamError(
      "invalid",
      "oidc.logout_token",
      "The message has no logout_token in the body of a POST (OIDC Back-Channel Logout §2.5).",
      { hint: "Register this address there as backchannel_logout_uri, and no other." },
    );
  const rules = {
    ...expected,
    requiredClaims: ["iss", "aud", "iat", "exp", "jti"],
    typ: /^(logout\+jwt|jwt)$/i,
  };
  const claims = await verifyToken(token, keys, rules, trace);
  assertEvent(claims["events"]);
  if (claims["nonce"] !== undefined) throw wrong(WHAT, "nonce", "one", "none");
  const named = namedBy(claims, subjectClaims);
  const { iss = "", jti } = claims;
  if (typeof jti !== "string" || jti === "") throw wrong(WHAT, "jti", jti, "a text");
  const now = new Date();
  const isNew = await ReplayGuard.claim(
    knex,
    sha256(["logout_token", providerId, iss, jti].join("\0")),
    // Nothing that was made longer ago is taken.
    new Date(now.getTime() + (LONGEST + 2 * SKEW) * 1000),
    now,
  );
  if (!isNew)
    throw new UpstreamError("replayed", "oidc.jti", "The logout token was used before.", {
      hint: "Nothing needs to be done: what it ends has ended.",
    });
  return { issuer: iss, ...named };
}

/** Points 4 to 5: it is a logout token, and nothing else that the provider signs for us. */
function assertEvent(events: unknown): void {
  const event: unknown =
    typeof events === "object" && events !== null ? (events as Claims)[EVENT] : undefined;
  if (typeof event !== "object" || event === null || Array.isArray(event))
    throw wrong(WHAT, "events", events, `an object with the member ${EVENT}`);
}

/** Whose session: one of them by `sid`, or all of a person's. */
function namedBy(claims: Claims, subjectClaims: readonly string[]) {
  const { sid, sub } = claims;
  for (const [claim, value] of Object.entries({ sid, sub }))
    if (value !== undefined && (typeof value !== "string" || value === ""))
      throw wrong(WHAT, claim, value, "a text");
  const knowsWho = subjectClaims.every((name) => claims[name] !== undefined);
  if (sid === undefined && !knowsWho)
    throw wrong(WHAT, "sid", sid, `this or ${subjectClaims.join(" and ")}`);
  return {
    ...(knowsWho ? { subject: subjectOf(claims, subjectClaims) } : {}),
    ...(typeof sid === "string" ? { index: sid } : {}),
  };
}
