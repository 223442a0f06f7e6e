import type { IdentityProvider } from "../../models/identity-provider.ts";
import type {
  Answer,
  Connector,
  ConnectorNeeds,
  ConnectorSite,
  Departure,
  Leaving,
  Trace,
  UpstreamIdentity,
  UpstreamTokens,
} from "../connector.ts";
import { jsonOf } from "./ask.ts";
import { readCode } from "./authorization.ts";
import { Credentials } from "./credentials.ts";
import { departFor } from "./departure.ts";
import { addressOf, askWithToken, primaryAddress, subjectOf, type Claims } from "./person.ts";
import type { Oauth2Settings } from "./settings.ts";
import { grant, type TokenEndpoint } from "./tokens.ts";
import { tryOauth2 } from "./trial.ts";

/**
 * A vendor that speaks OAuth 2.0 and has an API that says to whom an access token belongs. Nothing it says is signed:
 * that its own servers say it to us is all the proof there is. None of them proves a fresh sign-in.
 */
export class Oauth2Connector implements Connector {
  readonly #provider: IdentityProvider;
  readonly #settings: Oauth2Settings;
  readonly #site: ConnectorSite;
  readonly #endpoint: TokenEndpoint;

  constructor(
    provider: IdentityProvider,
    settings: Oauth2Settings,
    site: ConnectorSite,
    { fetch, seal }: ConnectorNeeds,
  ) {
    this.#provider = provider;
    this.#settings = settings;
    this.#site = site;
    const issuer = provider.issuer ?? new URL(settings.authorization_endpoint).origin;
    const server = { issuer, token_endpoint: settings.token_endpoint };
    this.#endpoint = { fetch, server, credentials: new Credentials(provider, settings, seal) };
  }

  async leave(departure: Departure, trace: Trace): Promise<Leaving> {
    const settings = this.#settings;
    const { clientId } = this.#endpoint.credentials;
    const { authorization_endpoint } = settings;
    const destination = { settings, clientId, site: this.#site, authorization_endpoint };
    return await departFor(destination, departure, trace);
  }

  async arrive(answer: Answer, trace: Trace): Promise<UpstreamIdentity> {
    const { issuer } = this.#provider;
    const isIssuer = issuer === null ? undefined : (iss: string) => iss === issuer;
    const code = readCode(answer, { isIssuer, mustNameIssuer: false }, trace);
    const request = {
      grant_type: "authorization_code",
      code,
      redirect_uri: this.#site.callback,
      code_verifier: answer.secrets["code_verifier"],
      scopes: this.#settings.scopes,
    };
    const { tokens } = await grant(this.#endpoint, request, trace);
    const claims = await this.#claimsFor(tokens.accessToken, trace);
    return {
      issuer: this.#endpoint.server.issuer,
      subject: subjectOf(claims, this.#settings.subject_claims),
      ...addressOf(claims, this.#provider),
      claims,
      tokens,
    };
  }

  async refresh(refreshToken: string): Promise<UpstreamTokens> {
    const { scopes } = this.#settings;
    const request = { grant_type: "refresh_token", refresh_token: refreshToken, scopes };
    return (await grant(this.#endpoint, request, () => undefined)).tokens;
  }

  async test(trace: Trace): Promise<void> {
    await tryOauth2(this.#endpoint, this.#settings, this.#site, trace);
  }

  async #claimsFor(accessToken: string, trace: Trace): Promise<Claims> {
    const { userinfo_endpoint: url, emails_endpoint: emailsUrl } = this.#settings;
    const { fetch } = this.#endpoint;
    const about = await askWithToken(fetch, { what: "userinfo endpoint", url, accessToken }, trace);
    const claims = jsonOf(about);
    trace("person described", { claims: Object.keys(claims).toSorted() });
    if (emailsUrl === undefined) return claims;
    const question = { what: "emails endpoint", url: emailsUrl, accessToken };
    const emails = primaryAddress(await askWithToken(fetch, question, trace));
    trace("addresses read", { verifiedPrimary: "email" in emails });
    // The address of a public profile is whatever somebody typed.
    const { email: _typed, ...rest } = claims;
    return { ...rest, ...emails };
  }
}
