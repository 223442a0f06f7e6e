import type { TransactionOrKnex } from "objection";
import { z } from "zod";
import { storedForm } from "../authn/hashes/notation.ts";
import { normaliseEmail } from "../authn/normalise-email.ts";
import { errors } from "../errors.ts";
import { UserEmail } from "../models/user-email.ts";
import type { User } from "../models/user.ts";
import { createUser } from "./users.ts";

const line = z.strictObject({
  email: z.string(),
  email_verified: z.boolean().default(false),
  username: z.string().optional(),
  name: z.string().optional(),
  password_hash: z.string().max(2048).optional(),
});

/**
 * Adds a user from one line of an export, which is a JSON object: `docs/import.md`. The hash of their password is kept as
 * it is until they sign in, and its text is in no message.
 *
 * @throws AppError `bad_request` for a line that cannot be read, a hash that we do not verify, or an address that
 *   anybody has, verified or not, so that a file can be imported again after its mistakes; or as `createUser`.
 */
export async function importUser(db: TransactionOrKnex, text: string, now: Date): Promise<User> {
  const read = readLine(text);
  const { emailNorm } = normaliseEmail(read.email);
  if ((await UserEmail.query(db).findOne({ emailNorm })) !== undefined)
    throw errors.badRequest("There is already a user with this e-mail address.");
  return createUser(
    db,
    {
      email: read.email,
      verified: read.email_verified,
      username: read.username,
      displayName: read.name,
      passwordHash: readHash(read.password_hash),
      via: "admin",
    },
    now,
  );
}

function readLine(text: string): z.output<typeof line> {
  const parsed = line.safeParse(readJson(text));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => [...path, message].join(": "));
  throw errors.badRequest(`${problems.join("; ")}.`);
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw errors.badRequest("This is not JSON.");
  }
}

function readHash(written: string | undefined): string | undefined {
  if (written === undefined) return undefined;
  const stored = storedForm(written);
  if (stored !== undefined) return stored;
  throw errors.badRequest(
    "password_hash has none of the formats of docs/import.md, or asks for more work than a sign-in may cost.",
  );
}
