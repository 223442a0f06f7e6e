import type { Config } from "../config.ts";
import type { Check } from "./doctor.ts";

const TIMEOUT = 5_000;
const name = "outside";

/**
 * Asks for the discovery document at the issuer's address, as a client does (OpenID Connect Discovery §4), and looks
 * for the traces of a proxy that changes host or scheme.
 */
export async function checkDiscovery({ issuer, mode }: Config): Promise<Check[]> {
  const address = `${issuer}/.well-known/openid-configuration`;
  let metadata: Record<string, unknown>;
  try {
    // The issuer is the operator's own and may be in a private network, so this is not a case for safeFetch.
    const response = await fetch(address, {
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT),
      headers: { accept: "application/json" },
    });
    if (response.status !== 200) return [refused(address, issuer, response.status)];
    metadata = (await response.json()) as Record<string, unknown>;
  } catch (error) {
    return [unreachable(address, error, mode)];
  }
  return [checkIssuer(metadata, issuer), checkEndpoints(metadata, issuer)];
}

function checkIssuer(metadata: Record<string, unknown>, issuer: string): Check {
  if (metadata["issuer"] === issuer)
    return { name, status: "ok", message: `${issuer} says it is the issuer` };
  return {
    name,
    status: "fail",
    message: `the server at ${issuer} says its issuer is ${JSON.stringify(metadata["issuer"])}`,
    fix: "ISSUER must be the same, byte for byte, here and where the server runs (OpenID Connect Discovery §4.3).",
  };
}

function checkEndpoints(metadata: Record<string, unknown>, issuer: string): Check {
  const { origin } = new URL(issuer);
  const endpoints = Object.entries(metadata).filter(
    ([field, value]) => /_(endpoint|uri)$/.test(field) && typeof value === "string",
  ) as [string, string][];
  const wrong = endpoints.filter(([, value]) => URL.parse(value)?.origin !== origin);
  const [first] = wrong;
  if (first === undefined)
    return {
      name: "endpoints",
      status: "ok",
      message: `${endpoints.length} endpoints, all at ${origin}`,
    };
  return {
    name: "endpoints",
    status: "fail",
    message: `${wrong.length} endpoints are not at ${origin}, such as ${first[0]} ${first[1]}`,
    fix: "The proxy in front must pass the document on as it is, and Host and X-Forwarded-Proto as clients see them.",
  };
}

function refused(address: string, issuer: string, status: number): Check {
  if (status !== 421) return notLintel(address, `status ${status}`);
  return {
    name,
    status: "fail",
    message: `${address} reaches Lintel with another host name`,
    fix: `The proxy in front must pass on the Host header as clients send it: ${new URL(issuer).host}.`,
  };
}

function notLintel(address: string, what: string): Check {
  return {
    name,
    status: "fail",
    message: `${address} answers with ${what}`,
    fix: "The proxy in front must pass every path on to Lintel and must not redirect.",
  };
}

function unreachable(address: string, error: unknown, mode: Config["mode"]): Check {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  if (error instanceof SyntaxError) return notLintel(address, "something that is not JSON");
  const reason = cause?.code ?? cause?.message ?? message;
  return mode === "production"
    ? {
        name,
        status: "fail",
        message: `${address} does not answer (${reason})`,
        fix: "Start the server, and check DNS, certificate and proxy of the address in ISSUER.",
      }
    : {
        name,
        status: "warn",
        message: `${address} does not answer (${reason})`,
        fix: "Start the server with `lintel start` to check this as well.",
      };
}
