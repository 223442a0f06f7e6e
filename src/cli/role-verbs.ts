import type { Role } from "../models/role.ts";
import {
  assignRole,
  createRole,
  deleteRole,
  listRoles,
  showRole,
  unassignRole,
  updateRole,
  type ListedRole,
} from "../users/roles.ts";
import { findUser } from "../users/users.ts";
import { printFields, printJson, printTable, type Io } from "./io.ts";
import { UsageError, verb, type Call, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

const holder = {
  user: { type: "string", value: "USER", help: "id, e-mail address or username" },
  group: { type: "string", value: "NAME", help: "everybody in this group" },
  organization: { type: "string", value: "SLUG", help: "inside this organization, to its members" },
} as const;
const name = { type: "string", value: "NAME", help: "what people read" } as const;

/** `lintel role …`: what apps that ask for the scope `roles` let people do. */
export const ROLE_VERBS: readonly Verb[] = [
  verb({
    name: "role add",
    summary: "add a role",
    words: ["role"],
    options: { name },
    details:
      "Apps see it in the claim `roles`, as in billing:admin. It gives no rights over this service.",
    async run({ io, words: [slug = ""], values, json, config }) {
      const role = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => createRole(trx, { slug, name: values.name })),
      );
      print(io, present(role), json);
    },
  }),

  verb({
    name: "role list",
    summary: "list roles and who holds each",
    async run({ io, json, config }) {
      const rows = await withOperator({ io, config }, ({ knex }) => listRoles(knex));
      const shown = rows.map(presentListed);
      if (json) return printJson(io, shown);
      return printTable(
        io,
        ["role", "name", "active", "people", "groups"],
        shown.map((row) => [
          row.role,
          row.name,
          row.active ? "yes" : "no",
          String(row.people),
          row.groups.join(", "),
        ]),
      );
    },
  }),

  verb({
    name: "role show",
    summary: "show a role",
    words: ["role"],
    async run({ io, words: [slug = ""], json, config }) {
      const found = await withOperator({ io, config }, ({ knex }) => showRole(knex, slug));
      print(io, presentListed(found), json);
    },
  }),

  verb({
    name: "role update",
    summary: "change a role's name, or whether it gives anything",
    words: ["role"],
    options: {
      name,
      active: { type: "boolean", help: "with --no-active it stays assigned and gives nothing" },
    },
    async run({ io, words: [slug = ""], values, json, config }) {
      const changes = { name: values.name, isActive: values.active };
      if (changes.name === undefined && changes.isActive === undefined)
        throw new UsageError("there is nothing to change", "role update");
      const role = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => updateRole(trx, slug, changes)),
      );
      print(io, present(role), json);
    },
  }),

  verb({
    name: "role delete",
    summary: "delete a role, and take it from everybody",
    words: ["role"],
    async run({ io, words: [slug = ""], json, config }) {
      await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => deleteRole(trx, slug)),
      );
      if (json) printJson(io, { role: slug, deleted: true });
      else io.out(`Deleted ${slug}.\n`);
    },
  }),

  verb({
    name: "role assign",
    summary: "give a role to somebody or to a group, whatever identity providers say",
    words: ["role"],
    options: holder,
    async run(call) {
      const assigned = await change(call, "role assign", assignRole);
      report(call, { assigned }, assigned ? "Assigned" : "Was assigned already:");
    },
  }),

  verb({
    name: "role unassign",
    summary: "take a role back, unless an identity provider says that they have it",
    words: ["role"],
    options: holder,
    async run(call) {
      const unassigned = await change(call, "role unassign", unassignRole);
      report(call, { unassigned }, unassigned ? "Took back" : "Was not assigned by hand:");
    },
  }),
];

type HolderCall = Call<typeof holder>;

function change(
  { io, words: [slug = ""], values, config }: HolderCall,
  verbName: string,
  how: typeof assignRole,
): Promise<boolean> {
  const { user, group, organization } = values;
  if ((user === undefined) === (group === undefined))
    throw new UsageError("give --user or --group", verbName);
  return withOperator({ io, config }, ({ knex }) =>
    knex.transaction(async (trx) => {
      const to =
        user === undefined ? { group: group ?? "" } : { userId: (await findUser(trx, user)).id };
      return how(trx, slug, { ...to, organization });
    }),
  );
}

function report(
  { io, words: [role = ""], values: { user, group, organization }, json }: HolderCall,
  outcome: Readonly<Record<string, boolean>>,
  what: string,
): void {
  if (json) printJson(io, { role, user, group, organization, ...outcome });
  else io.out(`${what} ${role} (${[user ?? group, organization].filter(Boolean).join(", ")}).\n`);
}

function present({ slug, name: called, isActive }: Role) {
  return { role: slug, name: called, active: isActive };
}

function presentListed({ role, people, groups }: ListedRole) {
  return { ...present(role), people, groups };
}

function print(io: Io, shown: Readonly<Record<string, unknown>>, json: boolean): void {
  if (json) printJson(io, shown);
  else printFields(io, shown);
}
