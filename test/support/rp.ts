import { createHash, randomBytes } from "node:crypto";
import { Agent, request, type IncomingHttpHeaders } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import type { SecureContextOptions } from "node:tls";
import { text } from "node:stream/consumers";
import { aServer, PASSWORD, type TestServer } from "./server.ts";

/** Where requests go: the loopback port of a server, under the name of its issuer, as a proxy would send them. */
export interface Target {
  readonly issuer: string;
  readonly port: number;
  /** Whom to trust, and what to show in the handshake, where the server speaks TLS itself. */
  readonly tls?: SecureContextOptions;
}

/** What came back, redirects not followed. */
export interface Answer {
  readonly url: URL;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly setCookies: readonly string[];
  readonly text: string;
  /** The absolute address it redirects to. */
  readonly location: string | undefined;
  /** The name of the page, as its body says it. */
  readonly page: string | undefined;
}

/** One request: `path` may also be an absolute address of the issuer. `fields` make it a POST of a form. */
export interface Sent {
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly fields?: Fields;
  readonly body?: string;
}

export type Fields = Readonly<Record<string, string | readonly string[] | undefined>>;

const connections = new Agent({ keepAlive: true });
const tlsConnections = new TlsAgent({ keepAlive: true });

/** Sends one request as it is, without cookies, and reads the whole answer. */
export async function send(target: Target, sent: Sent): Promise<Answer> {
  const url = new URL(sent.path, target.issuer);
  const body =
    sent.body ?? (sent.fields === undefined ? undefined : encode(sent.fields).toString());
  const { tls } = target;
  const outgoing = (tls === undefined ? request : tlsRequest)({
    ...(tls === undefined
      ? { agent: connections }
      : { agent: tlsConnections, servername: url.hostname, ...tls }),
    host: "127.0.0.1",
    port: target.port,
    method: sent.method ?? (body === undefined ? "GET" : "POST"),
    path: url.pathname + url.search,
    headers: {
      host: new URL(target.issuer).host,
      ...(body === undefined
        ? {}
        : {
            "content-type": "application/x-www-form-urlencoded",
            "content-length": String(Buffer.byteLength(body)),
          }),
      ...sent.headers,
    },
  });
  const incoming = await new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
    outgoing.once("response", resolve).once("error", reject).end(body);
  });
  const answer = await text(incoming);
  const { location } = incoming.headers;
  return {
    url,
    status: incoming.statusCode ?? 0,
    headers: incoming.headers,
    setCookies: incoming.headers["set-cookie"] ?? [],
    text: answer,
    location: location === undefined ? undefined : new URL(location, url).href,
    page: /data-page="([^"]+)"/.exec(answer)?.[1],
  };
}

function encode(fields: Fields): URLSearchParams {
  const body = new URLSearchParams();
  for (const [name, values] of Object.entries(fields)) {
    for (const value of values === undefined ? [] : [values].flat()) body.append(name, value);
  }
  return body;
}

interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
}

/** A browser that shows nothing: a cookie jar, and forms sent as our pages send them. It follows no redirect by itself. */
export class WebBrowser {
  /** Every cookie it has, by name and path. */
  readonly jar = new Map<string, Cookie>();
  readonly #target: Target;
  readonly #headers: Readonly<Record<string, string>>;

  /** @param headers sent with every request, such as X-Forwarded-For. */
  constructor(target: Target, headers: Readonly<Record<string, string>> = {}) {
    this.#target = target;
    this.#headers = headers;
  }

  async open(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.#send({ path, headers });
  }

  /** Sends a form of our own page; `headers` may say that it came from elsewhere. */
  async submit(
    path: string,
    fields: Fields,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const { origin } = new URL(this.#target.issuer);
    return this.#send({
      path,
      fields,
      headers: { origin, "sec-fetch-site": "same-origin", ...headers },
    });
  }

  /** The value of a cookie by its name, whatever its path. */
  cookie(name: string): string | undefined {
    return [...this.jar.values()].find((cookie) => cookie.name === name)?.value;
  }

  /** Another browser with the same cookies, by default at the same server. */
  copy(target: Target = this.#target): WebBrowser {
    const copy = new WebBrowser(target, this.#headers);
    for (const [key, cookie] of this.jar) copy.jar.set(key, cookie);
    return copy;
  }

  put(name: string, value: string, path = "/"): void {
    this.jar.set(`${path} ${name}`, { name, value, path });
  }

  async #send(sent: Sent): Promise<Answer> {
    const { pathname } = new URL(sent.path, this.#target.issuer);
    const cookies = [...this.jar.values()]
      .filter(({ path }) => path === "/" || pathname === path || pathname.startsWith(`${path}/`))
      .map(({ name, value }) => `${name}=${value}`);
    const answer = await send(this.#target, {
      ...sent,
      headers: {
        accept: "text/html",
        ...(cookies.length === 0 ? {} : { cookie: cookies.join("; ") }),
        ...this.#headers,
        ...sent.headers,
      },
    });
    for (const line of answer.setCookies) this.#keep(line);
    return answer;
  }

  #keep(line: string): void {
    const [pair = "", ...attributes] = line.split(/;\s*/);
    const [name = "", value = ""] = pair.split(/=(.*)/s);
    const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice(5) ?? "/";
    const isGone = attributes.some((text) => /^expires=Thu, 01 Jan 1970|^max-age=0/i.test(text));
    if (value === "" || isGone) this.jar.delete(`${path} ${name}`);
    else this.put(name, value, path);
  }
}

/** What is known of a client when it was registered. */
export interface Credentials {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly redirectUri: string;
}

export const VERIFIER = randomBytes(32).toString("base64url");
export const challengeOf = (verifier: string): string =>
  createHash("sha256").update(verifier).digest("base64url");

/** A relying party: what it asks, with every parameter open to change. `undefined` leaves a parameter out. */
export class RelyingParty {
  readonly credentials: Credentials;
  readonly #target: Target;
  /** The issuer's path, below which its endpoints are. */
  readonly #base: string;

  constructor(target: Target, credentials: Credentials) {
    this.#target = target;
    this.#base = new URL(target.issuer).pathname.replace(/\/$/, "");
    this.credentials = credentials;
  }

  /** The path of an authorization request that is right except for `changes`. */
  authorization(changes: Fields = {}): string {
    return `${this.#base}/auth?${encode(this.parameters(changes))}`;
  }

  parameters(changes: Fields = {}): Fields {
    return {
      client_id: this.credentials.clientId,
      redirect_uri: this.credentials.redirectUri,
      response_type: "code",
      scope: "openid",
      state: "a-state",
      nonce: "a-nonce",
      code_challenge: challengeOf(VERIFIER),
      code_challenge_method: "S256",
      ...changes,
    };
  }

  /** Trades a code for tokens, with what is right except for `changes`. */
  async redeem(
    code: string,
    changes: Fields = {},
    headers?: Record<string, string>,
  ): Promise<Answer> {
    return this.token(
      {
        grant_type: "authorization_code",
        code,
        redirect_uri: this.credentials.redirectUri,
        code_verifier: VERIFIER,
        ...changes,
      },
      headers,
    );
  }

  /** Asks the token endpoint; by default as the client, with its secret in the header where it has one. */
  async token(fields: Fields, headers?: Record<string, string>): Promise<Answer> {
    return this.post("/token", fields, headers);
  }

  async post(path: string, fields: Fields, headers?: Record<string, string>): Promise<Answer> {
    const { clientId, clientSecret } = this.credentials;
    const isPublic = clientSecret === "";
    return send(this.#target, {
      path: this.#base + path,
      fields: isPublic && headers === undefined ? { client_id: clientId, ...fields } : fields,
      headers: headers ?? (isPublic ? {} : { authorization: basic(clientId, clientSecret) }),
    });
  }

  async userinfo(accessToken: string): Promise<Answer> {
    return send(this.#target, {
      path: `${this.#base}/me`,
      headers: { authorization: `Bearer ${accessToken}` },
    });
  }
}

export function basic(clientId: string, secret: string): string {
  return `Basic ${Buffer.from(`${encodeURIComponent(clientId)}:${encodeURIComponent(secret)}`).toString("base64")}`;
}

/** What a person does on the pages. */
export interface Person {
  readonly email: string;
  readonly password?: string;
  readonly remember?: boolean;
  /** The scopes they leave ticked on the consent page; all of them unless said. */
  readonly scopes?: readonly string[];
  /** The page on which they stop. */
  readonly until?: string;
}

/**
 * Follows redirects and answers pages as `person`, from `path` on, until the browser is sent to another host, or
 * there is a page that nobody can answer.
 */
export async function walk(
  target: Target,
  browser: WebBrowser,
  path: string,
  person?: Person,
): Promise<Answer> {
  const { host } = new URL(target.issuer);
  let answer = await browser.open(path);
  for (let steps = 0; steps < 12; steps += 1) {
    if (answer.location !== undefined) {
      if (new URL(answer.location).host !== host) return answer;
      answer = await browser.open(answer.location);
    } else {
      const fields = answer.status === 200 ? fieldsFor(answer, person) : undefined;
      if (fields === undefined) return answer;
      answer = await browser.submit(answer.url.href, fields);
    }
  }
  throw new Error(`never arrives: ${answer.url.href}`);
}

function fieldsFor(answer: Answer, person: Person | undefined): Fields | undefined {
  if (person === undefined || answer.page === person.until) return undefined;
  const { email, password = PASSWORD, remember } = person;
  const kept = remember === true ? "1" : undefined;
  if (answer.page === "login") return { username: email, password, remember: kept };
  if (answer.page === "password") return { password, remember: kept };
  if (answer.page === "profile") return { decision: "skip" };
  if (answer.page === "consent") {
    const offered = [...answer.text.matchAll(/name="scope" value="([^"]+)"/g)].map(
      ([, name = ""]) => name,
    );
    return { decision: "allow", scope: person.scopes ?? offered };
  }
  return undefined;
}

/** The parameters that an answer sends to the client. */
export function response(answer: Answer): Record<string, string> {
  if (answer.location === undefined) {
    throw new Error(`no redirect but ${answer.status} ${answer.page ?? ""} ${errorOf(answer)}`);
  }
  return Object.fromEntries(new URL(answer.location).searchParams);
}

/** What a form of the engine's own carries against forgery. */
export function xsrfOf({ text: html }: Pick<Answer, "text">): string {
  return /name="xsrf" value="([^"]+)"/.exec(html)?.[1] ?? "";
}

/** The body of an answer that is JSON. */
export function json(answer: Answer): Record<string, unknown> {
  return JSON.parse(answer.text) as Record<string, unknown>;
}

/** The error code of an answer: a page's, a redirect's or JSON's. */
export function errorOf(answer: Answer): string | undefined {
  const shown = /id="error-code">([^<]*)</.exec(answer.text)?.[1];
  if (shown !== undefined) return shown;
  if (answer.location !== undefined) return response(answer)["error"];
  if (!/json/.test(answer.headers["content-type"] ?? "")) return undefined;
  const { error } = json(answer);
  return typeof error === "string" ? error : undefined;
}

/** A server with the configuration of production, behind a proxy that ends TLS. */
export async function aProductionServer(
  settings: Record<string, string> = {},
): Promise<TestServer> {
  return aServer({
    NODE_ENV: "production",
    ISSUER: "https://id.example",
    HOST: "127.0.0.1",
    METRICS_PORT: "0",
    TRUSTED_PROXIES: "1",
    SMTP_URL: "smtp://127.0.0.1:9",
    ...settings,
  });
}
