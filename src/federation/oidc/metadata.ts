import { z } from "zod";
import { UpstreamError, type Trace } from "../connector.ts";
import { ask, jsonOf, type Reply } from "./ask.ts";
import { brief } from "./authorization.ts";
import type { OidcSettings } from "./settings.ts";

const list = z.array(z.string()).optional();

/** What we read of a provider's metadata (OIDC Discovery §3, RFC 8414 §2, RFC 9126 §5, RFC 9207 §3, RP-Initiated Logout §2.1). */
const providerMetadata = z.object({
  issuer: z.string(),
  authorization_endpoint: z.string(),
  token_endpoint: z.string(),
  jwks_uri: z.string(),
  userinfo_endpoint: z.string().optional(),
  end_session_endpoint: z.string().optional(),
  pushed_authorization_request_endpoint: z.string().optional(),
  require_pushed_authorization_requests: z.boolean().optional(),
  token_endpoint_auth_methods_supported: list,
  code_challenge_methods_supported: list,
  id_token_signing_alg_values_supported: list,
  response_modes_supported: list,
  scopes_supported: list,
  authorization_response_iss_parameter_supported: z.boolean().optional(),
  backchannel_logout_supported: z.boolean().optional(),
});

/** A provider as it describes itself, and as its connection knows better. */
export type ProviderMetadata = z.output<typeof providerMetadata> & {
  /** Milliseconds by which its clock is ahead of ours, as it said with its metadata. */
  readonly ahead?: number;
};

const ENDPOINTS = [
  "authorization_endpoint",
  "token_endpoint",
  "jwks_uri",
  "userinfo_endpoint",
  "end_session_endpoint",
] as const;

interface Source {
  readonly fetch: typeof fetch;
  readonly issuer: string;
  readonly settings: OidcSettings;
}

/**
 * What a provider says of itself (OIDC Discovery §4), with the endpoints of the settings in place of its own.
 *
 * @throws UpstreamError `unavailable` without an answer, `misconfigured` where it is not that issuer's or is not whole.
 */
export async function readMetadata(source: Source, trace: Trace): Promise<ProviderMetadata> {
  const { issuer, settings } = source;
  const given = Object.fromEntries(
    ENDPOINTS.flatMap((name) => (settings[name] === undefined ? [] : [[name, settings[name]]])),
  );
  const reply = settings.discovery ? await fetchMetadata(source, trace) : undefined;
  const said = reply === undefined ? { issuer } : jsonOf(reply);
  const parsed = providerMetadata.safeParse({ ...said, ...given });
  if (!parsed.success) throw incomplete(parsed.error, reply);
  const metadata = parsed.data;
  if (metadata.issuer !== issuer) throw otherIssuer(issuer, metadata.issuer);
  assertSecure(metadata);
  trace("metadata read", { issuer, ...pick(metadata) });
  const ahead = reply === undefined ? undefined : aheadOf(reply);
  return ahead === undefined ? metadata : { ...metadata, ahead };
}

async function fetchMetadata({ fetch, issuer, settings }: Source, trace: Trace): Promise<Reply> {
  const url =
    settings.discovery_url ?? `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const reply = await ask(fetch, { what: "discovery document", url }, trace);
  if (reply.status === 200) return reply;
  throw new UpstreamError(
    "misconfigured",
    "oidc.discovery",
    `There is no discovery document at ${url}: status ${reply.status} instead of 200.`,
    {
      hint: "Check the issuer, or give discovery_url; with discovery off the endpoints are given by hand.",
    },
  );
}

/** OIDC Discovery §4.3: whose metadata it is must be who was asked for, letter by letter. */
function otherIssuer(expected: string, came: string): UpstreamError {
  return new UpstreamError(
    "misconfigured",
    "oidc.discovery_issuer",
    `The discovery document is of the issuer ${brief(came)}, and ${expected} was expected.`,
    { hint: `If ${brief(came)} is right, make it the issuer of the connection, letter by letter.` },
  );
}

function incomplete(error: z.ZodError, reply: Reply | undefined): UpstreamError {
  const fields = error.issues.map(({ path }) => path.join("."));
  return new UpstreamError(
    "misconfigured",
    "oidc.discovery",
    `The metadata ${reply === undefined ? "of the connection" : reply.url} lacks, or has in a wrong form: ${fields.join(", ")}.`,
    { hint: "Check that this is an OpenID provider, or give what is missing in the settings." },
  );
}

/** Only an issuer that is itself on this machine may have endpoints without TLS. */
function assertSecure(metadata: ProviderMetadata): void {
  const isLocal = metadata.issuer.startsWith("http:");
  for (const name of ENDPOINTS) {
    const address = metadata[name];
    if (address === undefined) continue;
    const protocol = URL.parse(address)?.protocol;
    if (protocol === "https:" || (isLocal && protocol === "http:")) continue;
    throw new UpstreamError(
      "misconfigured",
      "oidc.endpoint",
      `The ${name} is ${brief(address)}, and an https address was expected.`,
      { hint: "The provider must publish https addresses; or give this one in the settings." },
    );
  }
}

function aheadOf({ headers }: Reply): number | undefined {
  const date = Date.parse(headers.get("date") ?? "");
  return Number.isNaN(date) ? undefined : date - Date.now();
}

function pick(metadata: ProviderMetadata): Record<string, string | undefined> {
  return Object.fromEntries(ENDPOINTS.map((name) => [name, metadata[name]]));
}
