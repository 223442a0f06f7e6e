import { randomBytes } from "node:crypto";
import type { Context } from "koa";
import type { Knex } from "knex";
import { errors, type Client, type Interaction, type Provider } from "oidc-provider";
import { defer } from "../database/transaction.ts";
import { originOf } from "../http/origin.ts";
import type { Issuer } from "../issuers.ts";
import { Session, type SignIn } from "../models/session.ts";
import { INTERACTION_LIFETIME, sessionLifetime } from "./lifetimes.ts";

/** Names our own pages where an interaction names its client; no client can be registered under it. */
const OWN_PAGES = "urn:lintel:pages";

export interface OwnSignInNeeds {
  readonly knex: Knex;
  readonly engine: { readonly provider: Provider };
  readonly issuer: Issuer;
  readonly productName: string;
}

/**
 * Sign-ins for pages of our own, which are no client of anybody: the same interaction as for a client, with the same
 * steps, and at its end the session, but no code. What the profile of an issuer demands of clients is not demanded
 * here, because nothing is issued.
 */
export class OwnSignIns {
  readonly #needs: OwnSignInNeeds;
  readonly #clients = new WeakMap<Provider, Client>();

  constructor(needs: OwnSignInNeeds) {
    this.#needs = needs;
  }

  /** What stands for our own pages where a client is expected, if it is they who are named. */
  named(clientId: string): Client | undefined {
    const { engine, issuer, productName } = this.#needs;
    if (clientId !== OWN_PAGES) return undefined;
    const known = this.#clients.get(engine.provider);
    if (known !== undefined) return known;
    const { Client: EngineClient } = engine.provider as unknown as {
      Client: new (metadata: object) => Client;
    };
    const client = new EngineClient({
      client_id: OWN_PAGES,
      client_name: productName,
      first_party: true,
      grant_types: [],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: "private_key_jwt",
      jwks_uri: `${issuer.url}/jwks`,
    });
    this.#clients.set(engine.provider, client);
    return client;
  }

  /** Who is signed in on the browser that asks. */
  async signedIn(ctx: Context): Promise<string | undefined> {
    return (await this.#needs.engine.provider.Session.get(ctx)).accountId;
  }

  /**
   * Begins a sign-in that leads back to one of our pages, and answers where the browser goes.
   *
   * @param back.to the page, below the issuer's own path.
   * @param back.progress how far the person has come already, in the words of the interaction.
   */
  async begin(
    ctx: Context,
    back: { to: string; occasion: "no_session" | "confirm" | "another"; progress?: object },
  ): Promise<string> {
    const { engine, issuer } = this.#needs;
    const { provider } = engine;
    const session = await provider.Session.get(ctx);
    const uid = randomBytes(32).toString("base64url");
    const here = `${issuer.path}/interaction/${uid}`;
    const { Interaction: EngineInteraction } = provider as unknown as {
      Interaction: new (uid: string, content: object) => Interaction;
    };
    const interaction = new EngineInteraction(uid, {
      returnTo: `${here}/own`,
      prompt: { name: "login", reasons: [back.occasion], details: {} },
      params: { client_id: OWN_PAGES, return_to: back.to },
      session,
      cid: uid,
      ...(back.occasion === "another" ? { result: { progress: { account: "another" } } } : {}),
      ...(back.progress === undefined ? {} : { result: { progress: back.progress } }),
    });
    await interaction.save(INTERACTION_LIFETIME);
    ctx.cookies.set(provider.cookieName("interaction"), uid, {
      ...this.#cookie,
      path: here,
      maxAge: INTERACTION_LIFETIME * 1000,
    });
    return here;
  }

  /**
   * Ends what `begin` began: the session starts, or goes on under a new cookie, and the browser goes to the page.
   *
   * @throws the engine's SessionNotFound when it ended before, or another session took the place of the one it began with.
   */
  async complete(ctx: Context, interaction: Interaction): Promise<string> {
    const { issuer, knex, engine } = this.#needs;
    const { result, session: before, params, prompt } = interaction;
    if (params["client_id"] !== OWN_PAGES)
      throw new errors.SessionNotFound("it is a client's, and ends there");
    const session = await engine.provider.Session.get(ctx);
    if (before?.uid !== undefined && before.uid !== session.uid)
      throw new errors.SessionNotFound("another session took its place");
    await interaction.destroy();
    const { login } = result ?? {};
    if (login === undefined) return `${issuer.path}/`;
    await this.#start(ctx, session, login);
    const confirmedAt =
      prompt.reasons.includes("no_session") || result?.["spared"] === true ? undefined : new Date();
    const { ipPrefix = null } = originOf(ctx);
    const userAgent = ctx.get("user-agent").slice(0, 255);
    await defer(knex, Session.noting(session.uid, { ipPrefix, userAgent, confirmedAt }));
    const signIn = result?.["signIn"] as SignIn | undefined;
    if (signIn !== undefined) await defer(knex, Session.describing(session.uid, signIn));
    if (signIn?.upstream !== undefined)
      await defer(knex, Session.connecting(session.uid, signIn.upstream));
    return `${issuer.path}${String(params["return_to"])}`;
  }

  async #start(
    ctx: Context,
    session: InstanceType<Provider["Session"]>,
    login: NonNullable<NonNullable<Interaction["result"]>["login"]>,
  ): Promise<void> {
    const { provider } = this.#needs.engine;
    const { accountId, acr, amr, ts, remember } = login;
    if (session.accountId !== undefined && session.accountId !== accountId) {
      await session.destroy();
      Object.assign(session, new provider.Session());
      session.authorizations = {};
    }
    session.loginAccount({
      accountId,
      transient: remember === false,
      ...(ts === undefined ? {} : { loginTs: ts }),
      ...(acr === undefined ? {} : { acr }),
      ...(amr === undefined ? {} : { amr }),
    });
    // A cookie of before the sign-in is worth nothing after it (T-29).
    session.jti = randomBytes(32).toString("base64url");
    const lifetime = sessionLifetime(session, this.#needs.issuer.sessionLimits);
    await session.save(lifetime);
    ctx.cookies.set(provider.cookieName("session"), session.jti, {
      ...this.#cookie,
      ...(remember === false ? {} : { expires: new Date(Date.now() + lifetime * 1000) }),
    });
  }

  get #cookie() {
    const secure = this.#needs.issuer.url.startsWith("https:");
    return { httpOnly: true, sameSite: "lax", signed: true, secure } as const;
  }
}
