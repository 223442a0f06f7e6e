import type { Knex } from "knex";
import type { IdentityProvider } from "../../models/identity-provider.ts";
import {
  UpstreamError,
  type Answer,
  type Connector,
  type ConnectorNeeds,
  type ConnectorSite,
  type Departure,
  type Leaving,
  type Trace,
  type UpstreamIdentity,
  type UpstreamLogout,
  type UpstreamSession,
  type UpstreamTokens,
} from "../connector.ts";
import { jsonOf, type Reply } from "./ask.ts";
import { readCode } from "./authorization.ts";
import { Credentials } from "./credentials.ts";
import { isEncrypted, openToken } from "./decryption.ts";
import { departFor, withOpenId, withParameters } from "./departure.ts";
import { verifyIdToken, type IdTokenClaims } from "./id-token.ts";
import { Issuer, verifyToken } from "./jwt.ts";
import { ProviderKeys } from "./keys.ts";
import { verifyLogoutToken } from "./logout-token.ts";
import { readMetadata, type ProviderMetadata } from "./metadata.ts";
import { addressOf, askWithToken, merged, namesOf, subjectOf, type Claims } from "./person.ts";
import { mustPush, pushed } from "./pushed.ts";
import { Remembered } from "./remembered.ts";
import { ID_TOKEN_ALGORITHMS, type OidcSettings } from "./settings.ts";
import { grant, type TokenEndpoint } from "./tokens.ts";
import { tryOidc } from "./trial.ts";

const METADATA_FRESH_FOR = 60 * 60_000;
const quiet: Trace = () => undefined;

/** An OpenID provider (OIDC Core §3.1), as its metadata and its connection describe it. */
export class OidcConnector implements Connector {
  readonly #provider: IdentityProvider;
  readonly #settings: OidcSettings;
  readonly #site: ConnectorSite;
  readonly #fetch: typeof fetch;
  readonly #knex: Knex;
  readonly #credentials: Credentials;
  readonly #issuer: Issuer;
  readonly #metadata: Remembered<ProviderMetadata>;
  readonly #keys: ProviderKeys;

  constructor(
    provider: IdentityProvider,
    settings: OidcSettings,
    site: ConnectorSite,
    { fetch, seal, knex }: ConnectorNeeds,
  ) {
    this.#provider = provider;
    this.#settings = settings;
    this.#site = site;
    this.#fetch = fetch;
    this.#knex = knex;
    this.#credentials = new Credentials(provider, settings, seal);
    this.#issuer = new Issuer(provider.issuer ?? "", settings.allowed_tenants);
    const source = { fetch, issuer: this.#issuer.name, settings };
    this.#metadata = new Remembered((trace) => readMetadata(source, trace), METADATA_FRESH_FOR);
    this.#keys = new ProviderKeys(
      fetch,
      async (trace) => (await this.#metadata.get(trace)).jwks_uri,
    );
  }

  async leave(departure: Departure, trace: Trace): Promise<Leaving> {
    const metadata = await this.#metadata.get(trace);
    const { clientId } = this.#credentials;
    const destination = { ...metadata, settings: this.#settings, clientId, site: this.#site };
    const leaving = withOpenId(
      await departFor(destination, departure, trace),
      this.#settings,
      departure.fresh === true,
    );
    if (!mustPush(this.#settings, metadata)) return leaving;
    return await pushed(this.#endpointOf(metadata), metadata, leaving, trace);
  }

  async arrive(answer: Answer, trace: Trace): Promise<UpstreamIdentity> {
    const metadata = await this.#metadata.get(trace);
    const rules = {
      isIssuer: (iss: string) => this.#issuer.includes(iss),
      mustNameIssuer: metadata.authorization_response_iss_parameter_supported === true,
    };
    const code = readCode(answer, rules, trace);
    const request = {
      grant_type: "authorization_code",
      code,
      redirect_uri: this.#site.callback,
      code_verifier: answer.secrets["code_verifier"],
      scopes: this.#settings.scopes,
    };
    const { tokens, idToken: granted = "" } = await grant(
      this.#endpointOf(metadata),
      request,
      trace,
    );
    const idToken = granted === "" ? "" : await this.#opened(granted, "ID token", true);
    const token = await verifyIdToken(
      idToken,
      this.#keys.finder(trace),
      { ...this.#expected("ID token"), settings: this.#settings, secrets: answer.secrets },
      trace,
    );
    const userinfo = await this.#userinfo(metadata, token, tokens.accessToken, trace);
    const names = this.#settings.user_parameter ? namesOf(answer.parameters["user"]) : {};
    const claims = { ...names, ...merged(token, userinfo) };
    return { ...this.#identityOf(token, claims), ...sessionOf(token, idToken), tokens };
  }

  async refresh(refreshToken: string): Promise<UpstreamTokens> {
    const { scopes } = this.#settings;
    const endpoint = this.#endpointOf(await this.#metadata.get(quiet));
    const request = { grant_type: "refresh_token", refresh_token: refreshToken, scopes };
    return (await grant(endpoint, request, quiet)).tokens;
  }

  /** RP-Initiated Logout §2; nothing where the provider knows none. */
  async signOut({ idToken }: UpstreamSession, state: string): Promise<Leaving["to"] | undefined> {
    if (!this.#settings.sign_out) return undefined;
    const { end_session_endpoint: endpoint } = await this.#metadata.get(quiet);
    if (endpoint === undefined) return undefined;
    const url = withParameters(endpoint, {
      id_token_hint: idToken,
      client_id: this.#credentials.clientId,
      post_logout_redirect_uri: this.#site.signedOut,
      state,
    });
    return { url };
  }

  async readLogout(answer: Omit<Answer, "secrets">, trace: Trace): Promise<UpstreamLogout> {
    const context = {
      keys: this.#keys.finder(trace),
      expected: this.#expected("logout token"),
      knex: this.#knex,
      providerId: this.#provider.id,
      subjectClaims: this.#settings.subject_claims,
    };
    const { logout_token: token = "" } = answer.parameters;
    const opened = isEncrypted(token)
      ? { logout_token: await this.#opened(token, "logout token", false) }
      : {};
    const parameters = { ...answer.parameters, ...opened };
    return await verifyLogoutToken({ ...answer, parameters }, context, trace);
  }

  async test(trace: Trace): Promise<void> {
    const metadata = await this.#metadata.renew(trace);
    await tryOidc(
      {
        metadata,
        keys: await this.#keys.all(trace),
        endpoint: this.#endpointOf(metadata),
        settings: this.#settings,
        site: this.#site,
        algorithms: this.#algorithms,
      },
      trace,
    );
  }

  /** Our keys, for the provider to verify our assertions with, and to encrypt for (RFC 7517 §5). */
  describe(): Promise<{ type: string; body: string }> {
    const keys = this.#credentials.publicKeys();
    return Promise.resolve({ type: "application/jwk-set+json", body: JSON.stringify(keys) });
  }

  get #algorithms(): readonly string[] {
    const { id_token_signed_response_alg: chosen } = this.#settings;
    return chosen === undefined ? ID_TOKEN_ALGORITHMS : [chosen];
  }

  #endpointOf(server: ProviderMetadata): TokenEndpoint {
    return { fetch: this.#fetch, credentials: this.#credentials, server };
  }

  #expected(what: string) {
    return {
      what,
      issuer: this.#issuer,
      clientId: this.#credentials.clientId,
      trustedAudiences: this.#settings.trusted_audiences,
      algorithms: this.#algorithms,
      requiredClaims: ["iss", "sub", "aud", "exp", "iat"],
    };
  }

  /** What the userinfo endpoint says of the same person (OIDC Core §5.3). */
  async #userinfo(
    metadata: ProviderMetadata,
    token: IdTokenClaims,
    accessToken: string,
    trace: Trace,
  ): Promise<Claims> {
    const { userinfo_endpoint: url } = metadata;
    if (url === undefined || !this.#settings.userinfo) return {};
    const question = { what: "userinfo endpoint", url, accessToken };
    const reply = await askWithToken(this.#fetch, question, trace);
    const isToken = /^application\/jwt\s*(;|$)/i.test(reply.headers.get("content-type") ?? "");
    const said = isToken ? await this.#userinfoIn(reply, trace) : jsonOf(reply);
    if (said["sub"] !== token.sub)
      throw new UpstreamError(
        "invalid",
        "oidc.userinfo_sub",
        "The userinfo endpoint speaks of somebody else than the ID token (OIDC Core §5.3.2).",
        { hint: "The provider is at fault, or what lies between here and there." },
      );
    trace("userinfo read", { claims: Object.keys(said).toSorted() });
    return said;
  }

  /** Signed, encrypted, or both; what is only encrypted is as good as JSON (OIDC Core §5.3.2). */
  async #userinfoIn(reply: Reply, trace: Trace): Promise<Claims> {
    const jwt = await this.#opened(reply.text, "userinfo answer", false);
    if (isEncrypted(reply.text) && jwt.startsWith("{")) return jsonOf({ ...reply, text: jwt });
    const expected = {
      ...this.#expected("userinfo answer"),
      requiredClaims: ["iss", "aud", "sub"],
    };
    return await verifyToken(jwt, this.#keys.finder(trace), expected, trace);
  }

  #opened(token: string, what: string, mustBe: boolean): Promise<string> {
    return openToken(token, this.#credentials.decryption, { what, mustBe });
  }

  #identityOf(token: IdTokenClaims, claims: Claims) {
    return {
      issuer: token.iss,
      subject: subjectOf(token, this.#settings.subject_claims),
      ...addressOf(claims, this.#provider),
      claims,
    };
  }
}

/** How the person signed in there, and what a logout will name it by. */
function sessionOf(token: IdTokenClaims, idToken: string) {
  const { acr, amr, auth_time: authTime, sid } = token;
  return {
    ...(typeof acr === "string" ? { acr } : {}),
    ...(Array.isArray(amr) ? { amr: amr.filter((method) => typeof method === "string") } : {}),
    ...(typeof authTime === "number" ? { authTime } : {}),
    session: { idToken, ...(typeof sid === "string" ? { index: sid } : {}) },
  };
}
