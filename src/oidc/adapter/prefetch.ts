import { Provider } from "oidc-provider";
import type { AdapterPayload } from "oidc-provider";
import type { GrantRow, TokenContextRow } from "../../models/token-context.ts";
import type { ConsentJson } from "../../models/oauth-consent.ts";
import type { UserJson } from "../../models/user.ts";
import { restore, toEpoch } from "./payload.ts";

/** What can be known beforehand, by its key. */
interface Known {
  readonly Grant: AdapterPayload;
  /** `undefined` where it is known that there is none. */
  readonly Session: AdapterPayload | undefined;
  readonly User: UserJson;
  /** By the keys of the user and the client. */
  readonly Consent: ConsentJson;
}

/*
 * What a look-up of a token or a session already read of grant, session and user, so that the engine's next question
 * needs no query. Kept for one request only: the next one must see revocation at once.
 */

/** What one request knows and waits for. It is part of the request: a weak map would cost the garbage collector more. */
interface OfRequest {
  readonly known: Map<string, Known[keyof Known]>;
  readonly asked: Map<string, Promise<TokenContextRow | undefined>>;
}

function ofThisRequest(): OfRequest | undefined {
  const state = Provider.ctx?.state as { prefetch?: OfRequest } | undefined;
  if (state === undefined) return undefined;
  return (state.prefetch ??= { known: new Map(), asked: new Map() });
}

/** What `find` finds, or what it is about to find for whoever asked the same in this request and still waits. */
export async function askOnce<Row extends TokenContextRow>(
  key: string,
  find: () => Promise<Row | undefined>,
): Promise<Row | undefined> {
  const asked = ofThisRequest()?.asked;
  if (asked === undefined) return find();
  const answer = (asked.get(key) as Promise<Row | undefined> | undefined) ?? find();
  asked.set(key, answer);
  try {
    return await answer;
  } finally {
    asked.delete(key);
  }
}

/** Remembers what came with a token: its grant, the user, and the session that it is bound to. */
export function rememberContext(row: TokenContextRow, sessionUid: string | undefined): void {
  rememberGrant(row);
  if (sessionUid !== undefined) ofThisRequest()?.known.set(`Session:${sessionUid}`, sessionOf(row));
}

/** Remembers the grant, if there is one, and the user that came with it. */
export function rememberGrant(row: GrantRow): void {
  const known = ofThisRequest()?.known;
  if (known === undefined) return;
  const { grant_id: id, grant_payload: payload, grant_expires_at: expiresAt, account } = row;
  if (id !== null && payload !== null && expiresAt !== null) {
    const accountId = row.grant_user_id ?? undefined;
    known.set(`Grant:${id}`, restore(payload, { kind: "Grant", jti: id, expiresAt, accountId }));
  }
  if (account) rememberUser(account);
}

export function rememberUser(account: UserJson): void {
  ofThisRequest()?.known.set(`User:${String(account.user["id"])}`, account);
}

export function rememberConsent(consent: ConsentJson): void {
  ofThisRequest()?.known.set(`Consent:${consent.user_id} ${consent.client_id}`, consent);
}

/** Takes what was remembered, once. */
export function takeKnown<Kind extends keyof Known>(
  kind: Kind,
  id: string,
): { payload: Known[Kind] } | undefined {
  const known = ofThisRequest()?.known;
  const key = `${kind}:${id}`;
  if (known === undefined || !known.has(key)) return undefined;
  const payload = known.get(key) as Known[Kind];
  known.delete(key);
  return { payload };
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
