import { UpstreamError, type Answer, type Trace, type UpstreamReason } from "../connector.ts";

/** Errors that an answer from the authorization endpoint may carry (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6, vendors). */
const REASONS: Readonly<Record<string, UpstreamReason>> = {
  access_denied: "cancelled",
  user_cancelled_login: "cancelled",
  user_cancelled_authorize: "cancelled",
  server_error: "unavailable",
  temporarily_unavailable: "unavailable",
  invalid_request: "misconfigured",
  invalid_scope: "misconfigured",
  unauthorized_client: "misconfigured",
  unauthorized_scope_error: "misconfigured",
  unsupported_response_type: "misconfigured",
  redirect_uri_mismatch: "misconfigured",
  application_suspended: "misconfigured",
};

/**
 * The code in an answer, once it is certain that the answer is to this request and by this provider.
 *
 * @param isIssuer whether an `iss` may come from it; undefined where nothing is known of its issuer.
 * @param mustNameIssuer whether it said that every answer of its names it (RFC 9207 §3).
 * @throws UpstreamError `invalid` where it is not, and whatever the provider's error means.
 */
export function readCode(
  { parameters, secrets }: Answer,
  {
    isIssuer,
    mustNameIssuer,
  }: { isIssuer: ((iss: string) => boolean) | undefined; mustNameIssuer: boolean },
  trace: Trace,
): string {
  trace("answer received", { parameters: Object.keys(parameters).toSorted() });
  const { state, iss, error, code } = parameters;
  if (secrets["state"] === undefined || state !== secrets["state"])
    throw new UpstreamError(
      "invalid",
      "oauth.state",
      "The answer has another state than the request (RFC 6749 §10.12).",
      { hint: "Somebody may have passed an address on; begin again." },
    );
  // RFC 9207 §2.4: before anything else of it is believed, an error included.
  assertIssuer(iss, isIssuer, mustNameIssuer);
  if (error !== undefined) throw refusal(error, parameters["error_description"]);
  if (code === undefined || code === "")
    throw new UpstreamError(
      "invalid",
      "oauth.code",
      "The answer has neither code nor error (RFC 6749 §4.1.2).",
      { hint: "The provider must answer with response_type=code." },
    );
  return code;
}

function assertIssuer(
  iss: string | undefined,
  isIssuer: ((iss: string) => boolean) | undefined,
  mustNameIssuer: boolean,
): void {
  if (iss === undefined && !mustNameIssuer) return;
  if (iss !== undefined && isIssuer?.(iss) !== false) return;
  throw new UpstreamError(
    "invalid",
    "oauth.iss",
    iss === undefined
      ? "The answer has no iss, though the provider says that each has (RFC 9207 §2.4)."
      : `The answer is by the issuer ${brief(iss)}, which is not this connection's (RFC 9207 §2.4).`,
    { hint: "It may be an attempt to mix up two providers; begin again." },
  );
}

function refusal(error: string, description = ""): UpstreamError {
  const reason = REASONS[error] ?? "refused";
  const said = description === "" ? "" : `: ${brief(description)}`;
  return new UpstreamError(
    reason,
    "oauth.error",
    `The provider answered ${brief(error)}${said}.`,
    hintFor(reason, error),
  );
}

function hintFor(reason: UpstreamReason, error: string): { hint: string } {
  if (reason === "cancelled")
    return { hint: "The person refused or went back, or may not use this application there." };
  if (reason === "unavailable") return { hint: "Look at the provider's own log, and try later." };
  if (reason === "misconfigured")
    return { hint: "Check client ID, callback address and scopes against the registration there." };
  return { hint: `The provider's documentation says what ${brief(error)} means.` };
}

/** What somebody else wrote, short, on one line and without its full stop. */
export function brief(text: string): string {
  return text
    .replaceAll(/[\p{C}\s]+/gu, " ")
    .slice(0, 300)
    .replace(/^ |[ .]+$/g, "");
}
