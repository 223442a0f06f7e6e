import { importJWK, SignJWT, type CryptoKey, type JWK } from "jose";
import {
  ClientSecretBasic,
  ClientSecretPost,
  modifyAssertion,
  None,
  PrivateKeyJwt,
  type ClientAuth,
} from "openid-client";
import type { Seal } from "../../keys/seal.ts";
import type { IdentityProvider } from "../../models/identity-provider.ts";
import { UpstreamError } from "../connector.ts";
import type { Decryption } from "./decryption.ts";
import { isForDecryption, openKeys, publicHalf } from "./keys.ts";
import type { Oauth2Settings, OidcSettings, UPSTREAM_AUTH_METHODS } from "./settings.ts";

type Method = (typeof UPSTREAM_AUTH_METHODS)[number];

/** What there is to know of a server before we show it who we are. */
export interface Server {
  readonly issuer: string;
  readonly token_endpoint: string;
  readonly token_endpoint_auth_methods_supported?: readonly string[] | undefined;
}

/** Seconds for which a client secret that we make ourselves is good; Apple allows half a year. */
const SECRET_LIFETIME = 300;
const TABLE = "identity_providers";

/** What we show a provider to prove which client we are; opened when it is used. */
export class Credentials {
  readonly clientId: string;
  readonly #provider: IdentityProvider;
  readonly #settings: Oauth2Settings | OidcSettings;
  readonly #seal: Seal;

  constructor(provider: IdentityProvider, settings: Oauth2Settings | OidcSettings, seal: Seal) {
    this.clientId = provider.clientId ?? "";
    this.#provider = provider;
    this.#settings = settings;
    this.#seal = seal;
  }

  /** How it is shown: as the settings say, or in the first way that both sides know (OIDC Core §9). */
  methodFor({ token_endpoint_auth_methods_supported: supported }: Server): Method {
    const { token_endpoint_auth_method: chosen } = this.#settings;
    if (chosen !== undefined) return chosen;
    const { clientSecretEnc } = this.#provider;
    if (clientSecretEnc !== null)
      return supported?.includes("client_secret_basic") === false
        ? "client_secret_post"
        : "client_secret_basic";
    return this.#signingKeys().length === 0 ? "none" : "private_key_jwt";
  }

  /** Adds what proves who we are to a request to the token endpoint. */
  async add(server: Server, body: URLSearchParams, headers: Headers): Promise<void> {
    const authenticate = await this.#authenticator(server);
    const { issuer, token_endpoint: endpoint } = server;
    const done: unknown = authenticate(
      { issuer, token_endpoint: endpoint },
      { client_id: this.clientId },
      body,
      headers,
    );
    await done;
  }

  /** The keys that our assertions are verified with, and the one that tokens are encrypted for (RFC 7517 §5). */
  publicKeys(): { keys: JWK[] } {
    const { keys, alg } = this.decryption;
    const last = alg === undefined ? undefined : keys.at(-1);
    const signing = this.#team === undefined ? this.#signingKeys() : [];
    return {
      keys: [
        ...signing.map(publicHalf),
        ...(last === undefined || alg === undefined ? [] : [{ ...publicHalf(last), alg }]),
      ],
    };
  }

  /** What tokens are opened with that are encrypted for us. */
  get decryption(): Decryption {
    const { id_token_encrypted_response_alg: alg } = this.#settings as Partial<OidcSettings>;
    return { keys: this.#openKeys().filter(isForDecryption), alg };
  }

  async #authenticator(server: Server): Promise<ClientAuth> {
    const method = this.methodFor(server);
    if (method === "none") return None();
    if (method === "private_key_jwt") return await this.#assertion(server);
    const secret = this.#team === undefined ? this.#openSecret() : await this.#teamSecret(server);
    return method === "client_secret_basic" ? ClientSecretBasic(secret) : ClientSecretPost(secret);
  }

  async #assertion({ token_endpoint: endpoint }: Server): Promise<ClientAuth> {
    const jwk = this.#openKey();
    const key = (await importJWK(jwk, jwk.alg)) as CryptoKey;
    const isForEndpoint = this.#settings.assertion_audience === "token_endpoint";
    return PrivateKeyJwt(jwk.kid === undefined ? { key } : { key, kid: jwk.kid }, {
      [modifyAssertion]: (_header, payload) => {
        if (isForEndpoint) payload["aud"] = endpoint;
      },
    });
  }

  /** A client secret that is a JWT of the team's key (Sign in with Apple, "Creating a client secret"). */
  async #teamSecret({ issuer }: Server): Promise<string> {
    const jwk = this.#openKey();
    const { team = "", key = "" } = this.#team ?? {};
    return await new SignJWT()
      .setProtectedHeader({ alg: "ES256", kid: key })
      .setIssuer(team)
      .setSubject(this.clientId)
      .setAudience(issuer)
      .setIssuedAt()
      .setExpirationTime(`${SECRET_LIFETIME}s`)
      .sign(await importJWK(jwk, "ES256"));
  }

  get #team(): { team: string; key: string | undefined } | undefined {
    const { team_id: team, key_id: key } = this.#settings as Partial<OidcSettings>;
    return team === undefined ? undefined : { team, key };
  }

  #openSecret(): string {
    const { id, clientSecretEnc } = this.#provider;
    if (clientSecretEnc === null) throw missing("client secret", "client_secret");
    const place = { table: TABLE, column: "client_secret_enc", id };
    return this.#seal.decrypt(clientSecretEnc, place).toString();
  }

  /** What we sign with. */
  #openKey(): JWK {
    const [key] = this.#signingKeys();
    if (key === undefined) throw missing("private key", "private_key");
    return key;
  }

  #signingKeys(): JWK[] {
    return this.#openKeys().filter((key) => !isForDecryption(key));
  }

  #openKeys(): JWK[] {
    const { id, privateKeyEnc } = this.#provider;
    return privateKeyEnc === null ? [] : openKeys(this.#seal, id, privateKeyEnc);
  }
}

function missing(what: string, field: string): UpstreamError {
  return new UpstreamError(
    "misconfigured",
    "oauth.credentials",
    `The connection has no ${what}, which its token_endpoint_auth_method needs.`,
    { hint: `Give ${field}, or choose another token_endpoint_auth_method.` },
  );
}
