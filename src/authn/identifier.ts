import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import { AppError } from "../errors.ts";
import { UserDevice } from "../models/user-device.ts";
import { User } from "../models/user.ts";
import { normaliseEmail } from "./normalise-email.ts";

/** What somebody typed to say who they are, in the form under which users are found. */
export interface Identifier {
  readonly kind: "email" | "username";
  readonly value: string;
}

/** A user and, where there is one, the hash of the password. */
export interface FoundUser {
  readonly user: User;
  readonly passwordHash: string | undefined;
  /** Whether they have signed in with the browser that was asked about. */
  readonly isKnownDevice: boolean;
}

const FOUND = `to_json(u) AS found, p.hash AS password_hash, EXISTS (SELECT FROM user_devices d
  WHERE d.user_id = u.id AND d.cookie_hash = k.device AND d.last_seen_on >= k.since) AS is_known_device`;
const KEYS = { value: "text", device: "bytea", since: "date" } as const;

/** An address that was added and not proven names nobody yet (T-67). */
const FIND_BY = {
  username: lookUp(
    `SELECT ${FOUND} FROM users u LEFT JOIN user_passwords p ON p.user_id = u.id
     WHERE u.username_norm = k.value`,
    KEYS,
  ),
  email: lookUp(
    `SELECT ${FOUND}
     FROM user_emails e JOIN users u ON u.id = e.user_id LEFT JOIN user_passwords p ON p.user_id = u.id
     WHERE e.email_norm = k.value AND (e.verified_at IS NOT NULL OR e.is_primary)
     ORDER BY e.verified_at IS NULL, e.created_at, e.id`,
    KEYS,
  ),
} as const;

const MAX_TYPED_LENGTH = 254;
const USERNAME = /^[\p{L}\p{N}\p{M}._-]{2,100}$/u;

/** The form under which a username is found and unique (NFKC, lower case); `undefined` where it cannot be one. */
export function normaliseUsername(typed: string): string | undefined {
  const norm = typed.normalize("NFKC").toLowerCase().normalize("NFKC");
  return USERNAME.test(norm) ? norm : undefined;
}

/** Reads an identifier; `undefined` for what can be neither an address nor a username. */
export function readIdentifier(typed: string): Identifier | undefined {
  const text = typed.trim();
  if (text.length > MAX_TYPED_LENGTH) return undefined;
  if (!text.normalize("NFKC").includes("@")) {
    const value = normaliseUsername(text);
    return value === undefined ? undefined : { kind: "username", value };
  }
  try {
    return { kind: "email", value: normaliseEmail(text).emailNorm };
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}

/**
 * Finds the user an identifier stands for, in one query whether there is one or not. Where several claim an address,
 * who verified it comes first, then who claimed it first.
 *
 * @param at.device the hash of the cookie of a browser that they may be known to have.
 */
export async function findByIdentifier(
  db: TransactionOrKnex,
  identifier: Identifier | undefined,
  { device, now = new Date() }: { readonly device?: Buffer | undefined; readonly now?: Date } = {},
): Promise<FoundUser | undefined> {
  if (identifier === undefined) return undefined;
  const { kind, value } = identifier;
  const keys = { value, device: device ?? null, since: UserDevice.oldestDay(now) };
  const row = await User.lookUp<FoundRow>(db, FIND_BY[kind], keys);
  if (row === undefined) return undefined;
  const { found, password_hash: passwordHash, is_known_device: isKnownDevice } = row;
  return { user: User.fromJsonRow(found), passwordHash: passwordHash ?? undefined, isKnownDevice };
}

interface FoundRow {
  readonly found: object;
  readonly password_hash: string | null;
  readonly is_known_device: boolean;
}
