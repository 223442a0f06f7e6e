import type { Organization } from "../models/organization.ts";
import {
  addToOrganization,
  createOrganization,
  deleteOrganization,
  listOrganizations,
  removeFromOrganization,
  showOrganization,
  updateOrganization,
  type ListedOrganization,
} from "../users/organizations.ts";
import { findUser } from "../users/users.ts";
import { printFields, printJson, printTable, type Io } from "./io.ts";
import { UsageError, verb, type Call, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

const member = {
  type: "string",
  required: true,
  value: "USER",
  help: "id, e-mail address or username",
} as const;
const name = { type: "string", value: "NAME", help: "what people read" } as const;

/** `lintel organization …`: whose people sign in here, for apps that ask for the scope `organizations`. */
export const ORGANIZATION_VERBS: readonly Verb[] = [
  verb({
    name: "organization add",
    summary: "add an organization",
    words: ["organization"],
    options: {
      name,
      "require-second-factor": {
        type: "boolean",
        help: "its members must have a second step, wherever they sign in",
      },
    },
    details:
      "Apps see it in the claim `organizations`, as in acme. Its people come by hand, or through a connection:\n" +
      "lintel connection update SLUG --organization acme.",
    async run({ io, words: [slug = ""], values, json, config }) {
      const said = {
        slug,
        name: values.name,
        requireSecondFactor: values["require-second-factor"],
      };
      const made = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => createOrganization(trx, said)),
      );
      print(io, present(made), json);
    },
  }),

  verb({
    name: "organization list",
    summary: "list organizations, and how many people belong to each",
    async run({ io, json, config }) {
      const rows = await withOperator({ io, config }, ({ knex }) => listOrganizations(knex));
      const shown = rows.map(presentListed);
      if (json) return printJson(io, shown);
      return printTable(
        io,
        ["organization", "name", "second step required", "members", "connections"],
        shown.map((row) => [
          row.organization,
          row.name,
          row.require_second_factor ? "yes" : "no",
          String(row.members),
          row.connections.join(", "),
        ]),
      );
    },
  }),

  verb({
    name: "organization show",
    summary: "show an organization",
    words: ["organization"],
    async run({ io, words: [slug = ""], json, config }) {
      const found = await withOperator({ io, config }, ({ knex }) => showOrganization(knex, slug));
      print(io, presentListed(found), json);
    },
  }),

  verb({
    name: "organization update",
    summary: "change an organization's name, or what is demanded of its members",
    words: ["organization"],
    options: {
      name,
      "require-second-factor": {
        type: "boolean",
        help: "its members must have a second step; or --no-require-second-factor",
      },
    },
    async run({ io, words: [slug = ""], values, json, config }) {
      const { name: called, "require-second-factor": requireSecondFactor } = values;
      if (called === undefined && requireSecondFactor === undefined)
        throw new UsageError("There is nothing to change.", "organization update");
      const changed = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) =>
          updateOrganization(trx, slug, { name: called, requireSecondFactor }),
        ),
      );
      print(io, present(changed), json);
    },
  }),

  verb({
    name: "organization delete",
    summary: "delete an organization; its members stay",
    words: ["organization"],
    async run({ io, words: [slug = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => deleteOrganization(trx, slug)),
      );
      if (json) printJson(io, { organization: slug, deleted: true });
      else io.out(`Deleted ${slug}.\n`);
    },
  }),

  verb({
    name: "organization add-member",
    summary: "make somebody a member, whatever connections they sign in through",
    words: ["organization"],
    options: { user: member },
    async run(call) {
      const added = await change(call, addToOrganization);
      report(call, { added }, added ? "Added" : "Was there already:");
    },
  }),

  verb({
    name: "organization remove-member",
    summary: "take somebody out, unless they belong to it by a connection",
    words: ["organization"],
    options: { user: member },
    async run(call) {
      const removed = await change(call, removeFromOrganization);
      report(call, { removed }, removed ? "Removed" : "Was not there by hand:");
    },
  }),
];

type MemberCall = Call<{ readonly user: typeof member }>;

function change(
  { io, words: [slug = ""], values, config }: MemberCall,
  how: typeof addToOrganization,
): Promise<boolean> {
  return withOperator({ io, config }, ({ knex }) =>
    knex.transaction(async (trx) => {
      const { id } = await findUser(trx, values.user);
      return how(trx, slug, id);
    }),
  );
}

function report(
  { io, words: [organization = ""], values: { user }, json }: MemberCall,
  outcome: Readonly<Record<string, boolean>>,
  what: string,
): void {
  if (json) printJson(io, { organization, user, ...outcome });
  else io.out(`${what} ${user} (${organization}).\n`);
}

function present({ slug, name: called, requireSecondFactor }: Organization) {
  return { organization: slug, name: called, require_second_factor: requireSecondFactor };
}

function presentListed({ organization, members, connections }: ListedOrganization) {
  return { ...present(organization), members, connections };
}

function print(io: Io, shown: Readonly<Record<string, unknown>>, json: boolean): void {
  if (json) printJson(io, shown);
  else printFields(io, shown);
}
