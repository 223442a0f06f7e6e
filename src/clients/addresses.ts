import ipaddr from "ipaddr.js";
import { z } from "zod";

const MAX_LENGTH = 2_000;
/** OIDC Core §6.2: what every browser and server passes on. */
const MAX_REQUEST_URI = 512;
const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** The characters of RFC 3986 §2 without `*`: no space, no control character, no backslash, nothing beyond ASCII. */
const URI = /^[A-Za-z0-9\-._~:/?#[\]@!$&'()+,;=%]+$/;
const WEB = /^https?:\/\/([^/?#]+)/i;
const SCHEME = /^([a-z][a-z0-9+.-]*):/i;

/** What is wrong with an address, and what to do about it; `undefined` where nothing is. */
type Problem = string | undefined;

/**
 * An address people are sent back to (RFC 6749 §3.1.2, RFC 8252 §7): https, or http on this machine, or a scheme of
 * the application's own that contains a dot. Who may use the last is the schema's business.
 */
export const redirectUri = address(redirectProblem);

/** An address that is shown to people or fetched: https and nothing else. */
export const httpsUri = address(httpsProblem);

/**
 * An address of the client's server that we call or show in a frame (OIDC Back-Channel Logout §2.2, Front-Channel
 * Logout §2): https, or http on this machine.
 */
export const serviceUri = address((value) => fragmentProblem(value) ?? serviceProblem(value));

/**
 * Where a request object is (OIDC Core §6.2): https, or http on this machine. A fragment is the base64url SHA-256 of
 * what is there, so that it need not be fetched twice.
 */
export const requestUri = address((value) => {
  if (value.length > MAX_REQUEST_URI) return `must have at most ${MAX_REQUEST_URI} characters`;
  if (!/^[^#]*(#[\w-]{43})?$/.test(value))
    return "must have no fragment, or the base64url SHA-256 hash of its content as one";
  return serviceProblem(value);
});

/** A picture that a page may show. Its host is public, so that nobody's browser is sent into a private network. */
export const pictureUri = address(
  (value) =>
    httpsProblem(value) ??
    (isPublicHost(new URL(value).hostname) ? undefined : "must be on a public host"),
);

/** The origin of a browser application, exactly as its browser sends it (RFC 6454 §6.1). */
export const origin = address((value) => {
  const url = URL.parse(value);
  if (url === null || url.origin !== value)
    return "must be an origin such as https://app.example.com: no path, no closing slash, lower case";
  return schemeProblem(url);
});

/** Whether an address has a scheme of the application's own, so that any program on the device may claim it. */
export function hasCustomScheme(value: string): boolean {
  return !WEB.test(value);
}

/** Whether an https address names this very machine. */
export function isHttpsOnLoopback(value: string): boolean {
  const url = URL.parse(value);
  return url !== null && url.protocol === "https:" && LOOPBACK.has(url.hostname);
}

function address(check: (value: string) => Problem) {
  return z
    .string()
    .max(MAX_LENGTH, { error: `must have at most ${MAX_LENGTH} characters`, abort: true })
    .superRefine((value, context) => {
      const problem = characterProblem(value) ?? check(value);
      if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
    });
}

function characterProblem(value: string): Problem {
  if (value.includes("*")) return "must not contain *, register every address in full";
  if (!URI.test(value))
    return "must be a URL in which everything but letters, digits and URL punctuation is percent-encoded";
  return undefined;
}

function redirectProblem(value: string): Problem {
  const fragment = fragmentProblem(value);
  if (fragment !== undefined) return fragment;
  if (!hasCustomScheme(value)) return webProblem(value);
  const scheme = SCHEME.exec(value)?.[1];
  if (scheme === undefined || URL.parse(value) === null)
    return "must be an absolute URL such as https://app.example.com/callback";
  if (!scheme.includes("."))
    return "must use https, or for a native application a scheme that is a reversed domain name, such as com.example.app:/callback";
  return value.includes("@") ? "must have no user name or password" : undefined;
}

function fragmentProblem(value: string): Problem {
  return value.includes("#")
    ? "must have no fragment, so remove the # and what follows it"
    : undefined;
}

function httpsProblem(value: string): Problem {
  if (!/^https:\/\//i.test(value)) return "must use https";
  return webProblem(value);
}

function serviceProblem(value: string): Problem {
  return WEB.test(value) ? webProblem(value) : "must use https";
}

function webProblem(value: string): Problem {
  const authority = WEB.exec(value)?.[1]?.toLowerCase() ?? "";
  const url = URL.parse(value);
  if (url === null) return "must be an absolute URL such as https://app.example.com/callback";
  if (authority.includes("@")) return "must have no user name or password";
  // 127.1, %6c and a default port are other spellings, and what compares addresses would not see them as equal.
  if (authority !== url.host) return `must spell its host and port as ${url.host}`;
  return schemeProblem(url);
}

function schemeProblem(url: URL): Problem {
  if (url.protocol === "https:") return undefined;
  if (url.protocol === "http:" && LOOPBACK.has(url.hostname)) return undefined;
  return "must use https (http is for localhost, 127.0.0.1 and [::1] only)";
}

/** No name or address that only means something on this machine or in its network. Names are not looked up. */
function isPublicHost(hostname: string): boolean {
  const literal = hostname.replace(/^\[(.*)\]$/, "$1");
  if (ipaddr.isValid(literal)) return ipaddr.process(literal).range() === "unicast";
  return hostname.includes(".") && !/(^|\.)(localhost|local|internal)\.?$/.test(hostname);
}
