import { Router } from "@koa/router";
import { EncryptJWT, decodeJwt, jwtDecrypt } from "jose";
import Koa, { type Context } from "koa";
import * as client from "openid-client";
import { sha256 } from "../lib/secret.ts";
import { demoPage, DEMO_CSS } from "./relying-party-page.ts";

/** What the demo needs to know: exactly what any relying party is given when it is registered. */
export interface RelyingPartySettings {
  issuer: string;
  /** The demo's own origin. */
  origin: string;
  clientId: string;
  clientSecret: string;
}

/** What the demo remembers of a person, in an encrypted cookie of its own. */
interface DemoSession {
  idToken: string;
  accessToken: string;
  refreshToken?: string;
  refreshedAt?: string;
}

/** What must survive the trip to the identity provider and back. */
interface PendingSignIn {
  state: string;
  nonce: string;
  codeVerifier: string;
}

const SESSION_COOKIE = "demo_session";
const PENDING_COOKIE = "demo_pending";

/**
 * A relying party as its developer would write it, on openid-client: authorization code with PKCE, state and nonce,
 * userinfo, refresh, and sign-out that ends at the provider too. It knows Lintel only by its discovery document.
 */
export function relyingParty(settings: RelyingPartySettings): Koa {
  const { issuer, origin, clientId, clientSecret } = settings;
  const redirectUri = `${origin}/callback`;
  const cookieKey = sha256(`demo cookies ${clientSecret}`);
  let discovered: Promise<client.Configuration> | undefined;

  /** Reads the provider's metadata once; a failure is not remembered. */
  function provider(): Promise<client.Configuration> {
    discovered ??= client
      .discovery(
        new URL(issuer),
        clientId,
        { client_secret: clientSecret, id_token_signed_response_alg: "ES256" },
        client.ClientSecretBasic(clientSecret),
        issuer.startsWith("http:") ? { execute: [client.allowInsecureRequests] } : {},
      )
      .catch((error: unknown) => {
        discovered = undefined;
        throw error;
      });
    return discovered;
  }

  async function seal(ctx: Context, cookie: string, value: object | undefined): Promise<void> {
    const options = { httpOnly: true, sameSite: "lax", path: "/" } as const;
    if (value === undefined) {
      ctx.cookies.set(cookie, "", { ...options, maxAge: 0 });
      return;
    }
    const text = await new EncryptJWT({ value })
      .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
      .setAudience(cookie)
      .setExpirationTime("14 days")
      .encrypt(cookieKey);
    ctx.cookies.set(cookie, text, { ...options, maxAge: 14 * 24 * 3600 * 1000 });
  }

  async function open<T>(ctx: Context, cookie: string): Promise<T | undefined> {
    const text = ctx.cookies.get(cookie);
    if (!text) return undefined;
    try {
      const { payload } = await jwtDecrypt(text, cookieKey, { audience: cookie });
      return payload["value"] as T;
    } catch {
      return undefined;
    }
  }

  const router = new Router();

  router.get("/", async (ctx: Context) => {
    const session = await open<DemoSession>(ctx, SESSION_COOKIE);
    if (session === undefined) {
      ctx.body = demoPage({ issuer });
      return;
    }
    const claims = decodeJwt(session.idToken);
    let userinfo: object | undefined;
    try {
      userinfo = await client.fetchUserInfo(
        await provider(),
        session.accessToken,
        claims.sub ?? client.skipSubjectCheck,
      );
    } catch {
      // The access token is short-lived by design; the page then offers to refresh it.
    }
    ctx.body = demoPage({ issuer, session: { ...session, claims, userinfo } });
  });

  router.get("/login", async (ctx: Context) => {
    const configuration = await provider();
    const pending: PendingSignIn = {
      state: client.randomState(),
      nonce: client.randomNonce(),
      codeVerifier: client.randomPKCECodeVerifier(),
    };
    await seal(ctx, PENDING_COOKIE, pending);
    const prompt = ctx.query["prompt"];
    const address = client.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: "openid profile email",
      state: pending.state,
      nonce: pending.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(pending.codeVerifier),
      code_challenge_method: "S256",
      ...(typeof prompt === "string" ? { prompt } : {}),
    });
    ctx.redirect(address.href);
  });

  router.get("/callback", async (ctx: Context) => {
    const pending = await open<PendingSignIn>(ctx, PENDING_COOKIE);
    await seal(ctx, PENDING_COOKIE, undefined);
    if (pending === undefined) {
      ctx.redirect("/");
      return;
    }
    const answer = new URL(ctx.originalUrl, origin);
    const tokens = await client.authorizationCodeGrant(await provider(), answer, {
      pkceCodeVerifier: pending.codeVerifier,
      expectedState: pending.state,
      expectedNonce: pending.nonce,
      idTokenExpected: true,
    });
    await seal(ctx, SESSION_COOKIE, sessionFrom(tokens));
    ctx.redirect("/");
  });

  router.post("/refresh", async (ctx: Context) => {
    const session = await open<DemoSession>(ctx, SESSION_COOKIE);
    if (session?.refreshToken !== undefined) {
      const tokens = await client.refreshTokenGrant(await provider(), session.refreshToken);
      await seal(ctx, SESSION_COOKIE, {
        ...session,
        ...sessionFrom(tokens, session.idToken),
        refreshedAt: new Date().toISOString(),
      });
    }
    ctx.status = 303;
    ctx.redirect("/");
  });

  router.post("/logout", async (ctx: Context) => {
    const session = await open<DemoSession>(ctx, SESSION_COOKIE);
    await seal(ctx, SESSION_COOKIE, undefined);
    ctx.status = 303;
    if (session === undefined) {
      ctx.redirect("/");
      return;
    }
    const address = client.buildEndSessionUrl(await provider(), {
      id_token_hint: session.idToken,
      post_logout_redirect_uri: `${origin}/`,
    });
    ctx.redirect(address.href);
  });

  router.get("/demo.css", (ctx: Context) => {
    ctx.type = "css";
    ctx.body = DEMO_CSS;
  });

  const app = new Koa();
  app.silent = true;
  app.use(async (ctx, next) => {
    ctx.set(
      "Content-Security-Policy",
      "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
    );
    ctx.set("Cache-Control", "no-store");
    ctx.set("Referrer-Policy", "same-origin");
    ctx.type = "html";
    if (ctx.method === "POST" && ctx.get("origin") !== origin) ctx.throw(403);
    try {
      await next();
    } catch (error) {
      ctx.status = 502;
      ctx.body = demoPage({ issuer, problem: describe(error) });
    }
  });
  app.use(router.routes());
  return app;
}

function sessionFrom(tokens: client.TokenEndpointResponse, previousIdToken?: string): DemoSession {
  const idToken = tokens.id_token ?? previousIdToken;
  if (idToken === undefined) throw new Error("The provider sent no ID token.");
  return {
    idToken,
    accessToken: tokens.access_token,
    ...(tokens.refresh_token === undefined ? {} : { refreshToken: tokens.refresh_token }),
  };
}

/** What went wrong, in the words of the specification where the provider used them. */
function describe(error: unknown): string {
  if (
    error instanceof client.AuthorizationResponseError ||
    error instanceof client.ResponseBodyError
  ) {
    return [error.error, error.error_description].filter(Boolean).join(": ");
  }
  return error instanceof Error ? error.message : "Something went wrong.";
}
