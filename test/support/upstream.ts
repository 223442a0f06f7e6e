import { createHash, createPublicKey, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type { Answer } from "../../src/federation/connector.ts";
import { aKey, now, sign, type ClientKey } from "./signing.ts";

export type Json = Record<string, unknown>;

/** What came to one of its addresses. */
export interface Call {
  readonly path: string;
  readonly method: string;
  readonly headers: IncomingMessage["headers"];
  /** The address, whose query an authorization request is in. */
  readonly url: string;
  /** The fields of a form. */
  readonly fields: Readonly<Record<string, string>>;
}

/** What one of its addresses says: JSON, or something written out. */
export interface Said {
  readonly status?: number;
  readonly json?: unknown;
  readonly body?: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}
type Handler = (call: Call) => Said | Promise<Said>;

interface Code {
  readonly parameters: URLSearchParams;
}

/**
 * An identity provider elsewhere, for tests: a real HTTP server that speaks OpenID Connect and OAuth 2.0 as they should
 * be spoken, and checks what it is sent: client, redirect URI, code challenge, that codes are used once. Each test
 * bends it where it wants to attack; `mend()` makes it honest again.
 */
export class Upstream {
  readonly clientId = "lintel-at-upstream";
  readonly clientSecret = "a secret: with + signs & more";
  readonly key: ClientKey;
  /** Everything that came, in order. */
  calls: Call[] = [];
  /** Whose browser it is that will come. */
  person: Json = {};
  /** Replaces what an address says. */
  replaced = new Map<string, Handler>();
  /** Changes to the metadata. */
  metadata: Json = {};
  /** Changes to the claims of ID tokens; undefined takes one away. */
  claims: Json = {};
  /** How ID tokens are signed. */
  signer: (claims: Json) => Promise<string>;
  /** What it publishes as its keys. */
  keys: unknown[];
  /** Changes to what the token endpoint grants. */
  granted: Json = {};
  /** The error that a browser is sent back with which comes to its authorization endpoint. */
  refusal: string | undefined;
  readonly #server: Server;
  readonly #codes = new Map<string, Code>();
  readonly #tokens = new Set<string>();
  readonly #pushed = new Map<string, URLSearchParams>();

  private constructor(server: Server, key: ClientKey) {
    this.#server = server;
    this.key = key;
    this.keys = [key.jwk];
    this.signer = (claims) => sign(key, claims);
    this.mend();
  }

  static async start(alg = "RS256"): Promise<Upstream> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const upstream = new Upstream(server, await aKey(alg));
    server.on("request", (request, response) => void upstream.#answer(request, response));
    return upstream;
  }

  get issuer(): string {
    const address = this.#server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    return `http://127.0.0.1:${port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Makes it honest and forgetful. */
  mend(): void {
    this.calls = [];
    this.person = {
      sub: "ada-at-upstream",
      id: 4_242,
      login: "ada",
      name: "Ada Lovelace",
      email: "ada@upstream.example",
      email_verified: true,
    };
    this.replaced = new Map();
    this.metadata = {};
    this.claims = {};
    this.granted = {};
    this.refusal = undefined;
    this.keys = [this.key.jwk];
    this.signer = (claims) => sign(this.key, claims);
  }

  /** How often an address was asked. */
  asked(path: string): number {
    return this.calls.filter((call) => call.path === path).length;
  }

  last(path: string): Call {
    const call = this.calls.findLast((one) => one.path === path);
    if (call === undefined) throw new Error(`nobody asked ${path}`);
    return call;
  }

  /** What a person's browser comes back with who agrees at the address that it was sent to. */
  agree(address: string): Omit<Answer, "secrets"> {
    const parameters = this.#requestAt(address);
    const code = randomUUID();
    this.#codes.set(code, { parameters });
    return this.#answerTo(parameters, { code });
  }

  /** What it comes back with when there is an error. */
  refuse(address: string, error: string, description?: string): Omit<Answer, "secrets"> {
    const said = description === undefined ? {} : { error_description: description };
    return this.#answerTo(this.#requestAt(address), { error, ...said });
  }

  /** The authorization request in an address, or the one that it refers to (RFC 9126 §4). */
  #requestAt(address: string): URLSearchParams {
    const { searchParams } = new URL(address);
    return this.#pushed.get(searchParams.get("request_uri") ?? "") ?? searchParams;
  }

  #push(call: Call): Said {
    if (!this.#isClient(call)) return { status: 401, json: { error: "invalid_client" } };
    const reference = `urn:ietf:params:oauth:request_uri:${randomUUID()}`;
    this.#pushed.set(reference, new URLSearchParams(call.fields));
    return { status: 201, json: { request_uri: reference, expires_in: 60 } };
  }

  /** A logout token that is right except for `changes` (OIDC Back-Channel Logout §2.4). */
  async logoutToken(changes: Json = {}, header: Json = {}): Promise<string> {
    const claims = {
      iss: this.issuer,
      sub: this.person["sub"],
      aud: this.clientId,
      iat: now(),
      exp: now() + 120,
      jti: randomUUID(),
      sid: "a-session",
      events: { "http://schemas.openid.net/event/backchannel-logout": {} },
      ...changes,
    };
    return sign(this.key, claims, { typ: "logout+jwt", ...header });
  }

  #answerTo(asked: URLSearchParams, said: Record<string, string>): Omit<Answer, "secrets"> {
    const parameters = { ...said, state: asked.get("state") ?? "", iss: this.issuer };
    return { method: asked.get("response_mode") === "form_post" ? "POST" : "GET", parameters };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, href } = new URL(request.url ?? "/", this.issuer);
    const call: Call = {
      path: pathname,
      url: href,
      method: request.method ?? "GET",
      headers: request.headers,
      fields: Object.fromEntries(new URLSearchParams(await text(request))),
    };
    this.calls.push(call);
    const handler = this.replaced.get(pathname) ?? this.#honest(pathname);
    const { status = 200, json, body, type, headers } = await handler(call);
    response.writeHead(status, { "content-type": type ?? "application/json", ...headers });
    response.end(body ?? JSON.stringify(json));
  }

  #honest(path: string): Handler {
    if (path === "/.well-known/openid-configuration") return () => ({ json: this.#describe() });
    if (path === "/jwks") return () => ({ json: { keys: this.keys } });
    if (path === "/authorize") return ({ url }) => this.#authorize(url);
    if (path === "/par") return (call) => this.#push(call);
    if (path === "/token") return async (call) => await this.#token(call);
    if (path === "/userinfo" || path === "/user")
      return (call) => this.#withToken(call, this.person);
    if (path === "/user/emails") return (call) => this.#withToken(call, this.#addresses());
    return () => ({ status: 404, json: { error: "not_found" } });
  }

  #describe(): Json {
    return {
      issuer: this.issuer,
      authorization_endpoint: `${this.issuer}/authorize`,
      token_endpoint: `${this.issuer}/token`,
      jwks_uri: `${this.issuer}/jwks`,
      userinfo_endpoint: `${this.issuer}/userinfo`,
      end_session_endpoint: `${this.issuer}/logout`,
      pushed_authorization_request_endpoint: `${this.issuer}/par`,
      response_types_supported: ["code"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: [this.key.alg],
      code_challenge_methods_supported: ["S256"],
      token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
      authorization_response_iss_parameter_supported: true,
      ...this.metadata,
    };
  }

  /** Sends a browser back at once, as somebody is who is signed in there; a form is for the browser to post. */
  #authorize(url: string): Said {
    const { refusal } = this;
    const { method, parameters } =
      refusal === undefined ? this.agree(url) : this.refuse(url, refusal);
    const back = new URL(new URL(url).searchParams.get("redirect_uri") ?? this.issuer);
    if (method === "POST") {
      const fields = Object.entries(parameters).map(
        ([name, value]) => `<input type="hidden" name="${name}" value="${value}">`,
      );
      const form = `<form method="post" action="${back.href}">${fields.join("")}<button>Go</button></form>`;
      return { type: "text/html", body: form };
    }
    for (const [name, value] of Object.entries(parameters)) back.searchParams.set(name, value);
    return { status: 303, body: "", headers: { location: back.href } };
  }

  #withToken({ headers }: Call, json: unknown): Said {
    const token = /^Bearer (.+)$/.exec(headers.authorization ?? "")?.[1];
    return this.#tokens.has(token ?? "") ? { json } : { status: 401, json: {} };
  }

  #addresses(): Json[] {
    return [
      { email: "other@upstream.example", primary: false, verified: true },
      { email: this.person["email"], primary: true, verified: this.person["email_verified"] },
    ];
  }

  async #token(call: Call): Promise<Said> {
    const { fields } = call;
    if (!this.#isClient(call)) return { status: 401, json: { error: "invalid_client" } };
    if (fields["grant_type"] === "refresh_token")
      return fields["refresh_token"] === "a-refresh-token"
        ? { json: this.#grant() }
        : { status: 400, json: { error: "invalid_grant" } };
    const code = this.#codes.get(fields["code"] ?? "");
    this.#codes.delete(fields["code"] ?? "");
    if (code === undefined || !isFor(code, fields))
      return { status: 400, json: { error: "invalid_grant", error_description: "not that code" } };
    const scopes = code.parameters.get("scope")?.split(" ") ?? [];
    if (!scopes.includes("openid")) return { json: { ...this.#grant(), ...this.granted } };
    const idToken = await this.signer({ ...this.#idToken(code), ...this.claims });
    return { json: { ...this.#grant(), id_token: idToken, ...this.granted } };
  }

  #grant(): Json {
    const token = `access-${randomUUID()}`;
    this.#tokens.add(token);
    return {
      access_token: token,
      token_type: "Bearer",
      expires_in: 3_600,
      refresh_token: "a-refresh-token",
      scope: "openid email",
    };
  }

  #idToken({ parameters }: Code): Json {
    const { sub } = this.person;
    return {
      iss: this.issuer,
      aud: this.clientId,
      sub,
      iat: now(),
      exp: now() + 300,
      nonce: parameters.get("nonce") ?? undefined,
      auth_time: parameters.has("max_age") ? now() : undefined,
      sid: "a-session",
    };
  }

  #isClient({ headers, fields }: Call): boolean {
    const { client_id: id, client_secret: secret, client_assertion: assertion } = fields;
    if (assertion !== undefined) return id === this.clientId;
    const basic = /^Basic (.+)$/.exec(headers.authorization ?? "")?.[1];
    if (basic === undefined) return id === this.clientId && secret === this.clientSecret;
    const [name = "", password = ""] = Buffer.from(basic, "base64").toString().split(":");
    const decode = (value: string) => decodeURIComponent(value.replaceAll("+", " "));
    return decode(name) === this.clientId && decode(password) === this.clientSecret;
  }
}

/** Whether a code was issued for this very request (RFC 6749 §4.1.3, RFC 7636 §4.6). */
function isFor({ parameters }: Code, fields: Readonly<Record<string, string>>): boolean {
  const challenge = parameters.get("code_challenge");
  const computed = createHash("sha256")
    .update(fields["code_verifier"] ?? "")
    .digest("base64url");
  return (
    fields["redirect_uri"] === parameters.get("redirect_uri") &&
    (challenge === null ? fields["code_verifier"] === undefined : challenge === computed)
  );
}

/** The public key as PEM, which somebody might take for a secret (RFC 8725 §2.1). */
export function publicPem({ jwk }: ClientKey): string {
  return createPublicKey({ key: { ...jwk }, format: "jwk" }).export({
    type: "spki",
    format: "pem",
  }) as string;
}
