import { createPublicKey } from "node:crypto";
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet, type JWTPayload } from "jose";
import type { AccessToken, ClientCredentials, JWKS, Provider } from "oidc-provider";
import type { Preset } from "../issuers.ts";
import { wordsOf } from "../users/claims.ts";

/** An access token of ours that somebody shows us, in either format. */
export interface PresentedToken {
  readonly clientId: string;
  /** The user; none where a client asked for itself. */
  readonly accountId: string | undefined;
  readonly grantId: string | undefined;
  /** The API it is for; none where it is for userinfo. */
  readonly audience: string | undefined;
  readonly scopes: readonly string[];
  /** Seconds since the epoch. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** What it is bound to (RFC 9449 §6, RFC 8705 §3). */
  readonly jkt: string | undefined;
  readonly x5t: string | undefined;
  /** What it says besides: how the person signed in, who acts for them, and in the name of which organization. */
  readonly claims: Readonly<Record<string, unknown>>;
}

const CARRIED = ["auth_time", "acr", "amr", "act", "org_id"] as const;

/**
 * Reads access tokens that this issuer issued. What is expired, revoked, another issuer's, of a client or a user that
 * is gone, or no access token at all is `undefined`.
 */
export function tokenReader(
  provider: Provider,
  { keys }: JWKS,
  { algorithms }: Preset,
): (value: string) => Promise<PresentedToken | undefined> {
  // Verifying takes the public half only.
  const published = keys.map(({ kid, alg, ...key }) => {
    const half = createPublicKey({ key, format: "jwk" } as never).export({ format: "jwk" });
    return { ...half, kid, alg };
  });
  const keySet = createLocalJWKSet({ keys: published } as JSONWebKeySet);

  const readOpaque = async (value: string): Promise<PresentedToken | undefined> => {
    const token =
      (await provider.AccessToken.find(value)) ?? (await provider.ClientCredentials.find(value));
    return token?.isValid === true ? fromModel(token) : undefined;
  };
  const readJwt = async (value: string): Promise<PresentedToken | undefined> => {
    const verified = await jwtVerify(value, keySet, {
      issuer: provider.issuer,
      typ: "at+jwt",
      algorithms: [...algorithms],
      requiredClaims: ["sub", "aud", "client_id", "iat", "exp"],
    }).catch(() => undefined);
    if (verified === undefined) return undefined;
    const { grant_id: grantId } = verified.payload;
    const grant = typeof grantId === "string" ? await provider.Grant.find(grantId) : undefined;
    return fromClaims(verified.payload, grant?.accountId);
  };

  return async (value) => {
    const token = await (value.split(".").length === 3 ? readJwt(value) : readOpaque(value));
    if (token === undefined) return undefined;
    if ((await provider.Client.find(token.clientId)) === undefined) return undefined;
    if (token.grantId === undefined) return token;
    const grant = await provider.Grant.find(token.grantId);
    const isCovered = grant?.clientId === token.clientId && grant.accountId === token.accountId;
    return isCovered ? token : undefined;
  };
}

function fromModel(token: AccessToken | ClientCredentials): PresentedToken {
  const isPersons = token.kind === "AccessToken";
  return {
    clientId: token.clientId ?? "",
    accountId: isPersons ? token.accountId : undefined,
    grantId: isPersons ? token.grantId : undefined,
    audience: typeof token.aud === "string" ? token.aud : undefined,
    scopes: [...token.scopes],
    issuedAt: token.iat ?? 0,
    expiresAt: token.exp ?? 0,
    jkt: token.jkt,
    x5t: token["x5t#S256"],
    claims: carried(token.extra ?? {}),
  };
}

function fromClaims(claims: JWTPayload, accountId: string | undefined): PresentedToken {
  const { client_id: clientId, grant_id: grantId, aud, scope, cnf, iat = 0, exp = 0 } = claims;
  const bound = (cnf ?? {}) as Record<string, string | undefined>;
  return {
    clientId: String(clientId),
    accountId,
    grantId: typeof grantId === "string" ? grantId : undefined,
    audience: typeof aud === "string" ? aud : undefined,
    scopes: wordsOf(scope),
    issuedAt: iat,
    expiresAt: exp,
    jkt: bound["jkt"],
    x5t: bound["x5t#S256"],
    claims: carried(claims),
  };
}

function carried(claims: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    CARRIED.filter((name) => claims[name] !== undefined).map((name) => [name, claims[name]]),
  );
}
