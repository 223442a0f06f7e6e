import { createHmac } from "node:crypto";
import type { Knex } from "knex";
import {
  Provider,
  errors,
  type Adapter,
  type Client,
  type ClientAuthMethod,
  type Configuration,
  type JWKS,
  type KoaContextWithOIDC,
} from "oidc-provider";
import { LOCALIZED_FIELDS } from "../clients/localized.ts";
import { HIDDEN, secretMatches } from "../clients/metadata.ts";
import type { Config } from "../config.ts";
import type { TypeDefinition } from "../consents/authorization-types.ts";
import { runInUnitOfWork, writer } from "../database/transaction.ts";
import { AppError } from "../errors.ts";
import { cookieSignatures } from "../http/cookie-signatures.ts";
import { problemWith } from "../http/request-limits.ts";
import type { Issuer, Preset } from "../issuers.ts";
import type { Seal } from "../keys/seal.ts";
import { newSecret, sha256 } from "../lib/secret.ts";
import { uuidv7 } from "../lib/uuid.ts";
import type { Mailer } from "../mail/mailer.ts";
import { ReplayGuard } from "../models/replay-guard.ts";
import type { ResourceCache } from "../resources/cache.ts";
import { CLAIMS_BY_SCOPE } from "../users/claims.ts";
import { ORGANIZATION_CLAIMS } from "../users/organization-claims.ts";
import type { WorkloadKeys } from "../workloads/assertion.ts";
import { findAccount } from "./account.ts";
import { assertOrganizationClaims, assertOrganizationId } from "./organizations.ts";
import { offerAccounts } from "./accounts-resource.ts";
import { Afterwards } from "./afterwards.ts";
import { adapterFactory, type Storage } from "./adapter/index.ts";
import { richAuthorizationRequests } from "./authorization-details.ts";
import { queueLogoutNotices } from "./backchannel-logout.ts";
import { clientAttestation } from "./client-attestation.ts";
import { CHECK_SESSION_PATH } from "./check-session.ts";
import { assertSignedRequest, ciba } from "./ciba.ts";
import { queuePings } from "./ciba-requests.ts";
import { sayWhatIsOffered } from "./decoupled-answers.ts";
import { deviceInfo, keepNoNewSession, type DevicePages } from "./device-pages.ts";
import type { Observer } from "./events.ts";
import { showLogoutFrames, type ShowFrames } from "./frontchannel-logout.ts";
import { loadExistingGrant } from "./grants.ts";
import { registerJwtBearer } from "./jwt-bearer.ts";
import { lifetimes } from "./lifetimes.ts";
import { understandEverySecret } from "./live-secrets.ts";
import { describeMutualTls, mutualTls } from "./mutual-tls.ts";
import { policy } from "./policy.ts";
import type { RefreshTokenFormat } from "./refresh-token-format.ts";
import { fetchRequestObjects } from "./request-objects.ts";
import {
  mayIntrospect,
  nameGrant,
  resourceIndicators,
  tokenClaims,
} from "./resource-indicators.ts";
import { forgetBrowserState, withSessionState } from "./session-state.ts";
import { signOutEverybody, type SignedInBeside } from "./sign-out-everybody.ts";
import type { ConnectionTokenNeeds } from "./connection-token.ts";
import { keepToTheLetter } from "./to-the-letter.ts";
import { signOutElsewhereToo, type SignOutElsewhere } from "./upstream-logout.ts";
import { registerTokenExchange } from "./token-exchange.ts";

/** What the engine is made from. */
export interface EngineNeeds extends Storage {
  config: Pick<Config, "locales" | "mutualTls" | "conformanceSuiteUrl">;
  issuer: Issuer;
  resources: ResourceCache;
  mailer: Mailer;
  workloadKeys: WorkloadKeys;
  fetch: typeof fetch;
  pages: Pick<Configuration, "renderError"> & {
    logoutSource: (ctx: KoaContextWithOIDC, form: string) => Promise<void>;
    postLogoutSuccessSource: (ctx: KoaContextWithOIDC) => Promise<void>;
    signingOut: ShowFrames;
  } & DevicePages;
  beside: SignedInBeside;
  observer: Observer;
  signOutElsewhere: SignOutElsewhere;
  connectors: ConnectionTokenNeeds["connectors"];
}

/**
 * The only `new Provider`. Which specifications are on, for how long things live, what is stored where: all that the
 * engine is told is on this page, and what is not named here is the engine's default.
 */
export function createProvider(
  needs: EngineNeeds,
  jwks: JWKS,
  types: ReadonlyMap<string, TypeDefinition> = new Map(),
): Provider {
  const { config, knex, seal, issuer } = needs;
  const { preset } = issuer;
  const secure = issuer.url.startsWith("https:");
  const Engine = preset.sessionManagement ? withSessionState(needs) : Provider;
  const adapter = adapterFactory(needs);
  const provider = new Engine(issuer.url, {
    adapter,
    jwks,
    ttl: lifetimes(issuer.sessionLimits),
    findAccount: findAccount(knex),
    loadExistingGrant: loadExistingGrant(knex),
    interactions: {
      policy: policy(needs),
      url: (_ctx, interaction) => `${issuer.path}/interaction/${interaction.uid}`,
    },

    responseTypes: [...preset.responseTypes],
    // A client without a secret has nothing else that ties a code to it (RFC 9700 §2.1.1). FAPI 1.0 Advanced
    // §5.2.2-18 asks it of requests that are pushed.
    pkce: {
      required: (ctx, client) =>
        preset.requiresPkce ||
        isPublic(client) ||
        client["security_profile"] !== undefined ||
        (preset.fapi === "1.0 Final" && ctx.oidc.route === "pushed_authorization_request"),
    },
    allowOmittingSingleRegisteredRedirectUri: false,
    // The types lack one of the methods that the engine has.
    clientAuthMethods: [...preset.authMethods] as ClientAuthMethod[],
    enabledJWA: algorithms(preset),
    assertJwtClientAuthClaimsAndHeader: assertClientAssertion(preset),
    clientBasedCORS: (_ctx, origin, client) => corsOrigins(client).includes(origin),
    // A client that registered the refresh token grant gets refresh tokens. Without offline_access they end with
    // the session; the engine's rule, `expiresWithSession`, sees to that.
    // What was approved elsewhere has no session to end with.
    issueRefreshToken: async (_ctx, client, source) =>
      client.grantTypeAllowed("refresh_token") &&
      (source.kind !== "BackchannelAuthenticationRequest" || source.scopes.has("offline_access")),
    rotateRefreshToken: preset.rotatesRefreshTokens,

    scopes: ["openid", "offline_access"],
    claims: {
      ...CLAIMS_BY_SCOPE,
      ...ORGANIZATION_CLAIMS,
      acr: null,
      sid: null,
      auth_time: null,
      iss: null,
    },
    acrValues: [...issuer.levels.keys()],
    // The engine has one hook that sees every parameter of an authorization request, however it was sent.
    extraParams: {
      login_hint: assertParameters,
      idp_hint: null,
      domain_hint: null,
      organization_id: assertOrganizationId,
    },
    // What was exchanged says already what the first token did.
    extraTokenClaims: async (ctx, token) => token.extra ?? tokenClaims(knex, ctx, token),
    formats: { customizers: { jwt: nameGrant } },
    extraClientMetadata: {
      properties: [...OPERATORS_METADATA, ...MORE_METADATA],
      validator: dropOperatorsOwn,
    },
    subjectTypes: [...preset.subjectTypes],
    pairwiseIdentifier: async (_ctx, accountId, client) =>
      pairwiseSubject(seal, sectorOf(client), accountId),
    // What is stored was checked when it was registered; asking again would depend on another server.
    sectorIdentifierUriValidate: isBeingRegistered,
    clientDefaults: clientDefaults(preset),
    discovery: discovery(needs),

    features: {
      devInteractions: { enabled: false },
      attestClientAuth: clientAttestation(needs),
      backchannelLogout: { enabled: true },
      ciba: ciba(needs),
      claimsParameter: { enabled: true, assertClaimsParameter: assertOrganizationClaims },
      clientCredentials: { enabled: true },
      // Twenty consonants, eight of them: no word, nothing that looks like something else (RFC 8628 §6.1).
      deviceFlow: {
        enabled: preset.decoupled.includes("device"),
        charset: "base-20",
        mask: "****-****",
        deviceInfo,
        userCodeInputSource: needs.pages.userCodeInputSource,
        userCodeConfirmSource: needs.pages.userCodeConfirmSource,
        successSource: needs.pages.successSource,
      },
      dPoP: { enabled: true, nonceSecret: seal.derive("dpop-nonce"), requireNonce: () => false },
      encryption: { enabled: true },
      fapi:
        preset.fapi === undefined ? { enabled: false } : { enabled: true, profile: preset.fapi },
      introspection: { enabled: true, allowedPolicy: mayIntrospect(needs) },
      jwtIntrospection: { enabled: true },
      jwtResponseModes: { enabled: true },
      jwtUserinfo: { enabled: true },
      mTLS: mutualTls(issuer, config.mutualTls),
      pushedAuthorizationRequests: {
        enabled: true,
        requirePushedAuthorizationRequests: preset.requiresPushedRequests,
      },
      requestObjects: {
        enabled: true,
        requireSignedRequestObject: preset.requiresSignedRequests,
        assertJwtClaimsAndHeader: async (ctx, claims, header, client) => {
          assertRequestObject(preset, claims, header, client);
          await assertSignedRequest(ctx, claims, client);
        },
      },
      registration: {
        enabled: issuer.registration !== "off",
        initialAccessToken: issuer.registration === "token",
        idFactory: () => uuidv7(),
        secretFactory: async () => newSecret("ls"),
      },
      registrationManagement: { enabled: issuer.registration !== "off" },
      resourceIndicators: resourceIndicators(needs, types),
      richAuthorizationRequests: richAuthorizationRequests(types),
      revocation: { enabled: true, allowedPolicy: mayRevoke },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: needs.pages.logoutSource,
        postLogoutSuccessSource: needs.pages.postLogoutSuccessSource,
      },
      userinfo: { enabled: true },
    },
    renderError: needs.pages.renderError,

    cookies: {
      keys: cookieSignatures(cookieKey(seal)),
      names: {
        session: `${secure ? "__Host-" : ""}lintel_session${suffix(issuer)}`,
        // These two are bound to a path, which the __Host- prefix does not allow.
        interaction: secure ? "__Secure-lintel_interaction" : "lintel_interaction",
        resume: secure ? "__Secure-lintel_resume" : "lintel_resume",
      },
      long: { httpOnly: true, sameSite: "lax", signed: true, secure },
      short: { httpOnly: true, sameSite: "lax", signed: true, secure },
    },
    fetch: needs.fetch,
    fetchResponseBodyLimits: { jwks_uri: 262_144, sector_identifier_uri: 262_144 },
  });

  const answered = new Afterwards();
  answered.addTo(provider);
  if (preset.responseTypes.every((type) => type === "code"))
    keepCodesOutOfFragments(provider, answered);
  keepNoNewSession(provider);
  describeMutualTls(answered, issuer);
  keepToTheLetter(provider, issuer);
  compareSecretsByHash(provider);
  understandEverySecret(provider);
  knowClientsAgain(provider, adapter("Client"));
  const subjectOf = (accountId: string, client: Client) =>
    client["subjectType"] === "pairwise"
      ? pairwiseSubject(seal, sectorOf(client), accountId)
      : accountId;
  registerTokenExchange(provider, jwks, { ...needs, subjectOf });
  registerJwtBearer(provider, needs);
  manageWithoutSecrets(provider, answered);
  if (preset.takesRequestsByReference) fetchRequestObjects(provider, answered, needs.fetch);
  queueLogoutNotices(provider, knex);
  if (preset.frontchannelLogout) showLogoutFrames(provider, answered, needs.pages.signingOut);
  signOutElsewhereToo(answered, needs.signOutElsewhere);
  if (preset.sessionManagement) forgetBrowserState(answered, issuer);
  queuePings(provider, knex);
  sayWhatIsOffered(answered);
  mintRefreshTokens(provider, needs.refreshTokenFormat);
  detectReplaysAtomically(provider, knex);
  // An authorization request that could not be served is sent back, and half of it must not be kept.
  provider.on("authorization.error", (ctx, error) => {
    if (error instanceof AppError) ctx.state["isUndone"] = true;
  });
  // The engine rotates before it has looked at all that is asked for. A client that is refused then still has only the
  // token it sent, which would count as stolen when it tries again.
  provider.on("grant.error", (ctx) => {
    if (ctx.oidc.entities.RotatedRefreshToken !== undefined) ctx.state["isUndone"] = true;
  });
  provider.use(async (ctx: KoaContextWithOIDC, next) => {
    const isKept = () => ctx.status < 500 && ctx.state["isUndone"] !== true;
    await runInUnitOfWork(knex, next, isKept, (error) => refuse(ctx, error, needs));
    // They would tell of a session that is not there, and take away the one that is.
    if (!isKept()) ctx.remove("Set-Cookie");
  });
  if (config.conformanceSuiteUrl !== undefined) offerAccounts(provider, needs);
  const writing = new Afterwards();
  writing.addTo(provider);
  signOutEverybody(writing, needs.beside);
  needs.observer.observe(provider);
  return provider;
}

/** What the engine had answered does not hold, because somebody was faster: answers as it would have, had it known. */
async function refuse(
  ctx: KoaContextWithOIDC,
  error: unknown,
  { observer, pages }: Pick<EngineNeeds, "observer" | "pages">,
): Promise<void> {
  if (!(error instanceof errors.OIDCProviderError)) throw error;
  ctx.remove("Set-Cookie");
  ctx.remove("Location");
  ctx.status = error.status;
  const { error: code, error_description: description } = error;
  const out = { error: code, ...(description !== undefined && { error_description: description }) };
  await pages.renderError?.(ctx, out, error);
  await observer.recordOutcome(ctx);
}

/** The key that signs the engine's cookies, and the outer app's too: the engine writes through both. */
export function cookieKey(seal: Seal): string {
  return seal.derive("cookies").toString("base64url");
}

type Claims = Readonly<Record<string, unknown>>;

/** What of a client the engine carries for us, and no client decides or sees. */
const OPERATORS_METADATA = [
  "first_party",
  "attester_jwks",
  "attester_jwks_uri",
  "is_dynamic",
  "from_document",
  "refresh_reuse_interval",
  "require_second_factor",
  "token_exchange_impersonation",
  "cors_origins",
  "internal_id",
  "older_secrets",
  "secret_hashes",
  "security_profile",
  "access_token_lifetime",
  "refresh_token_lifetime",
  "sign_up",
  "require_verified_email",
  "required_claims",
  "identity_providers",
] as const;

/** What clients register and the engine does not know. */
const MORE_METADATA = [
  "software_id",
  "software_version",
  "request_uris",
  "frontchannel_logout_uri",
  "frontchannel_logout_session_required",
  ...LOCALIZED_FIELDS,
] as const;

/** Issuers on one host share its cookies, and each has sessions of its own. */
function suffix({ name }: Issuer): string {
  return name === "" ? "" : `_${name}`;
}

function isPublic(client: Client): boolean {
  return client.clientAuthMethod === "none";
}

/** What the metadata of the issuer says beyond what the engine knows (OIDC Discovery §3). */
function discovery({
  config,
  issuer: { url, preset, documentHosts },
}: EngineNeeds): Configuration["discovery"] {
  return {
    ui_locales_supported: [...config.locales],
    prompt_values_supported: ["none", "login", "consent", "select_account", "create"],
    ...(preset.frontchannelLogout
      ? { frontchannel_logout_supported: true, frontchannel_logout_session_supported: true }
      : {}),
    ...(documentHosts.length > 0 ? { client_id_metadata_document_supported: true } : {}),
    ...(preset.sessionManagement ? { check_session_iframe: url + CHECK_SESSION_PATH } : {}),
  };
}

/** Every algorithm that the engine may use or advertise, instead of its own list. */
function algorithms({
  algorithms: ours,
  clientAlgorithms,
  authMethods,
}: Preset): Configuration["enabledJWA"] {
  const signing = [...ours];
  // RFC 9864 renamed EdDSA with Curve25519; clients use either name.
  const byClients = clientAlgorithms.flatMap((alg) =>
    alg === "EdDSA" ? (["EdDSA", "Ed25519"] as const) : [alg],
  );
  const secrets = authMethods.includes("client_secret_jwt") ? (["HS256"] as const) : [];
  const management = [
    "RSA-OAEP",
    "RSA-OAEP-256",
    "ECDH-ES",
    "ECDH-ES+A128KW",
    "ECDH-ES+A256KW",
  ] as const;
  const symmetric = ["A128KW", "A256KW", "dir"] as const;
  const content = ["A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"] as const;
  return {
    clientAuthSigningAlgValues: [...byClients, ...secrets],
    requestObjectSigningAlgValues: [...byClients, ...secrets],
    idTokenSigningAlgValues: signing,
    userinfoSigningAlgValues: signing,
    introspectionSigningAlgValues: signing,
    authorizationSigningAlgValues: signing,
    dPoPSigningAlgValues: byClients,
    attestSigningAlgValues: byClients,
    idTokenEncryptionAlgValues: [...management, ...symmetric],
    userinfoEncryptionAlgValues: [...management, ...symmetric],
    introspectionEncryptionAlgValues: [...management, ...symmetric],
    authorizationEncryptionAlgValues: [...management, ...symmetric],
    requestObjectEncryptionAlgValues: [...symmetric],
    idTokenEncryptionEncValues: [...content],
    userinfoEncryptionEncValues: [...content],
    introspectionEncryptionEncValues: [...content],
    authorizationEncryptionEncValues: [...content],
    requestObjectEncryptionEncValues: [...content],
  };
}

function sectorOf(client: Client): string {
  const { sectorIdentifier: sector } = client as { sectorIdentifier?: unknown };
  return typeof sector === "string" ? sector : client.clientId;
}

/** A user as clients of one sector know them: nobody can match it with another sector's (OIDC Core §8.1). */
function pairwiseSubject(seal: Seal, sector: string, userId: string): string {
  return createHmac("sha256", seal.derive("pairwise"))
    .update(`${sector}\0${userId}`)
    .digest("base64url");
}

/** How a code may travel: never in a fragment, where scripts and histories find it (ASVS 10.4.12). */
const RESPONSE_MODES = ["query", "form_post", "jwt", "query.jwt", "form_post.jwt"];

function keepCodesOutOfFragments(provider: Provider, answered: Afterwards): void {
  const { responseModeAllowed } = provider.Client.prototype as unknown as {
    responseModeAllowed: (mode: string, type: string, fapi: unknown) => boolean;
  };
  Object.assign(provider.Client.prototype, {
    responseModeAllowed(this: Client, mode: string, type: string, fapi: unknown) {
      const isSafe = type !== "code" || RESPONSE_MODES.includes(mode);
      return isSafe && responseModeAllowed.call(this, mode, type, fapi);
    },
  });
  // The engine advertises a list of its own, which no option changes.
  answered.at(["discovery"], ({ body }) => {
    if (typeof body === "object")
      Object.assign(body ?? {}, { response_modes_supported: RESPONSE_MODES });
  });
}

/**
 * The engine hashes all that a client registered, each time, to find out whether it has that client already. Our cache
 * gives the same object for as long as nothing changed.
 */
function knowClientsAgain(provider: Provider, adapter: Adapter): void {
  const { Client: clients } = provider;
  const find = clients.find.bind(clients);
  const known = new WeakMap<object, Client>();
  Object.assign(clients, {
    async find(id: string) {
      if (typeof id !== "string" || id === "") return undefined;
      const payload = await adapter.find(id);
      const before = payload === undefined ? undefined : known.get(payload);
      if (before !== undefined) return before;
      const client = await find(id);
      if (payload !== undefined && client !== undefined) known.set(payload, client);
      return client;
    },
  });
}

/** Client secrets are 256 random bits, so what is stored is a hash of each live one. */
function compareSecretsByHash(provider: Provider): void {
  provider.Client.prototype.compareClientSecret = isOneOfItsSecrets;
}

function isOneOfItsSecrets(this: Client, actual: string): boolean {
  const hashes = this["secret_hashes"];
  return typeof hashes === "string" && secretMatches(hashes, actual);
}

/** Whether the client at hand is not stored yet, or about to change. */
function isBeingRegistered(): boolean {
  const route = Provider.ctx?.oidc.route;
  return route === "registration" || route === "client_update";
}

/** What a client gets that does not say otherwise (OIDC Dynamic Client Registration §2). */
function clientDefaults({
  algorithms: [first],
  authMethods,
}: Preset): Configuration["clientDefaults"] {
  return {
    grant_types: ["authorization_code"],
    response_types: ["code"],
    token_endpoint_auth_method: authMethods.includes("client_secret_basic")
      ? "client_secret_basic"
      : "private_key_jwt",
    id_token_signed_response_alg: first,
    authorization_signed_response_alg: first,
    introspection_signed_response_alg: first,
  };
}

/** A client that registers itself says nothing about what is the operator's to decide, or ours. */
function dropOperatorsOwn(
  ctx: KoaContextWithOIDC | undefined,
  key: string,
  _value: unknown,
  metadata: Record<string, unknown>,
): void {
  const isOperators = OPERATORS_METADATA.some((name) => name === key);
  if (ctx !== undefined && isBeingRegistered() && isOperators) delete metadata[key];
}

/**
 * The engine shows a client its secret again, and compares the one it sends with it (RFC 7592 §2.1, §2.2). Of most we
 * have a hash only: those are compared by it, and never shown.
 */
function manageWithoutSecrets(provider: Provider, answered: Afterwards): void {
  const { Client: clients } = provider;
  const find = clients.find.bind(clients);
  const known = new WeakSet<Client>();
  const findToUpdate = async (id: string) => {
    const client = await find(id);
    if (client === undefined || known.has(client)) return client;
    known.add(client);
    const stored = client.clientSecret;
    // Requests share the client, so each is answered by what it sent itself.
    return Object.defineProperty(client, "clientSecret", {
      get: () => {
        const { oidc } = Provider.ctx ?? {};
        const sent = oidc?.route === "client_update" ? oidc.body?.["client_secret"] : undefined;
        return typeof sent === "string" && isOneOfItsSecrets.call(client, sent) ? sent : stored;
      },
    });
  };
  Object.assign(clients, {
    find: (id: string) =>
      Provider.ctx?.oidc.route === "client_update" ? findToUpdate(id) : find(id),
  });
  answered.at(["client", "client_update"], ({ body }) => {
    if (typeof body !== "object") return;
    const shown = body as Record<string, unknown>;
    for (const key of OPERATORS_METADATA) delete shown[key];
    if (shown["client_secret"] === HIDDEN) {
      delete shown["client_secret"];
      delete shown["client_secret_expires_at"];
    }
  });
}

/** A token that replaces another is its successor in the family; any other starts one. */
function mintRefreshTokens(provider: Provider, format: RefreshTokenFormat): void {
  Object.assign(provider.RefreshToken.prototype, {
    generateTokenId: () => {
      const rotated = Provider.ctx?.oidc.entities.RotatedRefreshToken;
      return rotated === undefined ? format.first() : format.successor(rotated.jti);
    },
  });
}

/** The engine looks first and saves afterwards; two requests with one `jti` would both pass. One insert decides. */
function detectReplaysAtomically(provider: Provider, knex: Knex): void {
  Object.assign(provider.ReplayDetection, {
    unique: async (issuer: string, jti: string, exp: number) =>
      ReplayGuard.claim(
        await writer(knex),
        sha256(`${issuer}\0${jti}`),
        new Date(exp * 1000),
        new Date(),
      ),
  });
}

/**
 * What a client assertion must say beyond RFC 7523 §3: it is for this server alone, and not good for long. One that
 * other servers accept as well, or that never ends, is worth stealing. Older profiles name the endpoint instead.
 */
function assertClientAssertion(
  preset: Preset,
): NonNullable<Configuration["assertJwtClientAuthClaimsAndHeader"]> {
  const longest = 300;
  const skew = 15;
  return async (ctx, claims, header) => {
    const { aud, exp, iat } = claims;
    if (preset.strictAssertionAudience && aud !== ctx.oidc.issuer) {
      throw new errors.InvalidClientAuth("aud must be the issuer identifier, as a string");
    }
    if (typeof exp !== "number" || exp - Date.now() / 1000 > longest + skew) {
      throw new errors.InvalidClientAuth(`exp must be at most ${longest} seconds ahead`);
    }
    // The engine looks at it only where there is no `exp`; FAPI 2.0 §5.3.2.1 demands it.
    if (typeof iat === "number" && iat - Date.now() / 1000 > skew) {
      throw new errors.InvalidClientAuth("iat must not be in the future");
    }
    if ("crit" in header) throw new errors.InvalidClientAuth("crit is not supported");
  };
}

/**
 * What a request object must say beyond RFC 9101 §4: that it is none of the other JWTs that a client signs (RFC 8725
 * §3.11), and under FAPI that it is good for an hour at most (FAPI 2.0 Message Signing §5.3, FAPI 1.0 Advanced §5.2.2).
 */
function assertRequestObject(
  preset: Preset,
  { exp, nbf }: Claims,
  { typ }: Claims,
  client: Client,
): void {
  const longest = 3600;
  const kind = typeof typ === "string" ? typ.toLowerCase().replace(/^application\//, "") : "jwt";
  if (kind !== "jwt" && kind !== "oauth-authz-req+jwt") {
    throw new errors.InvalidRequestObject("typ must be oauth-authz-req+jwt");
  }
  if (preset.fapi === undefined && client["security_profile"] !== "fapi2") return;
  if (typeof exp !== "number" || typeof nbf !== "number" || exp <= nbf || exp - nbf > longest) {
    throw new errors.InvalidRequestObject(`exp must be at most ${longest} seconds after nbf`);
  }
}

/** A client ends its own tokens, and is told that it may not end others' (RFC 7009 §2.1). */
async function mayRevoke(
  _ctx: KoaContextWithOIDC,
  client: Client,
  token: { clientId?: string | undefined },
): Promise<boolean> {
  if (token.clientId === client.clientId) return true;
  throw new errors.InvalidRequest("the token was issued to another client");
}

/**
 * What was said in a body is bounded like what is said in an address (T-08). Whoever makes an account is asked for
 * nothing else (Initiating User Registration via OpenID Connect 1.0 §4); what `login` asks for, and the engine makes
 * of `max_age=0`, comes with it.
 */
async function assertParameters({ oidc }: KoaContextWithOIDC): Promise<void> {
  const problem = problemWith(Object.entries(oidc.params ?? {}));
  if (problem !== undefined) throw new errors.InvalidRequest(problem);
  const others = [...oidc.prompts].filter((prompt) => prompt !== "create" && prompt !== "login");
  if (oidc.prompts.has("create") && others.length > 0)
    throw new errors.InvalidRequest(`prompt create must not be used with ${others.join(", ")}`);
}

function corsOrigins(client: object): readonly string[] {
  const origins: unknown = Reflect.get(client, "cors_origins");
  return Array.isArray(origins) ? origins : [];
}
