import { lookup } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";
import type { Agent, buildConnector, RequestInit as SendInit } from "undici";
import type { Logger } from "./log.ts";

const CONNECT_MS = 3_000;
const TOTAL_MS = 5_000;
const MAX_BODY = 256 * 1024;
const MAX_REDIRECTS = 3;

/** Why an outgoing request was refused or given up. */
export type UnsafeUrlReason =
  | "url"
  | "scheme"
  | "userinfo"
  | "port"
  | "unresolved"
  | "address"
  | "redirect"
  | "too_large"
  | "timeout";

/**
 * An outgoing request that was not made, or was cut off, because its target or its answer broke a rule.
 * A `TypeError`, as `fetch` throws for everything else that goes wrong on the network.
 */
export class UnsafeUrlError extends TypeError {
  readonly reason: UnsafeUrlReason;
  constructor(reason: UnsafeUrlReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "UnsafeUrlError";
    this.reason = reason;
  }
}

/** Every address of a host name, as text. */
type Resolve = (hostname: string) => Promise<readonly string[]>;

/** Opens a connection for `options` to one of `addresses`, all of which were checked. */
export type Connect = (
  options: buildConnector.Options,
  addresses: readonly string[],
  callback: buildConnector.Callback,
) => void | Promise<void>;

/** What decides which requests leave the process. Loopback and `http:` are for development only. */
export interface SafeFetchOptions {
  /** Allow addresses of this machine, and with them every port. */
  allowLoopback?: boolean;
  /** Allow `http:` and its port 80. */
  allowHttp?: boolean;
  /** Origins that an operator vouches for: any port, and addresses that are not public. */
  trustedOrigins?: readonly string[];
  /** Milliseconds for the whole request, instead of five seconds. */
  totalMs?: number;
  resolve?: Resolve;
  connect?: Connect;
  log: Logger;
}

/**
 * Makes the only way out of the process: `fetch` for addresses that someone else chose (T-36).
 *
 * It asks for https on port 443 or 8443, no user name in the address, and a host all of whose addresses are public;
 * it connects to exactly the addresses it checked, so that a name cannot change its mind between check and use.
 * Three seconds to connect, five in all, 256 kB of decoded body. No cookies, and no proxy from the environment.
 * Redirects are refused, unless the caller passes `redirect: 'follow'` with a GET or HEAD request: then at most three
 * are followed, each held to the same rules. The answer comes with its whole body already read.
 *
 * @throws UnsafeUrlError with the broken rule; `TypeError` when the network fails; the signal's reason on abort.
 */
export function createSafeFetch(options: SafeFetchOptions): typeof fetch {
  const { log, resolve = resolveBySystem, connect = connectTo, totalMs = TOTAL_MS } = options;

  let agent: Agent | undefined;

  return async function safeFetch(input, init) {
    const deadline = AbortSignal.timeout(totalMs);
    const url = input instanceof Request ? input.url : input;
    try {
      return await follow(url, await requestOf(input, init), deadline);
    } catch (error) {
      const refused = refusal(error, deadline);
      if (refused === undefined) throw error;
      log.warn(
        { host: URL.parse(String(url))?.host, reason: refused.reason },
        "outgoing request refused",
      );
      throw refused;
    }
  };

  async function open(target: buildConnector.Options, callback: buildConnector.Callback) {
    let addresses: readonly string[];
    try {
      addresses = await checkedAddresses(target.hostname, resolve, {
        allowLoopback: options.allowLoopback === true,
        isTrusted: isTrusted(originOf(target), options),
      });
    } catch (error) {
      callback(error as Error, null);
      return;
    }
    await connect(target, addresses, callback);
  }

  async function follow(start: string | URL, init: RequestInit, deadline: AbortSignal) {
    const following = init.redirect === "follow" && isSafeMethod(init.method);
    const signal = init.signal ? AbortSignal.any([init.signal, deadline]) : deadline;
    let headers = new Headers(init.headers);
    let url = checkedUrl(start, options);
    // Loaded for the first request, in 30 ms: a server that asks nobody does without its 110 modules.
    const { Agent, fetch: send } = await import("undici");
    agent ??= new Agent({
      allowH2: false,
      headersTimeout: totalMs,
      bodyTimeout: totalMs,
      connect: (target, callback) => void open(target, callback),
    });

    for (let redirects = 0; ; redirects += 1) {
      const request = { ...init, headers, signal, dispatcher: agent, redirect: "manual" };
      // One interface under two names: Node's own copy of undici and the package.
      const answer = (await send(url, request as unknown as SendInit)) as unknown as Response;
      const location = isRedirect(answer.status) ? answer.headers.get("location") : null;
      if (location === null || init.redirect === "manual") return withWholeBody(answer, url);

      await answer.body?.cancel();
      if (!following || redirects === MAX_REDIRECTS)
        throw new UnsafeUrlError(
          "redirect",
          "The server answered with a redirect that is not followed.",
        );
      const next = checkedUrl(location, options, url);
      if (next.origin !== url.origin) headers = withoutCredentials(headers);
      url = next;
    }
  }
}

/** What to send, whichever way the caller said it. A `Request` says `follow` by itself, so only `init` can ask for it. */
async function requestOf(input: unknown, init: RequestInit = {}): Promise<RequestInit> {
  if (!(input instanceof Request)) return init;
  const { method, headers, signal } = input;
  const body = input.body === null ? null : await input.arrayBuffer();
  return { method, headers, signal, body, ...init };
}

/** The parsed address, if scheme, user information and port are allowed. */
function checkedUrl(input: string | URL, options: SafeFetchOptions, base?: URL): URL {
  const url = URL.parse(String(input), base?.href);
  if (url === null) throw new UnsafeUrlError("url", "The address is not a URL.");
  const http = url.protocol === "http:" && options.allowHttp === true;
  if (url.protocol !== "https:" && !http)
    throw new UnsafeUrlError("scheme", "The address must use https.");
  if (url.username !== "" || url.password !== "")
    throw new UnsafeUrlError("userinfo", "The address must not contain a user name or password.");

  const port = url.port || (http ? "80" : "443");
  const allowed = port === "443" || port === "8443" || (port === "80" && http);
  if (!allowed && options.allowLoopback !== true && !isTrusted(url.origin, options))
    throw new UnsafeUrlError("port", "The address must use port 443 or 8443.");
  return url;
}

function isTrusted(origin: string, { trustedOrigins = [] }: SafeFetchOptions): boolean {
  return trustedOrigins.includes(origin);
}

/** Where a connection is about to go, as an origin. */
function originOf({ protocol, hostname, port }: buildConnector.Options): string {
  const host = isIP(hostname) === 6 ? `[${hostname}]` : hostname;
  return new URL(`${protocol}//${host}:${port}`).origin;
}

/** Every address of the host, if each one may be connected to. */
async function checkedAddresses(
  hostname: string,
  resolve: Resolve,
  permissions: { allowLoopback: boolean; isTrusted: boolean },
): Promise<readonly string[]> {
  const addresses = isIP(hostname) ? [hostname] : await resolveInTime(hostname, resolve);
  if (addresses.length === 0) throw new UnsafeUrlError("unresolved", "The host has no address.");
  for (const address of addresses) {
    if (!permissions.isTrusted && !isAllowedAddress(address, permissions.allowLoopback))
      throw new UnsafeUrlError("address", "The host is not on the public internet.");
  }
  return addresses;
}

function isAllowedAddress(text: string, allowLoopback: boolean): boolean {
  if (!ipaddr.isValid(text)) return false;
  const address = ipaddr.process(text);
  const range = address.range();
  if (range === "loopback") return allowLoopback;
  if (range !== "unicast") return false;
  // Beyond 2000::/3 nothing is global yet, and old forms such as ::127.0.0.1 embed an IPv4 address (RFC 4291 §2.4).
  return address instanceof ipaddr.IPv4 || address.match(ipaddr.IPv6.parse("2000::"), 3);
}

async function resolveInTime(hostname: string, resolve: Resolve): Promise<readonly string[]> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new UnsafeUrlError("timeout", "The host name took too long to resolve.")),
    CONNECT_MS,
  );
  try {
    return await Promise.race([resolve(hostname), late.promise]);
  } catch (cause) {
    if (cause instanceof UnsafeUrlError) throw cause;
    throw new UnsafeUrlError("unresolved", "The host name does not resolve.", { cause });
  } finally {
    clearTimeout(timer);
  }
}

async function resolveBySystem(hostname: string): Promise<readonly string[]> {
  const found = await lookup(hostname, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
}

/** Connects to whichever checked address answers first; an address literal is its own, and is never looked up. */
async function connectTo(
  options: buildConnector.Options,
  addresses: readonly string[],
  callback: buildConnector.Callback,
): Promise<void> {
  const all = addresses.map((address) => ({ address, family: isIP(address) }));
  const pinned: LookupFunction = (_hostname, { all: wantsAll }, done) => {
    if (wantsAll === true) done(null, all);
    else done(null, all[0]?.address ?? "", all[0]?.family ?? 0);
  };
  const { buildConnector } = await import("undici");
  buildConnector({ timeout: CONNECT_MS, allowH2: false, lookup: pinned })(options, callback);
}

/** The same answer with its body in memory, decoded, so that neither its size nor its pace can hurt the caller. */
async function withWholeBody(answer: Response, url: URL): Promise<Response> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    size += chunk.length;
    // Leaving the loop cancels the body, which closes the connection.
    if (size > MAX_BODY) throw new UnsafeUrlError("too_large", "The answer is larger than 256 kB.");
    chunks.push(chunk);
  }
  const headers = new Headers([...answer.headers]);
  for (const name of ["content-encoding", "content-length", "transfer-encoding"])
    headers.delete(name);

  const { status, statusText } = answer;
  const body = answer.body === null ? null : Buffer.concat(chunks);
  const response = new Response(body, { status, statusText, headers });
  return Object.defineProperty(response, "url", { value: url.href });
}

/** The rule that was broken, wherever on its way up the error was wrapped. */
function refusal(error: unknown, deadline: AbortSignal): UnsafeUrlError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof UnsafeUrlError) return cause;
  }
  if (deadline.aborted && error === deadline.reason)
    return new UnsafeUrlError("timeout", "The server took too long to answer.", { cause: error });
  return undefined;
}

const isRedirect = (status: number) => [301, 302, 303, 307, 308].includes(status);
const isSafeMethod = (method = "GET") => ["GET", "HEAD"].includes(method.toUpperCase());

function withoutCredentials(headers: Headers): Headers {
  const remaining = new Headers(headers);
  for (const name of ["authorization", "cookie", "dpop"]) remaining.delete(name);
  return remaining;
}
