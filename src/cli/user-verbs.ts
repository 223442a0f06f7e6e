import type { TransactionOrKnex } from "objection";
import { createHashQueue } from "../authn/hash-queue.ts";
import {
  checkNewPassword,
  MIN_PASSWORD_LENGTH,
  type PasswordProblem,
} from "../authn/password-policy.ts";
import { createPasswords } from "../authn/password.ts";
import { clearThrottle } from "../authn/throttle.ts";
import { errors } from "../errors.ts";
import { createMailer } from "../mail/mailer.ts";
import { Organization } from "../models/organization.ts";
import { Role } from "../models/role.ts";
import type { User } from "../models/user.ts";
import {
  createUser,
  disableUser,
  enableUser,
  findUser,
  listUsers,
  resetFactors,
} from "../users/users.ts";
import { printFields, printJson, printTable, readStdin, type Io } from "./io.ts";
import { PAGING, printNext, readPaging } from "./paging.ts";
import { USER_IMPORT } from "./user-import.ts";
import { USER_SESSIONS } from "./user-sessions.ts";
import { verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

const WEAK: Readonly<Record<PasswordProblem, string>> = {
  "err.password.short": `it needs at least ${MIN_PASSWORD_LENGTH} characters`,
  "err.password.long": "it has more than 256 characters",
  "err.password.common": "it is among the first that are tried",
  "err.password.context": "the names of the service and the person do not count towards its length",
};

/** `lintel user …` */
export const USER_VERBS: readonly Verb[] = [
  verb({
    name: "user add",
    summary: "add a user",
    options: {
      email: { type: "string", required: true, value: "ADDRESS", help: "e-mail address" },
      verified: { type: "boolean", help: "the address is known to be this person's" },
      "password-stdin": { type: "boolean", help: "read the password from standard input" },
      name: { type: "string", value: "NAME", help: "name as the person writes it" },
      username: { type: "string", value: "NAME", help: "another name to sign in with" },
    },
    details: "Without --password-stdin the user has no password and cannot sign in with one.",
    async run({ io, values, json, config }) {
      const { email, name, username, verified = false } = values;
      const { productName, issuer } = config();
      const password = values["password-stdin"] === true ? await readPassword(io) : undefined;
      if (password !== undefined) {
        const names = name?.split(/\s+/) ?? [];
        assertStrong(checkNewPassword(password, { productName, issuer, email, username, names }));
      }
      const user = await withOperator({ io, config }, async ({ knex }) => {
        const passwordHash =
          password === undefined
            ? undefined
            : await createPasswords(createHashQueue()).hash(password);
        const input = {
          email,
          verified,
          displayName: name,
          username,
          passwordHash,
          via: "admin",
        } as const;
        return knex.transaction((trx) => createUser(trx, input, new Date()));
      });
      printUser(io, user, json);
    },
  }),

  USER_IMPORT,

  verb({
    name: "user list",
    summary: "list users, the oldest first",
    options: PAGING,
    async run({ io, values, json, config }) {
      const { after, limit } = readPaging(values, "user list");
      const users = await withOperator({ io, config }, ({ knex }) =>
        listUsers(knex, { after, limit }),
      );
      if (json) return printJson(io, users.map(presentUser));
      printTable(
        io,
        ["id", "e-mail", "verified", "status", "name", "created"],
        users.map((user) => [
          user.id,
          user.primaryEmail?.email ?? "",
          user.primaryEmail?.verifiedAt ? "yes" : "no",
          statusOf(user),
          user.profile?.displayName ?? user.username ?? "",
          user.createdAt.toISOString(),
        ]),
      );
      printNext(io, "user list", users.at(-1)?.id, users.length, limit);
    },
  }),

  verb({
    name: "user show",
    summary: "show a user",
    words: ["id, e-mail or username"],
    async run({ io, words: [who = ""], json, config }) {
      const { user, held } = await withOperator({ io, config }, async ({ knex }) => {
        const found = await findUser(knex, who);
        return { user: found, held: await heldBy(knex, found.id) };
      });
      printUser(io, user, json, held);
    },
  }),

  USER_SESSIONS,

  verb({
    name: "user disable",
    summary: "keep a user from signing in, and end every session and token",
    words: ["id, e-mail or username"],
    async run({ io, words: [who = ""], json, config }) {
      const user = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction(async (trx) => {
          const { id } = await findUser(trx, who);
          return disableUser(trx, id, {}, new Date());
        }),
      );
      printUser(io, user, json);
    },
  }),

  verb({
    name: "user enable",
    summary: "let a disabled user sign in again",
    words: ["id, e-mail or username"],
    async run({ io, words: [who = ""], json, config }) {
      const user = await withOperator({ io, config }, async ({ knex, seal }) => {
        const opened = await seal();
        return knex.transaction(async (trx) => {
          const { id } = await findUser(trx, who);
          // Whoever was locked out by guesses at their password gets another chance too.
          await clearThrottle(trx, opened, id);
          return enableUser(trx, id, {}, new Date());
        });
      });
      printUser(io, user, json);
    },
  }),

  verb({
    name: "user remove-factors",
    summary:
      "remove a user's passkeys, second step and recovery codes, and end every session and token",
    words: ["id, e-mail or username"],
    details:
      "For somebody who lost them. The user is told by mail; a second step is set up by nobody but its user.",
    async run({ io, words: [who = ""], json, config }) {
      const { locales } = config();
      const { user, count } = await withOperator({ io, config }, async ({ knex, seal }) => {
        const mailer = createMailer({ seal: await seal(), locales });
        return knex.transaction(async (trx) => {
          const now = new Date();
          const found = await findUser(trx, who);
          const removed = await resetFactors(trx, found.id, {}, now);
          await mailer.factorChanged(trx, { userId: found.id, change: "reset", now });
          return { user: found, count: removed };
        });
      });
      if (json) printJson(io, { id: user.id, removed: count });
      else printFields(io, { id: user.id, removed: count });
    },
  }),
];

/** What follows the password, as `echo` and editors leave it, is not part of it. */
async function readPassword(io: Io): Promise<string> {
  return (await readStdin(io)).replace(/\r?\n$/, "");
}

function assertStrong(problems: readonly PasswordProblem[]): void {
  if (problems.length === 0) return;
  const reasons = problems.map((problem) => WEAK[problem]).join(", and ");
  throw errors.weakPassword(`The password was not accepted: ${reasons}.`);
}

/** What apps are told that somebody holds; nothing where there is nothing. */
async function heldBy(db: TransactionOrKnex, userId: string): Promise<object> {
  const roles = (await Role.heldBy(db, userId)).map(({ slug }) => slug);
  const organizations = await Organization.of(db, userId);
  return {
    ...(roles.length === 0 ? {} : { roles }),
    ...(organizations.length === 0 ? {} : { organizations }),
  };
}

function printUser(io: Io, user: User, json: boolean, held: object = {}): void {
  const shown = { ...presentUser(user), ...held };
  if (json) printJson(io, shown);
  else printFields(io, shown);
}

/** A user as programs and people see one; `sub` is what tokens carry. */
function presentUser(user: User): Record<string, unknown> {
  const { primaryEmail, profile, password, systemRoles = [], groups = [], identities } = user;
  return {
    id: user.id,
    email: primaryEmail?.email,
    email_verified: primaryEmail !== undefined && primaryEmail.verifiedAt !== null,
    username: user.username ?? undefined,
    name: profile?.displayName ?? undefined,
    status: statusOf(user),
    ...(systemRoles.length === 0 ? {} : { system_roles: systemRoles.map(({ role }) => role) }),
    ...(password === undefined ? {} : { has_password: password !== null }),
    ...(groups.length === 0 ? {} : { groups: [...new Set(groups.map(({ name }) => name))] }),
    ...(identities === undefined || identities.length === 0
      ? {}
      : { connections: identities.map(({ provider }) => provider?.slug ?? "") }),
    last_login_at: user.lastLoginAt?.toISOString(),
    created_at: user.createdAt.toISOString(),
  };
}

function statusOf({ isActive }: User): string {
  return isActive ? "active" : "disabled";
}
