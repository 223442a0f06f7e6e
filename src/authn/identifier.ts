import type { TransactionOrKnex } from "objection";
import { lookUp } from "../database/look-up.ts";
import { AppError } from "../errors.ts";
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
}

/** An address that was added and not proven names nobody yet (T-67). */
const FIND_BY = {
  username: lookUp(
    `SELECT u.*, p.hash AS password_hash FROM users u LEFT JOIN user_passwords p ON p.user_id = u.id
     WHERE u.username_norm = k.value`,
    { value: "text" },
  ),
  email: lookUp(
    `SELECT u.*, p.hash AS password_hash
     FROM user_emails e JOIN users u ON u.id = e.user_id LEFT JOIN user_passwords p ON p.user_id = u.id
     WHERE e.email_norm = k.value AND (e.verified_at IS NOT NULL OR e.is_primary)
     ORDER BY e.verified_at IS NULL, e.created_at, e.id`,
    { value: "text" },
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
 */
export async function findByIdentifier(
  db: TransactionOrKnex,
  identifier: Identifier | undefined,
): Promise<FoundUser | undefined> {
  if (identifier === undefined) return undefined;
  const { kind, value } = identifier;
  const row = await User.lookUp<{ password_hash: string | null }>(db, FIND_BY[kind], { value });
  if (row === undefined) return undefined;
  const { password_hash: passwordHash, ...columns } = row;
  return { user: User.fromRow(columns), passwordHash: passwordHash ?? undefined };
}
