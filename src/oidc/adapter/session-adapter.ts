import { isDeepStrictEqual } from "node:util";
import type { Knex } from "knex";
import { Provider, type AdapterPayload } from "oidc-provider";
import { defer, reader } from "../../database/transaction.ts";
import type { Seal } from "../../keys/seal.ts";
import { sha256 } from "../../lib/secret.ts";
import { Session, type SignIn } from "../../models/session.ts";
import { mayBeClientId } from "../client-cache.ts";
import { ModelAdapter } from "./model-adapter.ts";
import { expiry, fromEpoch, toEpoch } from "./payload.ts";
import { rememberGrant, takeKnown } from "./prefetch.ts";

/** Seconds in which a tab that still sends the cookie of a moment ago is answered with the current one. */
const PREVIOUS_COOKIE_GRACE = 30;
/** Seconds between two writes of a session that only say "still in use". */
const TOUCH_INTERVAL = 60;

const COOKIE_COLUMN = { table: "sessions", column: "cookie_enc" } as const;

/** What was read in a request, to see whether saving would change more than the clock. */
interface Reading {
  /** As text: the engine changes what it is given. */
  readonly payload: string;
  readonly writtenAt: Date;
}

/** Session: rows of `sessions`, keyed by `uid`, which stays while the cookie changes. */
export class SessionAdapter extends ModelAdapter {
  readonly #knex: Knex;
  readonly #seal: Seal;

  constructor(knex: Knex, seal: Seal) {
    super();
    this.#knex = knex;
    this.#seal = seal;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const request = Provider.ctx;
    const now = new Date();
    const { uid } = payload;
    if (uid === undefined) throw new TypeError("a session has a uid");
    const read = request?.state["sessionAsRead"] as Reading | undefined;
    if (read !== undefined && isOnlyTouched(read, payload, now)) return;
    // Staying signed in while one client signs out takes that client away: the only save that may remove one.
    const replaceAuthorizations = request?.oidc.route === "end_session_confirm";
    const saving = Session.saving({
      uid,
      cookieHash: sha256(id),
      cookieEnc: this.#seal.encrypt(id, { ...COOKIE_COLUMN, id: uid }),
      userId: payload.accountId ?? null,
      transient: payload.transient ?? false,
      loggedInAt: payload.loginTs === undefined ? null : fromEpoch(payload.loginTs),
      acr: payload.acr ?? null,
      amr: payload.amr ?? null,
      authorizations:
        (replaceAuthorizations ? payload.authorizations : changedSince(read, payload)) ?? null,
      state: payload.state ?? null,
      ipPrefix: request?.state["ipPrefix"] ?? null,
      userAgent: request?.get("user-agent").slice(0, 255) ?? null,
      now,
      expiresAt: expiry(payload, expiresIn),
      previousValidUntil: new Date(now.getTime() + PREVIOUS_COOKIE_GRACE * 1000),
      replaceAuthorizations,
    });
    await defer(this.#knex, saving);
    const signIn = request?.oidc.result?.["signIn"] as SignIn | undefined;
    if (signIn === undefined) return;
    await defer(this.#knex, Session.describing(uid, signIn));
    // Who confirms by something else does not cut the session off from where it began.
    const { upstream } = signIn;
    if (upstream !== undefined) await defer(this.#knex, Session.connecting(uid, upstream));
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const cookieHash = sha256(id);
    const session = await this.#look(cookieHash);
    if (session === undefined) return undefined;
    const jti = session.cookieHash?.equals(cookieHash) === true ? id : this.#currentCookie(session);
    const payload = { ...payloadOf(session), jti };
    const reading: Reading = { payload: JSON.stringify(payload), writtenAt: session.lastActiveAt };
    if (Provider.ctx !== undefined) Provider.ctx.state["sessionAsRead"] = reading;
    return payload;
  }

  /** The session of a cookie; where a client asks for a sign-in, together with what will be asked for next. */
  async #look(cookieHash: Buffer): Promise<Session | undefined> {
    const db = reader(this.#knex);
    const now = new Date();
    const clientId = clientThatAsks();
    if (clientId === undefined) return Session.findByCookie(db, cookieHash, now);
    const found = await Session.findForClient(db, { cookieHash, clientId }, now);
    if (found !== undefined) rememberGrant(found.beside);
    return found?.session;
  }

  /** The session of a `uid`, without its cookie: what the engine finds this way it never saves. */
  override async findByUid(uid: string): Promise<AdapterPayload | undefined> {
    const known = takeKnown("Session", uid);
    if (known !== undefined) return known.payload;
    const session = await Session.query(reader(this.#knex))
      .findById(uid)
      .whereNull("endedAt")
      .where("expiresAt", ">", new Date());
    return session === undefined ? undefined : payloadOf(session);
  }

  /** Changing the cookie is not an end: the engine destroys the old id before it saves the new one. */
  async destroy(id: string): Promise<void> {
    const session = Provider.ctx?.oidc.session;
    if (session !== undefined && "oldId" in session && session.oldId === id) return;
    // By its uid: another tab may have changed the cookie since this request read it.
    const which = session?.jti === id ? { uid: session.uid } : { cookieHash: sha256(id) };
    await defer(this.#knex, Session.signingOut(which, new Date()));
  }

  #currentCookie(session: Session): string {
    if (session.cookieEnc === null) throw new Error("a live session has a cookie");
    return this.#seal.decrypt(session.cookieEnc, { ...COOKIE_COLUMN, id: session.uid }).toString();
  }
}

function payloadOf(session: Session): AdapterPayload {
  return {
    kind: "Session",
    uid: session.uid,
    iat: toEpoch(session.createdAt),
    exp: toEpoch(session.expiresAt),
    ...(session.userId === null ? {} : { accountId: session.userId }),
    ...(session.transient ? { transient: true } : {}),
    ...(session.loggedInAt === null ? {} : { loginTs: toEpoch(session.loggedInAt) }),
    ...(session.acr === null ? {} : { acr: session.acr }),
    ...(session.amr === null ? {} : { amr: session.amr }),
    ...(session.authorizations === null ? {} : { authorizations: session.authorizations }),
    ...(session.state === null ? {} : { state: session.state }),
  };
}

/** Who sends somebody here for a sign-in; unknown where that is said in a body, which nobody has read yet. */
function clientThatAsks(): string | undefined {
  const { ctx } = Provider;
  const id = ctx?.oidc.route === "authorization" ? ctx.query["client_id"] : undefined;
  return typeof id === "string" && mayBeClientId(id) ? id : undefined;
}

function isOnlyTouched(read: Reading, payload: AdapterPayload, now: Date): boolean {
  return (
    now.getTime() - read.writtenAt.getTime() < TOUCH_INTERVAL * 1000 &&
    isDeepStrictEqual(contentOf(JSON.parse(read.payload)), contentOf(payload))
  );
}

/** Everything of a session but the clock. */
function contentOf({ iat: _iat, exp: _exp, ...content }: AdapterPayload): object {
  return content;
}

/** What this request changed: the rest may be out of date, for another tab may have saved meanwhile. */
function changedSince(
  read: Reading | undefined,
  { accountId, authorizations }: AdapterPayload,
): AdapterPayload["authorizations"] {
  const before = read && (JSON.parse(read.payload) as AdapterPayload);
  if (before === undefined || before.accountId !== accountId || authorizations === undefined) {
    return authorizations;
  }
  return Object.fromEntries(
    Object.entries(authorizations).filter(
      ([id, held]) => !isDeepStrictEqual(before.authorizations?.[id], held),
    ),
  );
}
