import { errors, Provider, type Client } from "oidc-provider";
import { sha256 } from "../lib/secret.ts";
import type { Afterwards } from "./afterwards.ts";

/** What the engine keeps pushed requests under, which it looks up by itself (RFC 9126 §2.2). */
const PUSHED = "urn:ietf:params:oauth:request_uri:";
const TIMEOUT_MS = 2_500;
const MAX_BYTES = 64 * 1024;
const MAX_CACHED = 100;

type Fetch = typeof fetch;
type Params = Record<string, unknown>;

/**
 * Request objects by reference (OIDC Core §6.2, RFC 9101 §5.2), which the engine takes by value only. An address is
 * fetched if its client registered it, and what is there takes its place. That happens where the engine has read the
 * request and just found the client: nothing is fetched for somebody who is unknown.
 */
export function fetchRequestObjects(provider: Provider, answered: Afterwards, fetch: Fetch): void {
  const { Client: clients } = provider;
  const find = clients.find.bind(clients);
  const requestObject = createReader(fetch);
  const findAndFetch = async (id: string, params: Params) => {
    const client = await find(id);
    const uri = client === undefined ? undefined : referenceIn(params, client);
    if (client === undefined || uri === undefined) return client;
    // Gone before it is fetched, so that it is not fetched again to answer with an error.
    params["request_uri"] = undefined;
    if (!isRegistered(client, uri))
      throw new errors.InvalidRequestUri("request_uri is not registered for this client");
    params["request"] = (await requestObject(uri)).trim();
    return client;
  };
  Object.assign(clients, {
    find: (id: string) => {
      const { route, params } = Provider.ctx?.oidc ?? {};
      const mayRefer = route === "authorization" && params?.["request_uri"] !== undefined;
      return mayRefer ? findAndFetch(id, params) : find(id);
    },
  });
  answered.at(["discovery"], (ctx) => {
    if (typeof ctx.body !== "object") return;
    // The engine advertises that it takes none, which no option changes.
    Object.assign(ctx.body ?? {}, {
      request_uri_parameter_supported: true,
      require_request_uri_registration: true,
    });
  });
}

/** The address in an authorization request of this client, if there is one for us to fetch. */
function referenceIn(params: Params, client: Client): string | undefined {
  const { client_id: clientId, request, request_uri: uri } = params;
  if (clientId !== client.clientId || typeof uri !== "string" || uri.startsWith(PUSHED))
    return undefined;
  // Both together, and none pushed where that is a must, the engine refuses.
  return request === undefined && !client.requirePushedAuthorizationRequests ? uri : undefined;
}

/** Exactly as registered; one that was registered without the hash of its content may come with any. */
function isRegistered(client: Client, uri: string): boolean {
  const registered: unknown = client["request_uris"];
  const [address] = uri.split("#", 1);
  return Array.isArray(registered) && (registered.includes(uri) || registered.includes(address));
}

/** Reads request objects, and remembers those whose address says what they are. */
function createReader(fetch: Fetch): (uri: string) => Promise<string> {
  const cache = new Map<string, string>();
  return async (uri) => {
    const known = cache.get(uri);
    if (known !== undefined) return known;
    const content = await read(fetch, uri);
    const [, hash] = uri.split("#");
    if (hash === undefined) return content;
    if (sha256(content).toString("base64url") !== hash)
      throw new errors.InvalidRequestUri("what is at request_uri has another hash");
    const [oldest] = cache.keys();
    if (cache.size >= MAX_CACHED && oldest !== undefined) cache.delete(oldest);
    cache.set(uri, content);
    return content;
  };
}

async function read(fetch: Fetch, uri: string): Promise<string> {
  let answer: Response;
  try {
    answer = await fetch(uri, {
      headers: { accept: "application/oauth-authz-req+jwt, application/jwt" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (cause) {
    throw new errors.InvalidRequestUri("request_uri could not be fetched", { cause });
  }
  const content = await answer.text();
  if (answer.status !== 200)
    throw new errors.InvalidRequestUri("request_uri did not answer with a request object");
  if (Buffer.byteLength(content) > MAX_BYTES)
    throw new errors.InvalidRequestUri("what is at request_uri is too large");
  return content;
}
