import type { Client, Configuration } from "oidc-provider";
import type { SessionLimits } from "../issuers.ts";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A family of refresh tokens ends this long after its first one. */
const REFRESH_ABSOLUTE = 365 * DAY;
/** A refresh token ends this long after it was issued. */
const REFRESH_IDLE = 30 * DAY;

/** A sign-in that was begun ends after this, in seconds. */
export const INTERACTION_LIFETIME = 30 * MINUTE;

/** How long, in seconds, everything that the engine issues lives. */
export const lifetimes = (sessions: SessionLimits): NonNullable<Configuration["ttl"]> => ({
  AccessToken: accessTokenLifetime,
  AuthorizationCode: MINUTE,
  ClientCredentials: accessTokenLifetime,
  BackchannelAuthenticationRequest: (ctx) => {
    const { requested_expiry: requested } = ctx.oidc.params ?? {};
    return Math.min(10 * MINUTE, typeof requested === "string" ? Number(requested) : 5 * MINUTE);
  },
  DeviceCode: 10 * MINUTE,
  IdToken: HOUR,
  Interaction: INTERACTION_LIFETIME,
  Session: (_ctx, session) => sessionLifetime(session, sessions),
  RefreshToken: (_ctx, token, client) =>
    remaining(
      token.iiat,
      REFRESH_ABSOLUTE,
      ownLifetime(client, "refresh_token_lifetime") ?? REFRESH_IDLE,
    ),
  // A grant outlives everything issued under it: it is revoked, it does not run out. Only offline access outlives
  // the session.
  Grant: (_ctx, grant) =>
    DAY +
    (grant.getOIDCScopeEncountered().includes("offline_access")
      ? REFRESH_ABSOLUTE
      : sessions.kept.absolute),
});

/**
 * How many seconds a session lives from now on, if it is not used again: what its row says, whatever its cookie does
 * (T-28). A visitor who opens the sign-out page gets one that knows nobody; it need not live long.
 */
export function sessionLifetime(
  session: {
    readonly accountId?: string | undefined;
    readonly loginTs?: number | undefined;
    readonly transient?: boolean | undefined;
  },
  limits: SessionLimits,
): number {
  if (session.accountId === undefined) return 10 * MINUTE;
  const { absolute, idle } = session.transient === true ? limits.unkept : limits.kept;
  return remaining(session.loginTs, absolute, idle);
}

/** What the operator decided for the client and for the API; of both the shorter. */
function accessTokenLifetime(
  _ctx: unknown,
  token: { readonly resourceServer?: { readonly accessTokenTTL?: number | undefined } | undefined },
  client: Client,
): number {
  const decided = [
    token.resourceServer?.accessTokenTTL,
    ownLifetime(client, "access_token_lifetime"),
  ].filter((seconds) => seconds !== undefined);
  return decided.length === 0 ? 10 * MINUTE : Math.min(...decided);
}

/** What the operator decided for one client. */
function ownLifetime(
  client: Client,
  field: "access_token_lifetime" | "refresh_token_lifetime",
): number | undefined {
  const seconds = client[field];
  return typeof seconds === "number" ? seconds : undefined;
}

/** What is left of an absolute life that began at `since`, but no more than the idle limit. */
function remaining(since: number | undefined, absolute: number, idle: number): number {
  const age = since === undefined ? 0 : Math.floor(Date.now() / 1000) - since;
  return Math.max(1, Math.min(idle, absolute - age));
}
