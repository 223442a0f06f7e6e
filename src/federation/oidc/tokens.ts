import {
  UpstreamError,
  type Trace,
  type UpstreamReason,
  type UpstreamTokens,
} from "../connector.ts";
import { ask, jsonOf, type Reply } from "./ask.ts";
import { brief } from "./authorization.ts";
import type { Credentials, Server } from "./credentials.ts";

/** What a token endpoint granted. */
export interface Granted {
  readonly tokens: UpstreamTokens;
  readonly idToken?: string;
}

/** Errors of a token endpoint (RFC 6749 §5.2), and what GitHub says instead. */
const REASONS: Readonly<Record<string, UpstreamReason>> = {
  invalid_client: "misconfigured",
  unauthorized_client: "misconfigured",
  unsupported_grant_type: "misconfigured",
  incorrect_client_credentials: "misconfigured",
  redirect_uri_mismatch: "misconfigured",
  invalid_grant: "expired",
  bad_verification_code: "expired",
};

const HINTS: Partial<Record<UpstreamReason, string>> = {
  misconfigured: "Check client ID and secret (or key), and the way that the client is registered.",
  expired: "Begin again; where it happens each time, check the callback address and the clocks.",
};

/** What speaks to one provider's token endpoint. */
export interface TokenEndpoint {
  readonly fetch: typeof fetch;
  readonly credentials: Credentials;
  readonly server: Server;
}

/**
 * Asks a token endpoint for what `parameters` say (RFC 6749 §4.1.3, §6).
 *
 * @param scopes what was asked for, which is what was granted where nothing else is said (RFC 6749 §5.1).
 * @throws UpstreamError with what its error means.
 */
export async function grant(
  endpoint: TokenEndpoint,
  {
    scopes,
    ...parameters
  }: { grant_type: string; scopes: readonly string[]; [name: string]: unknown },
  trace: Trace,
): Promise<Granted> {
  const reply = await requestTokens(endpoint, parameters, trace);
  return readTokens(reply, scopes, trace);
}

/** Sends a request to a token endpoint. */
export async function requestTokens(
  endpoint: TokenEndpoint,
  parameters: Readonly<Record<string, unknown>>,
  trace: Trace,
): Promise<Reply> {
  const { credentials, server } = endpoint;
  trace("tokens requested", {
    grant_type: parameters["grant_type"],
    authentication: credentials.methodFor(server),
  });
  const address = { what: "token endpoint", url: server.token_endpoint };
  return await sendAsClient(endpoint, address, parameters, trace);
}

/** Sends a form to one of a provider's addresses, with what proves who we are. */
export async function sendAsClient(
  { fetch, credentials, server }: TokenEndpoint,
  { what, url }: { what: string; url: string },
  parameters: Readonly<Record<string, unknown>>,
  trace: Trace,
): Promise<Reply> {
  const body = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    if (typeof value === "string") body.set(name, value);
  const headers = new Headers({ "content-type": "application/x-www-form-urlencoded" });
  await credentials.add(server, body, headers);
  return await ask(fetch, { what, url, method: "POST", headers, body }, trace);
}

/** The error in a token endpoint's answer; GitHub says it with status 200. */
export function errorOf(reply: Reply): { error: string; description: string } | undefined {
  const { error, error_description: description } = jsonOf(reply);
  if (typeof error !== "string")
    return reply.status === 200
      ? undefined
      : { error: `status ${reply.status}`, description: "without an error code" };
  return { error, description: typeof description === "string" ? description : "" };
}

function readTokens(reply: Reply, asked: readonly string[], trace: Trace): Granted {
  const refused = errorOf(reply);
  if (refused !== undefined) throw refusal(refused);
  const said = jsonOf(reply);
  const accessToken = textOf(said, "access_token");
  const type = said["token_type"];
  // LinkedIn leaves it out.
  const isBearer = type === undefined || (typeof type === "string" && /^bearer$/i.test(type));
  if (accessToken === undefined || !isBearer)
    throw new UpstreamError(
      "unavailable",
      "oauth.token",
      `The token endpoint granted no bearer token, but ${brief(Object.keys(said).join(", ")) || "nothing"}.`,
      { hint: "The token endpoint must answer as RFC 6749 §5.1 says." },
    );
  const scopes = textOf(said, "scope")?.split(/[\s,]+/) ?? asked;
  const expiresAt = expiryOf(said["expires_in"]);
  const refreshToken = textOf(said, "refresh_token");
  const idToken = textOf(said, "id_token");
  trace("tokens granted", { members: Object.keys(said).toSorted(), scopes });
  return {
    tokens: {
      accessToken,
      scopes,
      ...(refreshToken === undefined ? {} : { refreshToken }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    },
    ...(idToken === undefined ? {} : { idToken }),
  };
}

function refusal({ error, description }: { error: string; description: string }): UpstreamError {
  const reason = REASONS[error] ?? "refused";
  const said = description === "" ? "" : `: ${brief(description)}`;
  return new UpstreamError(
    reason,
    "oauth.token_error",
    `The token endpoint answered ${brief(error)}${said}.`,
    { hint: HINTS[reason] ?? "Look at the provider's own log." },
  );
}

function textOf(said: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = said[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Ten years, in seconds. */
const LONGEST_LIFE = 315_360_000;

/** Seconds since the epoch; some servers write `expires_in` as text. */
function expiryOf(expiresIn: unknown): number | undefined {
  const seconds = typeof expiresIn === "string" ? Number(expiresIn) : expiresIn;
  if (typeof seconds !== "number" || !(seconds >= 0)) return undefined;
  return Math.floor(Date.now() / 1000 + Math.min(seconds, LONGEST_LIFE));
}
