import { Provider } from "oidc-provider";
import type { AdapterPayload } from "oidc-provider";
import type { GrantRow, TokenContextRow } from "../../models/token-context.ts";
import type { UserJson } from "../../models/user.ts";
import { restore, toEpoch } from "./payload.ts";

/** What can be known beforehand, by its key. */
interface Known {
  readonly Grant: AdapterPayload;
  /** `undefined` where it is known that there is none. */
  readonly Session: AdapterPayload | undefined;
  readonly User: UserJson;
}

/**
 * What a look-up of a token or a session already read of grant, session and user, so that the engine's next question
 * needs no query. Kept for one request only: the next one must see revocation at once.
 */
export class Prefetch {
  readonly #requests = new WeakMap<object, Map<string, Known[keyof Known]>>();
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

  #ofThisRequest(): Map<string, Known[keyof Known]> | undefined {
    const request: object | undefined = Provider.ctx;
    if (request === undefined) return undefined;
    let known = this.#requests.get(request);
    if (known === undefined) {
      known = new Map();
      this.#requests.set(request, known);
    }
    return known;
  }

  /** Remembers what came with a token: its grant, the user, and the session that it is bound to. */
  remember(row: TokenContextRow, sessionUid: string | undefined): void {
    this.rememberBeside(row);
    if (sessionUid !== undefined)
      this.#ofThisRequest()?.set(`Session:${sessionUid}`, sessionOf(row));
  }

  /** Remembers the grant and the user that came with something of theirs. */
  rememberBeside(row: GrantRow): void {
    const known = this.#ofThisRequest();
    if (known === undefined) return;
    const { grant_id: id, grant_payload: payload, grant_expires_at: expiresAt, account } = row;
    if (id !== null && payload !== null && expiresAt !== null) {
      const accountId = row.grant_user_id ?? undefined;
      known.set(`Grant:${id}`, restore(payload, { kind: "Grant", jti: id, expiresAt, accountId }));
    }
    if (account) known.set(`User:${String(account.user["id"])}`, account);
  }

  /** Takes what was remembered, once. */
  take<Kind extends keyof Known>(kind: Kind, id: string): { payload: Known[Kind] } | undefined {
    const known = this.#ofThisRequest();
    const key = `${kind}:${id}`;
    if (known === undefined || !known.has(key)) return undefined;
    const payload = known.get(key) as Known[Kind];
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
