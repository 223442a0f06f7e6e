import type { QueryBuilder, TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import type { Statement } from "../database/statement.ts";
import { BaseModel } from "./base.ts";
import { GRANT_COLUMNS, type GrantRow } from "./token-context.ts";
import { selectUser } from "./user.ts";

/** Which client of a session holds which grant; the engine's `authorizations` (its Session model). */
export type SessionAuthorizations = Record<
  string,
  { sid?: string | undefined; grantId?: string | undefined; persistsLogout?: boolean | undefined }
>;

/** What a session keeps of the one elsewhere that it began with; bytes as base64, because it travels as JSON. */
export interface UpstreamSignIn {
  readonly identityId: string;
  /** What names it there, sealed. */
  readonly sealed: string;
  /** By what it is found when it ends there. */
  readonly key?: string;
  /** When it ends at the latest, in milliseconds since the epoch. */
  readonly notAfter?: number;
  /** How the person signed in there, in the provider's words. */
  readonly acr?: string;
  readonly amr?: readonly string[];
}

/** What is known of a sign-in beside who it was and how well proven: kept with its session. */
export interface SignIn {
  readonly deviceId: string;
  /** What was shown first. */
  readonly method: string | undefined;
  /** ISO 3166-1 alpha-2. */
  readonly country: string | undefined;
  /** Longitude and latitude in whole degrees. */
  readonly place: { readonly x: number; readonly y: number } | undefined;
  readonly riskScore: number;
  readonly riskReasons: readonly string[];
  readonly upstream?: UpstreamSignIn | undefined;
}

const COLUMNS = `s.uid, s.cookie_hash, s.cookie_enc, s.user_id, s.transient, s.logged_in_at, s.acr, s.amr,
  s.authorizations, s.state, s.created_at, s.last_active_at, s.expires_at`;
const OF_COOKIE = `s.ended_at IS NULL AND s.expires_at > :now AND (s.cookie_hash = k.cookieHash
  OR (s.previous_cookie_hash = k.cookieHash AND s.previous_valid_until > :now))`;

const FIND_BY_COOKIE = lookUp(`SELECT ${COLUMNS} FROM sessions s WHERE ${OF_COOKIE}`, {
  cookieHash: "bytea",
});

/** With what a client that asks would have to be looked up next: the user, and its grant unless that was revoked. */
const FIND_FOR_CLIENT = lookUp(
  `SELECT ${COLUMNS}, ${GRANT_COLUMNS}, ${selectUser("s.user_id")} AS account
   FROM sessions s
   LEFT JOIN oauth_grants g
     ON g.id = (s.authorizations->k.clientId->>'grantId')::uuid AND g.revoked_at IS NULL
   WHERE ${OF_COOKIE}`,
  { cookieHash: "bytea", clientId: "text" },
);

/**
 * One browser's sign-in. `uid` stays for its whole life while the cookie changes; only hashes of cookies are kept,
 * and the current one sealed, so that a tab that still sends the previous cookie is answered with the current one.
 */
export class Session extends BaseModel {
  static override tableName = "sessions";
  static override idColumn = "uid";
  static override jsonAttributes = ["authorizations", "state"];
  declare uid: string;
  declare cookieHash: Buffer | null;
  declare cookieEnc: Buffer | null;
  declare previousCookieHash: Buffer | null;
  declare previousValidUntil: Date | null;
  declare userId: string | null;
  declare transient: boolean;
  declare loggedInAt: Date | null;
  declare acr: string | null;
  declare amr: string[] | null;
  declare authorizations: SessionAuthorizations | null;
  declare state: Record<string, unknown> | null;
  declare ipPrefix: string | null;
  declare userAgent: string | null;
  declare deviceId: string | null;
  declare loginMethod: string | null;
  declare country: string | null;
  declare place: { x: number; y: number } | null;
  declare riskScore: number;
  declare riskReasons: string[];
  /** When whoever has it last showed once more who they are. */
  declare confirmedAt: Date | null;
  /** Who signed in elsewhere, where the session began with that. */
  declare identityId: string | null;
  declare upstreamEnc: Buffer | null;
  declare upstreamAcr: string | null;
  declare upstreamAmr: string[] | null;
  declare upstreamKey: Buffer | null;
  /** When the session elsewhere ends, and with it this one. */
  declare notAfter: Date | null;
  declare createdAt: Date;
  declare lastActiveAt: Date;
  declare expiresAt: Date;
  declare gcOn: string;
  declare endedAt: Date | null;
  declare endReason:
    | "logout"
    | "superseded"
    | "user_disabled"
    | "admin_revoked"
    | "password_changed"
    | "email_restored"
    | "user_revoked"
    | "disavowed"
    | "upstream_logout"
    | null;

  /** The sign-ins of a user that neither ended nor ran out. */
  static liveOf(
    db: TransactionOrKnex,
    userId: string,
    now: Date,
  ): QueryBuilder<Session, Session[]> {
    return Session.query(db).where({ userId }).whereNull("endedAt").where("expiresAt", ">", now);
  }

  /** The write that keeps from where a session was last used, and when whoever has it showed once more who they are. */
  static noting(
    uid: string,
    use: { ipPrefix: string | null; userAgent: string; confirmedAt: Date | undefined },
  ): Statement {
    return {
      sql: `UPDATE sessions SET ip_prefix = :ipPrefix, user_agent = :userAgent,
         confirmed_at = coalesce(:confirmedAt, confirmed_at) WHERE uid = :uid`,
      bindings: { ...use, uid, confirmedAt: use.confirmedAt ?? null },
    };
  }

  /** The write that keeps what is known of the sign-in that a session began with. */
  static describing(uid: string, signIn: SignIn): Statement {
    const { deviceId, method, country, place, riskScore, riskReasons } = signIn;
    return {
      sql: `UPDATE sessions SET device_id = :deviceId, login_method = :method, country = :country,
         place = point(CAST(:x AS float8), CAST(:y AS float8)), risk_score = :riskScore, risk_reasons = :riskReasons
       WHERE uid = :uid`,
      bindings: {
        uid,
        deviceId,
        method: method ?? null,
        country: country ?? null,
        x: place?.x ?? null,
        y: place?.y ?? null,
        riskScore,
        riskReasons: [...riskReasons],
      },
    };
  }

  /** The write that keeps where a session began elsewhere. */
  static connecting(uid: string, upstream: UpstreamSignIn): Statement {
    const { identityId, sealed, key, acr, amr, notAfter } = upstream;
    return {
      sql: `UPDATE sessions SET identity_id = :identityId, upstream_enc = :sealed, upstream_key = :key,
         upstream_acr = :acr, upstream_amr = :amr, not_after = :notAfter, expires_at = least(expires_at, :notAfter)
       WHERE uid = :uid`,
      bindings: {
        uid,
        identityId,
        sealed: Buffer.from(sealed, "base64"),
        key: key === undefined ? null : Buffer.from(key, "base64"),
        acr: acr ?? null,
        amr: amr === undefined ? null : [...amr],
        notAfter: notAfter === undefined ? null : new Date(notAfter),
      },
    };
  }

  /** The live session of a cookie, or of the cookie it replaced a moment ago: as much of it as the engine keeps. */
  static async findByCookie(
    db: TransactionOrKnex,
    cookieHash: Buffer,
    now: Date,
  ): Promise<Session | undefined> {
    const row = await Session.lookUp(db, FIND_BY_COOKIE, { cookieHash, now });
    return row && Session.fromRow(row);
  }

  /** The same with its user and the grant that a client, by its public identifier, has in it. */
  static async findForClient(
    db: TransactionOrKnex,
    about: { cookieHash: Buffer; clientId: string },
    now: Date,
  ): Promise<{ session: Session; beside: GrantRow } | undefined> {
    const row = await Session.lookUp<GrantRow>(db, FIND_FOR_CLIENT, { ...about, now });
    if (row === undefined) return undefined;
    const {
      account = null,
      grant_id,
      grant_user_id,
      grant_payload,
      grant_expires_at,
      ...columns
    } = row;
    const beside = { account, grant_id, grant_user_id, grant_payload, grant_expires_at };
    return { session: Session.fromRow(columns), beside };
  }

  /**
   * What a live session of this user holds of a client. Whoever asks has the session to itself until its transaction
   * ends, so that of two tabs the second sees what the first one made.
   */
  static async lockAuthorization(
    db: TransactionOrKnex,
    { uid, userId, clientId }: { uid: string; userId: string; clientId: string },
  ): Promise<SessionAuthorizations[string] | undefined> {
    const session = await Session.query(db)
      .select("authorizations")
      .findOne({ uid, userId })
      .whereNull("endedAt")
      .forUpdate();
    return session?.authorizations?.[clientId];
  }

  /**
   * The write that saves what the engine holds of a session. Two tabs may save at once, so authorizations are merged unless
   * `replaceAuthorizations`; an ended session stays ended; the cookie that is replaced stays good until
   * `previousValidUntil` as long as the user is the same (another user's old cookie must die at once).
   */
  static saving(session: {
    uid: string;
    cookieHash: Buffer;
    cookieEnc: Buffer;
    userId: string | null;
    transient: boolean;
    loggedInAt: Date | null;
    acr: string | null;
    amr: string[] | null;
    authorizations: SessionAuthorizations | null;
    state: Record<string, unknown> | null;
    ipPrefix: string | null;
    userAgent: string | null;
    now: Date;
    expiresAt: Date;
    previousValidUntil: Date;
    replaceAuthorizations: boolean;
  }): Statement {
    return {
      sql: `INSERT INTO sessions AS s (uid, cookie_hash, cookie_enc, user_id, transient, logged_in_at, acr, amr,
         authorizations, state, ip_prefix, user_agent, created_at, last_active_at, expires_at, gc_on)
       VALUES (:uid, :cookieHash, :cookieEnc, :userId, :transient, :loggedInAt, :acr, :amr, :authorizations,
         :state, :ipPrefix, :userAgent, :now, :now, :expiresAt, (CAST(:expiresAt AS timestamptz) AT TIME ZONE 'UTC')::date + 2)
       ON CONFLICT (uid) DO UPDATE SET
         cookie_hash = EXCLUDED.cookie_hash,
         cookie_enc = EXCLUDED.cookie_enc,
         previous_cookie_hash = CASE
           WHEN s.user_id IS DISTINCT FROM EXCLUDED.user_id THEN NULL
           WHEN s.cookie_hash = EXCLUDED.cookie_hash THEN s.previous_cookie_hash
           ELSE s.cookie_hash END,
         previous_valid_until = CASE
           WHEN s.cookie_hash = EXCLUDED.cookie_hash THEN s.previous_valid_until
           ELSE :previousValidUntil END,
         user_id = EXCLUDED.user_id,
         transient = EXCLUDED.transient,
         logged_in_at = EXCLUDED.logged_in_at,
         acr = EXCLUDED.acr,
         amr = EXCLUDED.amr,
         authorizations = CASE
           WHEN :replaceAuthorizations OR s.user_id IS DISTINCT FROM EXCLUDED.user_id THEN EXCLUDED.authorizations
           ELSE coalesce(s.authorizations, '{}') || coalesce(EXCLUDED.authorizations, '{}') END,
         state = EXCLUDED.state,
         ip_prefix = EXCLUDED.ip_prefix,
         user_agent = EXCLUDED.user_agent,
         last_active_at = EXCLUDED.last_active_at,
         expires_at = least(EXCLUDED.expires_at, s.not_after),
         gc_on = EXCLUDED.gc_on
       WHERE s.ended_at IS NULL`,
      bindings: {
        ...session,
        authorizations:
          session.authorizations === null ? null : JSON.stringify(session.authorizations),
        state: session.state === null ? null : JSON.stringify(session.state),
      },
    };
  }

  /** The write that ends a session for good because somebody signed out, whatever its cookie is by now. */
  static signingOut(
    session: { readonly uid: string } | { readonly cookieHash: Buffer },
    now: Date,
  ): Statement {
    const which = "uid" in session ? "uid = :uid" : "cookie_hash = :cookieHash";
    return {
      sql: `UPDATE sessions SET ended_at = :now, end_reason = 'logout', cookie_hash = NULL, cookie_enc = NULL,
         previous_cookie_hash = NULL
       WHERE ${which} AND ended_at IS NULL`,
      bindings: { ...session, now },
    };
  }
}
