import type { TransactionOrKnex } from "objection";
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
  const query = User.query(db)
    .select("users.*", "password.hash as passwordHash")
    .leftJoinRelated("password")
    .first();
  const row =
    identifier.kind === "username"
      ? await query.where("users.usernameNorm", identifier.value)
      : await query
          .joinRelated("emails")
          .where("emails.emailNorm", identifier.value)
          // One that was added and not proven names nobody yet (T-67).
          .where((named) =>
            named.whereNotNull("emails.verifiedAt").orWhere("emails.isPrimary", true),
          )
          .orderByRaw("emails.verified_at IS NULL, emails.created_at, emails.id");
  if (row === undefined) return undefined;
  const { passwordHash, ...columns } = row as User & { passwordHash: string | null };
  return { user: User.fromJson(columns), passwordHash: passwordHash ?? undefined };
}
