import {
  addDomain,
  enforceDomain,
  listDomains,
  peopleOf,
  proofOf,
  removeDomain,
  verifyDomain,
} from "../federation/domains.ts";
import { txtRecords } from "../federation/txt-records.ts";
import type { SsoDomain } from "../models/sso-domain.ts";
import { printFields, printJson, printTable } from "./io.ts";
import { verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

const WORDS = ["slug", "domain"];

/** `lintel connection domain …`: whose people sign in where. */
export const DOMAIN_VERBS: readonly Verb[] = [
  verb({
    name: "connection domain add",
    summary: "claim a domain of e-mail addresses for a connection, and say how to prove it",
    words: WORDS,
    details:
      "A sub-domain is a domain of its own. Domains whose addresses anybody can have are refused.",
    async run({ io, words: [slug = "", domain = ""], json, config }) {
      const row = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => addDomain(trx, { slug, domain }, new Date())),
      );
      if (json) return printJson(io, present(row));
      io.out(`Publish this record in the DNS of ${row.domain}:\n\n`);
      printFields(io, { ...proofOf(row) });
      io.out(`\nThen: lintel connection domain verify ${slug} ${row.domain}\n`);
    },
  }),

  verb({
    name: "connection domain verify",
    summary: "look for the proof in DNS; from then on its people are sent to the connection",
    words: WORDS,
    options: {
      "dns-server": {
        type: "string",
        value: "ADDRESS",
        help: "ask this name server, such as 192.0.2.53 or [2001:db8::53]:53; the system's unless said",
      },
    },
    async run({ io, values, words: [slug = "", domain = ""], json, config }) {
      const lookUp = txtRecords(values["dns-server"]);
      const row = await withOperator({ io, config }, ({ knex }) =>
        verifyDomain(knex, { slug, domain }, lookUp, () => new Date()),
      );
      if (json) printJson(io, present(row));
      else io.out(`${row.domain} is proven. Its people are sent to ${slug} to sign in.\n`);
    },
  }),

  verb({
    name: "connection domain list",
    summary: "list the domains of a connection",
    words: ["slug"],
    async run({ io, words: [slug = ""], json, config }) {
      const rows = await withOperator({ io, config }, ({ knex }) => listDomains(knex, slug));
      if (json) return printJson(io, rows.map(present));
      return printTable(
        io,
        ["domain", "verified", "enforced", "record", "value"],
        rows.map((row) => {
          const { name, value } = proofOf(row);
          return [
            row.domain,
            row.verifiedAt === null ? "no" : "yes",
            row.enforceSso ? "yes" : "no",
            name,
            value,
          ];
        }),
      );
    },
  }),

  verb({
    name: "connection domain enforce",
    summary: "let people with addresses at a proven domain sign in through the connection only",
    words: WORDS,
    options: {
      off: { type: "boolean", help: "let them sign in otherwise again" },
    },
    details:
      "The break-glass is this command with --off, or `connection update SLUG --no-enabled`, where the server runs.",
    async run({ io, values, words: [slug = "", domain = ""], json, config }) {
      const enforced = values.off !== true;
      const { row, people } = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction(async (trx) => {
          const changed = await enforceDomain(trx, { slug, domain, enforced });
          return { row: changed, people: await peopleOf(trx, changed) };
        }),
      );
      if (json)
        return printJson(io, {
          ...present(row),
          people: people.all,
          not_yet_signed_in: people.strangers,
        });
      if (!enforced) return io.out(`People of ${row.domain} can sign in otherwise again.\n`);
      return io.out(
        `People of ${row.domain} sign in through ${slug} only. They are ${people.all}; of these have not signed in through it yet: ${people.strangers}.\n`,
      );
    },
  }),

  verb({
    name: "connection domain remove",
    summary: "take a domain away from a connection",
    words: WORDS,
    async run({ io, words: [slug = "", domain = ""], json, config }) {
      const row = await withOperator({ io, config }, ({ knex }) =>
        knex.transaction((trx) => removeDomain(trx, { slug, domain })),
      );
      if (json) printJson(io, { slug, domain: row.domain, removed: true });
      else io.out(`Removed ${row.domain}.\n`);
    },
  }),
];

function present(row: SsoDomain): Record<string, unknown> {
  return {
    domain: row.domain,
    verified_at: row.verifiedAt?.toISOString() ?? null,
    enforced: row.enforceSso,
    record: proofOf(row),
  };
}
