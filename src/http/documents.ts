import type { IncomingMessage, OutgoingHttpHeaders, RequestListener } from "node:http";
import type { Context, Middleware, Next } from "koa";
import { countOf } from "./host.ts";
import { newReference } from "./request-log.ts";

/**
 * What everybody reads and nobody decides about: key sets and metadata (OIDC Discovery §4, RFC 8414 §3, RFC 7517 §5) of
 * the issuers. A connection's own key set changes by itself, and is asked for by its provider alone.
 */
const DOCUMENTS =
  /^(\/[\w~.-]+)*\/(jwks|\.well-known\/(openid-configuration|oauth-authorization-server)(\/[\w~./-]+)?)$/;
/** The router does not mind capitals. */
const OF_CONNECTIONS = /\/federation\//i;

/** An answer as it was given once. */
interface Prepared {
  readonly headers: OutgoingHttpHeaders;
  readonly body: string;
}

/**
 * Answers requests for key sets and metadata from what was answered before, ahead of everything else. They are the same
 * for everybody until the keys change, and are asked for the most. Only what is plainly that is answered here: a GET by
 * path, with one Host and no Origin.
 */
export class Documents {
  #prepared = new Map<string, Prepared>();
  readonly #onAnswer: (path: string) => void;

  /** @param onAnswer is told of each answer from here, which no middleware sees. */
  constructor(onAnswer: (path: string) => void) {
    this.#onAnswer = onAnswer;
  }

  /** Forgets all. What is being answered at this moment may be out of date, and goes where nobody looks any more. */
  clear(): void {
    this.#prepared = new Map();
  }

  /** Remembers what the middlewares below answer. */
  readonly middleware: Middleware = (ctx, next) =>
    isPlain(ctx.req, ctx.originalUrl) ? this.#remember(ctx, next) : next();

  async #remember(ctx: Context, next: Next): Promise<void> {
    const prepared = this.#prepared;
    const { originalUrl: url } = ctx;
    await next();
    const { body, status, response } = ctx;
    if (status !== 200 || ctx.res.hasHeader("Set-Cookie")) return;
    const text = JSON.stringify(body);
    // One byte a character is the shortest way onto the wire.
    if (/[^\x20-\x7e]/.test(text)) return;
    const headers = { ...response.headers, "content-length": text.length };
    prepared.set(keyOf(ctx.req, url), { headers, body: text });
  }

  /** Answers what is prepared, and leaves the rest to `next`. */
  before(next: RequestListener): RequestListener {
    return (request, response) => {
      const { url = "" } = request;
      const prepared = this.#prepared.get(keyOf(request, url));
      if (prepared === undefined || !isPlain(request, url)) return next(request, response);
      response.writeHead(200, { ...prepared.headers, "x-correlation-id": newReference() });
      response.end(prepared.body, "latin1");
      this.#onAnswer(url);
    };
  }
}

function keyOf({ headers }: IncomingMessage, url: string): string {
  return `${headers.host?.toLowerCase()} ${url}`;
}

function isPlain({ method, headers, rawHeaders }: IncomingMessage, url: string): boolean {
  if (method !== "GET" || headers.origin !== undefined || !DOCUMENTS.test(url)) return false;
  return !OF_CONNECTIONS.test(url) && countOf("host", rawHeaders) === 1;
}
