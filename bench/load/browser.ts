import type { IncomingHttpHeaders } from "node:http";
import type { Dispatcher, Pool } from "undici";
import { ISSUER } from "../world.ts";

/** What came back, redirects not followed. */
export interface Answer {
  readonly status: number;
  /** The path it redirects to, with its query; absolute where that is another host. */
  readonly location: string | undefined;
  readonly text: string;
  readonly cookies: readonly string[];
}

export type Fields = Readonly<Record<string, string | readonly string[]>>;

export interface Sent {
  readonly path: string;
  /** They make it a POST of a form. */
  readonly fields?: Fields;
  readonly headers?: Readonly<Record<string, string>>;
}

const { host } = new URL(ISSUER);

/** A request as a proxy that ended TLS would send it, in the way of the HTTP client. */
export function written({ path, fields, headers }: Sent): Dispatcher.DispatchOptions {
  const isForm = fields !== undefined;
  return {
    path,
    method: isForm ? "POST" : "GET",
    headers: {
      host,
      "x-forwarded-proto": "https",
      ...(isForm ? { "content-type": "application/x-www-form-urlencoded" } : {}),
      ...headers,
    },
    body: isForm ? encode(fields) : null,
  };
}

/** Sends one request. */
export function send(pool: Pool, request: Dispatcher.DispatchOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    pool.dispatch(request, new Reception(resolve, reject));
  });
}

/** Takes in one answer. `pool.request` would make a stream of each body, for half as much again of this process' time. */
class Reception implements Dispatcher.DispatchHandler {
  readonly #resolve: (answer: Answer) => void;
  readonly onResponseError: (controller: unknown, error: Error) => void;
  readonly #chunks: Buffer[] = [];
  #status = 0;
  #headers: IncomingHttpHeaders = {};

  constructor(resolve: (answer: Answer) => void, reject: (error: Error) => void) {
    this.#resolve = resolve;
    this.onResponseError = (_controller, error) => reject(error);
  }

  onRequestStart(): void {}

  onResponseStart(_controller: unknown, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    const [first, ...others] = this.#chunks;
    const body = others.length === 0 ? first : Buffer.concat(this.#chunks);
    this.#resolve({
      status: this.#status,
      location: pathOf(this.#headers["location"]),
      text: body?.toString() ?? "",
      cookies: [this.#headers["set-cookie"] ?? []].flat(),
    });
  }
}

function encode(fields: Fields): string {
  const body = new URLSearchParams();
  for (const [name, values] of Object.entries(fields))
    for (const value of [values].flat()) body.append(name, value);
  return body.toString();
}

function pathOf(location: string | string[] | undefined): string | undefined {
  if (typeof location !== "string") return undefined;
  return location.startsWith(ISSUER) ? location.slice(ISSUER.length) || "/" : location;
}

/** A browser that shows nothing: a cookie jar, and forms posted as pages would post them. */
export class Browser {
  readonly #pool: Pool;
  readonly #headers: Readonly<Record<string, string>>;
  /** By path and name. */
  readonly #jar = new Map<string, { path: string; pair: string }>();
  /** The path of the page that it is on. */
  path = "/";

  /** @param cookie what it has from before, as the header that it sends. */
  constructor(pool: Pool, address: string, cookie?: string) {
    this.#pool = pool;
    this.#headers = { accept: "text/html", "x-forwarded-for": address, "user-agent": "bench" };
    if (cookie !== undefined) this.#jar.set("", { path: "/", pair: cookie });
  }

  /** Opens a path and follows redirects until there is a page, or another host's address. */
  async open(path: string): Promise<Answer> {
    let answer = await this.#ask({ path });
    while (answer.location?.startsWith("/") === true)
      answer = await this.#ask({ path: answer.location });
    return answer;
  }

  /** Posts a form, to the page it is on unless `path` says otherwise, and goes where that leads. */
  async submit(fields: Fields, path = this.path): Promise<Answer> {
    const headers = { origin: ISSUER, "sec-fetch-site": "same-origin" };
    const answer = await this.#ask({ path, fields, headers });
    return answer.location?.startsWith("/") === true ? this.open(answer.location) : answer;
  }

  /** Asks for a path once, with its cookies, and keeps none: for what is asked over and over again. */
  peek(path: string): Promise<Answer> {
    const headers = { ...this.#headers, cookie: this.#cookiesFor(path) };
    return send(this.#pool, written({ path, headers }));
  }

  /** The same browser in another network. */
  from(address: string): Browser {
    const other = new Browser(this.#pool, address);
    for (const [key, cookie] of this.#jar) other.#jar.set(key, cookie);
    other.path = this.path;
    return other;
  }

  /** Forgets who is signed in, but not that this browser was here before. */
  forgetSession(): void {
    for (const key of this.#jar.keys()) if (/session/.test(key)) this.#jar.delete(key);
  }

  async #ask(sent: Sent): Promise<Answer> {
    const cookie = this.#cookiesFor(sent.path);
    const headers = { ...this.#headers, ...sent.headers, ...(cookie === "" ? {} : { cookie }) };
    const answer = await send(this.#pool, written({ ...sent, headers }));
    for (const line of answer.cookies) this.#keep(line);
    this.path = sent.path;
    return answer;
  }

  #cookiesFor(target: string): string {
    const [path = ""] = target.split("?");
    return [...this.#jar.values()]
      .filter((each) => each.path === "/" || path === each.path || path.startsWith(`${each.path}/`))
      .map(({ pair }) => pair)
      .join("; ");
  }

  #keep(line: string): void {
    const [pair = ""] = line.split(";", 1);
    const path = /; path=([^;]+)/i.exec(line)?.[1] ?? "/";
    const key = `${path} ${pair.split("=", 1)[0]}`;
    const isGone = pair.endsWith("=") || /expires=Thu, 01 Jan 1970|max-age=0/i.test(line);
    if (isGone) this.#jar.delete(key);
    else this.#jar.set(key, { path, pair });
  }
}
