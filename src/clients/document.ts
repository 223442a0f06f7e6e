import { errors } from "../errors.ts";
import type { Issuer } from "../issuers.ts";
import { usesSecret } from "./metadata.ts";
import { parseClientMetadata, registeredMetadata, SCOPES } from "./schema.ts";

/*
 * Clients that nobody registered: their identifier is the address of a document that says what others register
 * (draft-ietf-oauth-client-id-metadata-document-02).
 */

const MAX_LENGTH = 512;
/** What a client may do that nobody has seen before: sign people in, and stay connected if they allow it. */
const GRANTS = ["authorization_code", "refresh_token"];
const SECRETS = ["client_secret", "client_secret_expires_at"];

/**
 * Whether an identifier is the address of a document (§3): https, spelled as a URL parser spells it (which leaves a
 * path, and no dot segments, other spellings of a host, or backslashes), without fragment, user name or password.
 * Addresses are compared character by character, so that one document cannot be many clients.
 */
export function isDocumentAddress(clientId: string): boolean {
  const url = clientId.length > MAX_LENGTH ? null : URL.parse(clientId);
  return (
    url !== null &&
    url.href === clientId &&
    url.protocol === "https:" &&
    url.username === "" &&
    url.password === "" &&
    !clientId.includes("#")
  );
}

/** Whether the operator takes documents from a host: by its name, below `*.example.com`, or with `*` from any. */
export function isHostAllowed(address: string, hosts: readonly string[]): boolean {
  const { hostname } = new URL(address);
  return hosts.some((host) =>
    host.startsWith("*.") ? hostname.endsWith(host.slice(1)) : host === "*" || host === hostname,
  );
}

/**
 * The metadata in the document at an address (§4, §4.1). Of lists that name what we do not offer, the rest is taken, as
 * documents are written for many servers; everything else is held to what any client is held to.
 *
 * @throws AppError `invalid_client_metadata` with everything that is wrong.
 */
export function readDocument(
  text: string,
  address: string,
  { preset, registrationTypes }: Pick<Issuer, "preset" | "registrationTypes">,
): Record<string, unknown> {
  const document = parse(text);
  if (document["client_id"] !== address)
    throw errors.invalidClientMetadata("client_id must be the address of the document");
  for (const field of SECRETS)
    if (field in document)
      throw errors.invalidClientMetadata(
        `${field} must not be in a document that anybody can read`,
      );
  const { token_endpoint_auth_method: method = "none" } = document;
  if (method !== "none" && method !== "private_key_jwt")
    throw errors.invalidClientMetadata(
      "token_endpoint_auth_method must be none or private_key_jwt, because a document keeps no secret",
    );
  // It says with whom the client shares its subjects, and nobody has asked the others.
  if ("sector_identifier_uri" in document)
    throw errors.invalidClientMetadata("sector_identifier_uri must not be in a document");
  const offered = registeredMetadata({
    client_name: new URL(address).host,
    ...document,
    token_endpoint_auth_method: method,
    grant_types: known(document["grant_types"], GRANTS) ?? ["authorization_code"],
    response_types: undefined,
    scope: knownScope(document["scope"]),
    authorization_details_types: known(document["authorization_details_types"], registrationTypes),
    ...(preset.takesRequestsByReference ? {} : { request_uris: undefined }),
    ...(preset.frontchannelLogout
      ? {}
      : { frontchannel_logout_uri: undefined, frontchannel_logout_session_required: undefined }),
  });
  if (usesSecret(parseClientMetadata(offered, preset)))
    throw errors.invalidClientMetadata("no algorithm must work with a secret, so choose others");
  return offered;
}

function parse(text: string): Record<string, unknown> {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw errors.invalidClientMetadata(`the document is no JSON: ${(cause as Error).message}`);
  }
  if (typeof document !== "object" || document === null || Array.isArray(document))
    throw errors.invalidClientMetadata("the document must be a JSON object");
  return { ...document };
}

function known(list: unknown, offered: readonly string[]): unknown {
  return Array.isArray(list) ? list.filter((item) => offered.includes(item as string)) : list;
}

function knownScope(scope: unknown): unknown {
  if (typeof scope !== "string") return scope;
  const words = scope.split(" ").filter((word) => (SCOPES as readonly string[]).includes(word));
  return words.length === 0 ? undefined : words.join(" ");
}
