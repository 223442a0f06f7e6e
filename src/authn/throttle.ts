import { createHmac, createSecretKey } from "node:crypto";
import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import type { Seal } from "../keys/seal.ts";
import { LoginThrottle } from "../models/login-throttle.ts";
import { UserDevice } from "../models/user-device.ts";
import { findByIdentifier, readIdentifier, type FoundUser } from "./identifier.ts";

type Scope = LoginThrottle["scope"];
/** What counts the codes that people type from another device. */
type CodeScope = "code_session" | "code_ip";

/** How many tries a counter allows and how long it then blocks; times in seconds. */
interface Limit {
  readonly tries: number;
  /** How long tries are remembered, from the first one, or from the end of a block. */
  readonly window: number;
  /** How long they are remembered from the end of a block, where not as long. */
  readonly memory?: number;
  /** The first block; every further try doubles it, up to `longestBlock`. */
  readonly block: number;
  readonly longestBlock: number;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** More tries than there can be: a counter with this limit only counts. */
const NEVER = 2 ** 31 - 1;

/**
 * NIST SP 800-63B-4 §3.2.2 allows 100 consecutive failures on an account; the others make them slow (T-63). A block of
 * the account keeps nobody out who has signed in with their browser before, nor a passkey, and ends with a new
 * password. Of user codes there are 20^8, so that 50 guesses an hour find none (RFC 8628 §5.1). Five mails an hour are
 * enough for anybody and too few to fill a mailbox (T-75).
 *
 * Whoever moves several counters takes them in the order in which they stand here, so that nobody waits for somebody who
 * waits for them.
 */
const LIMITS: Readonly<Record<Scope, Limit>> = {
  account_ip: { tries: 5, window: 15 * MINUTE, block: MINUTE, longestBlock: 15 * MINUTE },
  ip: { tries: 30, window: 10 * MINUTE, block: 10 * MINUTE, longestBlock: 10 * MINUTE },
  // How many names a network has tried without success; what is counted first is each of them.
  sprayed: { tries: NEVER, window: HOUR, block: 0, longestBlock: 0 },
  spray: { tries: 20, window: HOUR, block: HOUR, longestBlock: HOUR },
  // Stops nobody: it tells that an account is being guessed at.
  account_hour: { tries: NEVER, window: HOUR, block: 0, longestBlock: 0 },
  account: { tries: 100, window: 90 * DAY, block: 400 * DAY, longestBlock: 400 * DAY },
  // The same for a browser that the person has signed in with: what others do elsewhere does not count there.
  device: { tries: 5, window: 15 * MINUTE, block: MINUTE, longestBlock: 15 * MINUTE },
  device_total: { tries: 100, window: 90 * DAY, block: 400 * DAY, longestBlock: 400 * DAY },
  code_session: { tries: 5, window: 15 * MINUTE, block: MINUTE, longestBlock: 15 * MINUTE },
  registration: { tries: 20, window: 60 * MINUTE, block: 60 * MINUTE, longestBlock: 60 * MINUTE },
  document: { tries: 100, window: HOUR, block: HOUR, longestBlock: HOUR },
  message: { tries: 30, window: MINUTE, memory: 0, block: MINUTE, longestBlock: MINUTE },
  ciba: { tries: 30, window: 60 * MINUTE, block: 10 * MINUTE, longestBlock: 60 * MINUTE },
  ciba_user: { tries: 60, window: 60 * MINUTE, block: 10 * MINUTE, longestBlock: 60 * MINUTE },
  code_ip: { tries: 50, window: 60 * MINUTE, block: 15 * MINUTE, longestBlock: 60 * MINUTE },
  hint: { tries: 30, window: 60 * MINUTE, block: 15 * MINUTE, longestBlock: 60 * MINUTE },
  mail_ip: { tries: 20, window: HOUR, memory: 0, block: HOUR, longestBlock: HOUR },
  mail_address: { tries: 5, window: HOUR, memory: 0, block: HOUR, longestBlock: HOUR },
  factor: { tries: 5, window: DAY, block: DAY, longestBlock: DAY },
  factor_user: { tries: 10, window: 60 * MINUTE, block: 60 * MINUTE, longestBlock: 60 * MINUTE },
  recovery_user: { tries: 5, window: 60 * MINUTE, block: 60 * MINUTE, longestBlock: 60 * MINUTE },
};

/** Numbers of tries on one account, from anywhere, at which its owner should hear of them. */
const TELL_OWNER_AT: ReadonlySet<number> = new Set([20, 100]);

/** The longest wait that an answer about a password names, in seconds. */
const LONGEST_WAIT = 15 * MINUTE;

/** The counters that one try moved, for `throttleSuccess`. */
export interface CountedTry {
  readonly allowed: true;
  /** True on exactly one try at each threshold, so that one mail is sent, and only if this try fails. */
  readonly ownerShouldBeTold: boolean;
  readonly counted: readonly Counter[];
}

interface Counter {
  readonly scope: Scope;
  readonly key: Buffer;
  /** Moved only where the one before it counts its first; where it is blocked, it refuses all the same. */
  readonly isOfFirsts?: true;
}

interface Refused {
  readonly allowed: false;
  readonly retryAfter: number;
  /** Waiting does not help: where it was tried, nothing more is looked at. */
  readonly isOver?: true;
}

export type Throttled = CountedTry | Refused;

/** A try to sign in, as far as it is counted. */
interface Try {
  readonly identifier: string;
  /** Who that is, if there is such a person, looked up with `device`. */
  readonly found: FoundUser | undefined;
  readonly ipPrefix: string;
  /** The hash of the cookie by which a browser is known. */
  readonly device?: Buffer | undefined;
  readonly now: Date;
}

/**
 * Counts a try to sign in, before the password is looked at, and says whether it may go on; parallel tries cannot
 * outrun the counters. People we do not know are counted like those we know. Call it outside a transaction: a try
 * counts even if what follows is rolled back.
 *
 * A try that one counter refuses does not reach the next, so hammering from one place blocks that place long before
 * it blocks the account. A browser that the person has signed in with has counters of its own, so that nobody else
 * can keep them out there; the cookie of somebody else's browser gives nothing.
 */
export async function throttleAttempt(
  db: TransactionOrKnex,
  seal: Seal,
  { identifier, found, ipPrefix, device, now }: Try,
): Promise<Throttled> {
  const typed = spelling(identifier);
  const userId = found?.user.id;
  const account = userId === undefined ? `unknown\0${typed}` : userKey(userId);
  const key = keyed(seal);
  const counters: Counter[] =
    device !== undefined && found?.isKnownDevice === true
      ? deviceCounters(seal, account, device)
      : [
          // What was typed, so that a block does not tell which names are of one account.
          { scope: "account_ip", key: key("account_ip", typed, ipPrefix) },
          { scope: "ip", key: key("ip", ipPrefix) },
          { scope: "sprayed", key: key("sprayed", account, ipPrefix) },
          { scope: "spray", key: key("spray", ipPrefix), isOfFirsts: true },
          { scope: "account_hour", key: key("account_hour", account) },
          { scope: "account", key: key("account", account) },
        ];
  const counted = await count(db, counters, now);
  if ("refused" in counted) return refusal(db, counted.refused, now);
  return {
    allowed: true,
    ownerShouldBeTold: TELL_OWNER_AT.has(counted.tries.get("account") ?? 0),
    counted: counters,
  };
}

const FAILURES = lookUp(
  "SELECT failures FROM login_throttles WHERE key_hash = k.keyHash AND window_start > k.since",
  { keyHash: "bytea", since: "timestamptz" },
);

/** How many wrong passwords were tried on an account from unknown browsers, within an hour of the first. */
export async function recentFailures(
  db: TransactionOrKnex,
  seal: Seal,
  userId: string,
  now: Date,
): Promise<number> {
  const keyHash = keyed(seal)("account_hour", userKey(userId));
  const since = new Date(now.getTime() - LIMITS.account_hour.window * 1000);
  const found = { keyHash, since };
  const row = await LoginThrottle.lookUp<{ failures: number }>(db, FAILURES, found);
  return row?.failures ?? 0;
}

/** The counters that a success ends; of the others it takes back its own try. */
const ENDED_BY_SUCCESS: ReadonlySet<Scope> = new Set([
  "account_ip",
  "sprayed",
  "account",
  "device",
  "device_total",
]);

/**
 * Takes back what a try counted that turned out right. Failures before it are forgotten for this person here, and are
 * no longer consecutive on the account; the address they came from keeps all but this one. On a known browser it says
 * nothing about the failures elsewhere.
 */
export async function throttleSuccess(
  db: TransactionOrKnex,
  { counted }: CountedTry,
): Promise<void> {
  const ended = counted.filter(({ scope }) => ENDED_BY_SUCCESS.has(scope));
  const kept = counted.filter(({ scope }) => !ENDED_BY_SUCCESS.has(scope));
  await LoginThrottle.statement(
    db,
    `WITH locked AS MATERIALIZED (${IN_ORDER}),
          ended AS (DELETE FROM login_throttles t USING locked
                     WHERE t.key_hash = locked.key_hash AND t.key_hash = ANY(:ended) RETURNING t.scope)
     UPDATE login_throttles t
        SET failures = greatest(t.failures - 1, 0),
            blocked_until = CASE WHEN t.failures > CAST(CAST(:tries AS jsonb)->>t.scope AS int) THEN t.blocked_until END
       FROM locked
      WHERE t.key_hash = locked.key_hash AND t.key_hash <> ALL(:ended)
        AND (t.scope <> 'spray' OR EXISTS (SELECT FROM ended WHERE scope = 'sprayed'))`,
    {
      keys: counted.map(({ key }) => key),
      ended: ended.map(({ key }) => key),
      tries: JSON.stringify(
        Object.fromEntries(kept.map(({ scope }) => [scope, LIMITS[scope].tries])),
      ),
    },
  );
}

/** A user code that was typed and counted, for `throttleCodeSuccess`. */
export interface CountedCode {
  readonly allowed: true;
  readonly keys: Readonly<Record<CodeScope, Buffer>>;
}

/**
 * Counts that somebody typed a user code (RFC 8628 §5.1), before it is looked up, by session and by network. Call it
 * outside a transaction, as `throttleAttempt`.
 */
export async function throttleCode(
  db: TransactionOrKnex,
  seal: Seal,
  { sessionUid, ipPrefix, now }: { sessionUid: string; ipPrefix: string; now: Date },
): Promise<CountedCode | Refused> {
  const key = keyed(seal);
  const keys = {
    code_session: key("code_session", sessionUid),
    code_ip: key("code_ip", ipPrefix),
  };
  const counters = (["code_session", "code_ip"] as const).map((scope) => ({
    scope,
    key: keys[scope],
  }));
  const counted = await count(db, counters, now);
  return "refused" in counted ? refusal(db, counted.refused, now) : { allowed: true, keys };
}

/** Takes back what a code counted that exists. Failures before it stay: everybody can have a code of their own. */
export async function throttleCodeSuccess(
  db: TransactionOrKnex,
  { keys }: CountedCode,
): Promise<void> {
  await takeBack(db, "code_session", keys.code_session);
  await takeBack(db, "code_ip", keys.code_ip);
}

/**
 * Counts that a client named somebody whom we do not know, and says whether it may go on asking: one that tries out
 * names learns of few (CIBA Core §13).
 */
export async function throttleHint(
  db: TransactionOrKnex,
  seal: Seal,
  { clientId, now }: { clientId: string; now: Date },
): Promise<boolean> {
  return counts(db, "hint", keyed(seal)("hint", clientId), now);
}

/**
 * Counts that a client asks a person for approval, and says whether it may: by client and person, and by person,
 * however soon its requests end (CIBA Core §13).
 */
export async function throttleRequest(
  db: TransactionOrKnex,
  seal: Seal,
  { clientId, userId, now }: { clientId: string; userId: string; now: Date },
): Promise<boolean> {
  const key = keyed(seal);
  const counters = [
    { scope: "ciba", key: key("ciba", `${clientId}\0${userId}`) },
    { scope: "ciba_user", key: key("ciba_user", userId) },
  ] as const;
  return !("refused" in (await count(db, counters, now)));
}

/**
 * Counts that somebody registers a client (RFC 7591 §5), or has us fetch a document of one that we do not know, and says
 * whether they may.
 */
export async function throttleNewClient(
  db: TransactionOrKnex,
  seal: Seal,
  { scope, ipPrefix, now }: { scope: "registration" | "document"; ipPrefix: string; now: Date },
): Promise<boolean> {
  return counts(db, scope, keyed(seal)(scope, ipPrefix), now);
}

/**
 * Says whether messages of identity providers are still looked at that come from a network, though nobody has asked for
 * them: thirty that prove nothing stop the others for a minute (T-104). Those that are good are as many as people are.
 */
export async function messagesAllowed(
  db: TransactionOrKnex,
  seal: Seal,
  { ipPrefix, now }: { ipPrefix: string; now: Date },
): Promise<{ readonly allowed: true } | Refused> {
  const key = keyed(seal)("message", ipPrefix);
  return (await isBlocked(db, key, now)) ? refusal(db, key, now) : { allowed: true };
}

/** Counts a message that proved nothing, and says whether it is to be noted: what is stopped fills no database. */
export async function throttleMessage(
  db: TransactionOrKnex,
  seal: Seal,
  { ipPrefix, now }: { ipPrefix: string; now: Date },
): Promise<boolean> {
  return counts(db, "message", keyed(seal)("message", ipPrefix), now);
}

/**
 * Counts a mail that somebody asks for without having proven that the address is theirs (a code, a link, a
 * confirmation), and says whether it may be sent: five an hour to an address, whatever its spelling or tag, and twenty
 * an hour from a network (T-75). Call it outside a transaction, before looking whether anybody has the address, so that
 * known and unknown addresses are answered alike.
 */
export async function throttleMail(
  db: TransactionOrKnex,
  seal: Seal,
  { address, ipPrefix, now }: { address: string; ipPrefix: string; now: Date },
): Promise<{ readonly allowed: true } | Refused> {
  const key = keyed(seal);
  const counters = [
    { scope: "mail_ip", key: key("mail_ip", ipPrefix) },
    { scope: "mail_address", key: key("mail_address", mailbox(address)) },
  ] as const;
  const counted = await count(db, counters, now);
  return "refused" in counted ? refusal(db, counted.refused, now, HOUR) : { allowed: true };
}

/** A code of a second step that was counted, for `throttleFactorSuccess`. */
export interface CountedFactor {
  readonly allowed: true;
  readonly counted: { readonly scope: Scope; readonly key: Buffer };
}

/**
 * Counts a try of a code, before it is looked at: five in one interaction and then none there, and ten in an hour for
 * one person, of recovery codes five (T-72, T-79). Call it outside a transaction, as `throttleAttempt`.
 *
 * @param try_.who the id of the person, or a name that nobody has.
 */
export async function throttleFactor(
  db: TransactionOrKnex,
  seal: Seal,
  try_: {
    method: "totp" | "recovery_code" | "email_code";
    interaction: string;
    who: string;
    now: Date;
  },
): Promise<CountedFactor | Refused> {
  const { method, interaction, who, now } = try_;
  const key = keyed(seal);
  const challenge = key("factor", method, interaction);
  const scope = method === "recovery_code" ? "recovery_user" : "factor_user";
  const ofPerson = { scope, key: key(scope, method, who) } as const;
  const counted = await count(db, [{ scope: "factor", key: challenge }, ofPerson], now);
  if (!("refused" in counted)) return { allowed: true, counted: ofPerson };
  const refused = await refusal(db, counted.refused, now);
  return counted.refused === challenge ? { ...refused, isOver: true } : refused;
}

/** Takes back what a code counted against its person that turned out right; in its interaction it stays. */
export async function throttleFactorSuccess(
  db: TransactionOrKnex,
  { counted }: CountedFactor,
): Promise<void> {
  await takeBack(db, counted.scope, counted.key);
}

/** Counts that somebody typed a code from a mail; each letter also counts its own. */
export async function throttleMailedCode(
  db: TransactionOrKnex,
  seal: Seal,
  { ipPrefix, now }: { ipPrefix: string; now: Date },
): Promise<{ readonly allowed: true } | Refused> {
  const counter = { scope: "code_ip", key: keyed(seal)("code_ip", ipPrefix) } as const;
  const counted = await count(db, [counter], now);
  return "refused" in counted ? refusal(db, counted.refused, now) : { allowed: true };
}

async function takeBack(db: TransactionOrKnex, scope: Scope, key: Buffer): Promise<void> {
  await LoginThrottle.statement(
    db,
    `UPDATE login_throttles
        SET failures = greatest(failures - 1, 0),
            blocked_until = CASE WHEN failures > :tries THEN blocked_until END
      WHERE key_hash = :key`,
    { key, tries: LIMITS[scope].tries },
  );
}

/** Stops a user's password on unknown browsers until somebody sets a new one: it is in the wrong hands. */
export async function stopPassword(
  db: TransactionOrKnex,
  seal: Seal,
  userId: string,
  now: Date,
): Promise<void> {
  const { tries, block, window } = LIMITS.account;
  const stopped = {
    scope: "account",
    failures: tries,
    windowStart: now,
    blockedUntil: new Date(now.getTime() + block * 1000),
    gcOn: gcDay(now, block + window),
  } as const;
  await LoginThrottle.query(db)
    .insert({ keyHash: keyed(seal)("account", userKey(userId)), ...stopped })
    .onConflict("keyHash")
    .merge(stopped);
}

/** Lifts the stop on a user's password, everywhere: for whoever sets a new one for them. */
export async function clearThrottle(
  db: TransactionOrKnex,
  seal: Seal,
  userId: string,
): Promise<void> {
  const key = keyed(seal);
  const account = userKey(userId);
  const devices = await UserDevice.query(db).select("cookieHash").where({ userId });
  const keys = [
    key("account", account),
    key("account_hour", account),
    ...devices.flatMap(({ cookieHash }) =>
      deviceCounters(seal, account, cookieHash).map((counter) => counter.key),
    ),
  ];
  await LoginThrottle.statement(
    db,
    `WITH locked AS MATERIALIZED (${IN_ORDER})
     DELETE FROM login_throttles t USING locked WHERE t.key_hash = locked.key_hash`,
    { keys },
  );
}

/** One name for an account, whichever of its identifiers was typed, and one for each that nobody has. */
export async function accountName(db: TransactionOrKnex, typed: string): Promise<string> {
  const found = await findByIdentifier(db, readIdentifier(typed));
  return found === undefined ? `unknown\0${typed}` : userKey(found.user.id);
}

/** What was typed, spelled the one way. */
export function spelling(typed: string): string {
  return readIdentifier(typed)?.value ?? typed.normalize("NFKC").trim().toLowerCase();
}

/** Where mail to an address most likely arrives: a tag after `+` makes no other mailbox. */
function mailbox(address: string): string {
  return spelling(address).replace(/\+[^@]*@/, "@");
}

function userKey(userId: string): string {
  return `user\0${userId}`;
}

function deviceCounters(seal: Seal, account: string, cookieHash: Buffer): Counter[] {
  const scopes = ["device", "device_total"] as const;
  const cookie = cookieHash.toString("hex");
  return scopes.map((scope) => ({ scope, key: keyed(seal)(scope, account, cookie) }));
}

function keyed(seal: Seal): (...parts: string[]) => Buffer {
  const secret = createSecretKey(seal.derive("throttle"));
  return (...parts) => createHmac("sha256", secret).update(JSON.stringify(parts)).digest();
}

/** Locks counters in the order of {@link LIMITS}. */
const IN_ORDER = `SELECT key_hash FROM login_throttles WHERE key_hash = ANY(:keys)
  ORDER BY array_position(ARRAY[${Object.keys(LIMITS).map((scope) => `'${scope}'`)}], scope), key_hash FOR UPDATE`;

/** What counters came to by a try that all of them let pass, or the key of the first that refuses it. */
type Counted = { readonly tries: ReadonlyMap<Scope, number> } | { readonly refused: Buffer };

/**
 * Counts one try at counters one after the other, and blocks after it where one reaches its limit. Where a block stands,
 * the counters after it stay as they are. It is one statement, and so one commit, and of tries at the same time each is
 * counted.
 */
async function count(
  db: TransactionOrKnex,
  counters: readonly Counter[],
  now: Date,
): Promise<Counted> {
  const keys = Object.fromEntries(counters.map(({ key }, index) => [`key${index}`, key]));
  const rows = await LoginThrottle.statement<{ n: number; failures: number }>(
    db,
    counting(counters),
    { ...keys, now },
  );
  const tries = new Map<Scope, number>();
  for (const [index, { scope, key }] of counters.entries()) {
    const row = rows.find(({ n }) => n === index);
    if (row === undefined) return { refused: key };
    tries.set(scope, row.failures);
  }
  return { tries };
}

/** Counts one try at one counter; `false` where a block stands. */
async function counts(
  db: TransactionOrKnex,
  scope: Scope,
  key: Buffer,
  now: Date,
): Promise<boolean> {
  return !("refused" in (await count(db, [{ scope, key }], now)));
}

/** Written out once for each row of scopes. */
const countings = new Map<string, string>();

/** The statement for counters of these kinds: `c0` moves the first, `c1` the second if `c0` let it pass, and so on. */
function counting(counters: readonly Counter[]): string {
  const kinds = counters.map(({ scope }) => scope).join();
  const known = countings.get(kinds);
  if (known !== undefined) return known;
  const links = counters.map((counter, n) => countingOne(counter, n));
  const passed = counters.map((_, n) => `SELECT ${n} AS n, failures FROM c${n}`);
  const sql = `WITH try AS (SELECT CAST(:now AS timestamptz) AS now), ${links.join(",")} ${passed.join(" UNION ALL ")}`;
  countings.set(kinds, sql);
  return sql;
}

function countingOne({ scope, isOfFirsts }: Counter, n: number): string {
  const { tries, window, memory = window, block, longestBlock } = LIMITS[scope];
  const before = n === 0 ? "" : `, c${n - 1} before`;
  const moved = isOfFirsts === true ? `m${n}` : `c${n}`;
  const moving = `${moved} AS (
    INSERT INTO login_throttles AS t (key_hash, scope, failures, window_start, gc_on)
    SELECT :key${n}, '${scope}', 1, try.now, ${gcDayOf("try.now", window)}
      FROM try${before} ${isOfFirsts === true ? "WHERE before.failures = 1" : ""}
    ON CONFLICT (key_hash) DO UPDATE SET (failures, window_start, blocked_until, gc_on) = (
      SELECT counted.failures,
             counted.start,
             CASE WHEN counted.failures >= ${tries} THEN excluded.window_start + make_interval(secs => least(
               CAST(${block} AS float8) * 2 ^ least(counted.failures - ${tries}, 20), ${longestBlock})) END,
             CASE WHEN counted.failures >= ${tries}
               THEN ${gcDayOf("excluded.window_start", longestBlock + window)} ELSE excluded.gc_on END
        FROM (SELECT CASE WHEN t.over THEN 1 ELSE t.failures + 1 END AS failures,
                     CASE WHEN t.over THEN excluded.window_start ELSE t.window_start END AS start
                FROM (SELECT t.failures, t.window_start,
                             greatest(t.window_start + make_interval(secs => ${window}),
                               t.blocked_until + make_interval(secs => ${memory})) <= excluded.window_start AS over) t) counted)
    WHERE t.blocked_until IS NULL OR t.blocked_until <= excluded.window_start
    RETURNING failures)`;
  if (isOfFirsts !== true) return moving;
  return `${moving}, c${n} AS (
    SELECT failures FROM ${moved} UNION ALL
    SELECT coalesce(t.failures, 0) FROM try CROSS JOIN c${n - 1} before
      LEFT JOIN login_throttles t ON t.key_hash = :key${n}
     WHERE before.failures > 1 AND (t.blocked_until IS NULL OR t.blocked_until <= try.now))`;
}

async function isBlocked(db: TransactionOrKnex, key: Buffer, now: Date): Promise<boolean> {
  const row = await LoginThrottle.query(db).findById(key);
  return (row?.blockedUntil?.getTime() ?? 0) > now.getTime();
}

async function refusal(
  db: TransactionOrKnex,
  key: Buffer,
  now: Date,
  longestWait = LONGEST_WAIT,
): Promise<Refused> {
  const row = await LoginThrottle.query(db).findById(key);
  const seconds = Math.ceil(((row?.blockedUntil?.getTime() ?? 0) - now.getTime()) / 1000);
  return { allowed: false, retryAfter: Math.min(Math.max(seconds, 1), longestWait) };
}

/** The day from which a counter may be swept away: two days after nothing of it matters any more. */
function gcDay(now: Date, seconds: number): string {
  return new Date(now.getTime() + (seconds + 2 * DAY) * 1000).toISOString().slice(0, 10);
}

/** The same of a moment that a statement knows. */
function gcDayOf(moment: string, seconds: number): string {
  return `CAST((${moment} + make_interval(secs => ${seconds + 2 * DAY})) AT TIME ZONE 'UTC' AS date)`;
}
