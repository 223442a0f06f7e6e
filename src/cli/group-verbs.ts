import {
  addMember,
  createGroup,
  deleteGroup,
  listGroups,
  removeMember,
  requireSecondFactorOf,
} from "../users/groups.ts";
import { findUser } from "../users/users.ts";
import type { Group } from "../models/group.ts";
import { printFields, printJson, printTable } from "./io.ts";
import { UsageError, verb, type Call, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

const member = {
  type: "string",
  required: true,
  value: "USER",
  help: "id, e-mail address or username",
} as const;

/** `lintel group …`: groups of people, for apps that ask for the scope `groups`, and for what is demanded of members. */
export const GROUP_VERBS: readonly Verb[] = [
  verb({
    name: "group add",
    summary: "add a group",
    words: ["name"],
    options: {
      "require-second-factor": {
        type: "boolean",
        help: "its members must have a second step, wherever they sign in",
      },
    },
    details: "Apps see the name in the claim `groups`. A group gives no rights over this service.",
    async run({ io, words: [name = ""], values, json, config }) {
      const requireSecondFactor = values["require-second-factor"] === true;
      const group = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => createGroup(trx, { name, requireSecondFactor })),
      );
      if (json) printJson(io, present(group));
      else printFields(io, present(group));
    },
  }),

  verb({
    name: "group update",
    summary: "change what is demanded of a group's members",
    words: ["name"],
    options: {
      "require-second-factor": {
        type: "string",
        required: true,
        value: "yes|no",
        help: "whether its members must have a second step",
      },
    },
    async run({ io, words: [name = ""], values, json, config }) {
      const answer = values["require-second-factor"];
      if (answer !== "yes" && answer !== "no")
        throw new UsageError("--require-second-factor must be yes or no", "group update");
      const group = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => requireSecondFactorOf(trx, name, answer === "yes")),
      );
      if (json) printJson(io, present(group));
      else printFields(io, present(group));
    },
  }),

  verb({
    name: "group list",
    summary: "list groups and how many people are in each",
    async run({ io, json, config }) {
      const rows = await withOperator({ io, config }, ({ knex }) => listGroups(knex));
      const shown = rows.map(({ group: { name, requireSecondFactor }, members }) => ({
        name,
        require_second_factor: requireSecondFactor,
        members,
      }));
      if (json) return printJson(io, shown);
      return printTable(
        io,
        ["name", "second step required", "members"],
        shown.map((row) => [
          row.name,
          row.require_second_factor ? "yes" : "no",
          String(row.members),
        ]),
      );
    },
  }),

  verb({
    name: "group delete",
    summary: "delete a group; its members stay",
    words: ["name"],
    async run({ io, words: [name = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => deleteGroup(trx, name)),
      );
      if (json) printJson(io, { name, deleted: true });
      else io.out(`Deleted ${name}.\n`);
    },
  }),

  verb({
    name: "group add-member",
    summary: "put somebody into a group, whatever identity providers say",
    words: ["name"],
    options: { user: member },
    async run(call) {
      const added = await change(call, addMember);
      report(call, { added }, added ? "Added" : "Was there already:");
    },
  }),

  verb({
    name: "group remove-member",
    summary: "take somebody out of a group, unless an identity provider says that they are in it",
    words: ["name"],
    options: { user: member },
    async run(call) {
      const removed = await change(call, removeMember);
      report(call, { removed }, removed ? "Removed" : "Was not there by hand:");
    },
  }),
];

type MemberCall = Call<{ readonly user: typeof member }>;

function change(
  { io, words: [name = ""], values, config }: MemberCall,
  how: typeof addMember,
): Promise<boolean> {
  return withOperator({ io, config }, ({ knex }) =>
    knex.transaction(async (trx) => {
      const { id } = await findUser(trx, values.user);
      return how(trx, name, id);
    }),
  );
}

function report(
  { io, words: [name = ""], values: { user }, json }: MemberCall,
  outcome: Readonly<Record<string, boolean>>,
  what: string,
): void {
  if (json) printJson(io, { group: name, user, ...outcome });
  else io.out(`${what} ${user} (${name}).\n`);
}

function present({ name, requireSecondFactor }: Group) {
  return { name, require_second_factor: requireSecondFactor };
}
