import { Provider } from "oidc-provider";
import type { AdapterPayload } from "oidc-provider";
import type { TokenContextRow } from "../../models/token-context.ts";
import { restore, toEpoch } from "./payload.ts";

/**
 * What a look-up of a token already read of its grant and session, so that the engine's next question needs no
 * query. Kept for one request only: the next one must see revocation at once.
 */
export class Prefetch {
  readonly #requests = new WeakMap<object, Map<string, AdapterPayload | undefined>>();
  /** What requests wait for. */
  readonly #asked = new WeakMap<object, Map<string, Promise<TokenContextRow | undefined>>>();

  /** What `find` finds, or what it is about to find for whoever asked the same in this request and still waits. */
  async ask<Row extends TokenContextRow>(
    key: string,
    find: () => Promise<Row | undefined>,
  ): Promise<Row | undefined> {
    const request: object | undefined = Provider.ctx;
    if (request === undefined) return find();
    const asked = this.#asked.get(request) ?? new Map<string, Promise<Row | undefined>>();
    this.#asked.set(request, asked);
    const answer = (asked.get(key) as Promise<Row | undefined> | undefined) ?? find();
    asked.set(key, answer);
    try {
      return await answer;
    } finally {
      asked.delete(key);
    }
  }

  #ofThisRequest(): Map<string, AdapterPayload | undefined> | undefined {
    const request: object | undefined = Provider.ctx;
    if (request === undefined) return undefined;
    let known = this.#requests.get(request);
    if (known === undefined) {
      known = new Map();
      this.#requests.set(request, known);
    }
    return known;
  }

  /** Remembers the grant and the session that came with a token. */
  remember(row: TokenContextRow, sessionUid: string | undefined): void {
    const known = this.#ofThisRequest();
    if (known === undefined) return;
    if (row.grant_id !== null && row.grant_payload !== null && row.grant_expires_at !== null) {
      known.set(
        `Grant:${row.grant_id}`,
        restore(row.grant_payload, {
          kind: "Grant",
          jti: row.grant_id,
          expiresAt: row.grant_expires_at,
          ...(row.grant_user_id === null ? {} : { accountId: row.grant_user_id }),
        }),
      );
    }
    if (sessionUid !== undefined) {
      known.set(`Session:${sessionUid}`, sessionOf(row));
    }
  }

  /** Takes what was remembered, once; `undefined` inside the answer means "known not to exist". */
  take(kind: "Grant" | "Session", id: string): { payload: AdapterPayload | undefined } | undefined {
    const known = this.#ofThisRequest();
    const key = `${kind}:${id}`;
    if (known === undefined || !known.has(key)) return undefined;
    const payload = known.get(key);
    known.delete(key);
    return { payload };
  }
}

/** As much of a session as the engine asks for when a token is bound to it. */
function sessionOf(row: TokenContextRow): AdapterPayload | undefined {
  if (row.session_uid === null || row.session_expires_at === null) return undefined;
  return {
    kind: "Session",
    uid: row.session_uid,
    exp: toEpoch(row.session_expires_at),
    ...(row.session_user_id === null ? {} : { accountId: row.session_user_id }),
    ...(row.session_logged_in_at === null ? {} : { loginTs: toEpoch(row.session_logged_in_at) }),
    ...(row.session_authorizations === null ? {} : { authorizations: row.session_authorizations }),
  };
}
