import { migrateToLatest, pendingMigrations, schemaState } from "../database/migrate.ts";
import { ensurePartitions } from "../database/partitions.ts";
import type { Logger } from "../lib/log.ts";
import { issueSetupLink } from "../setup/setup-link.ts";
import { examine } from "./doctor.ts";
import { printFields, printJson } from "./io.ts";
import { openDatabase } from "./operator.ts";
import { startVerb, type StartServer } from "./start-verb.ts";
import { verb, type Verb } from "./verb.ts";
import { cliLog, withOperator } from "./with-operator.ts";

/** What these verbs start but do not know; loaded when it is called. */
export interface Server extends StartServer {
  /** Brings the tables of the job queue up to date. */
  readonly migrateJobs: (url: string, log: Logger) => Promise<void>;
}

/** The verbs that concern the server as a whole. */
export const serverVerbs = (server: Server): readonly Verb[] => [
  startVerb(server),

  verb({
    name: "migrate",
    summary: "bring the database schema up to this version",
    options: {
      status: { type: "boolean", help: "only say what is missing; exit code 1 if anything is" },
    },
    async run({ io, values, json, config }) {
      const settings = config();
      const log = cliLog(io);
      const { url, knex, close } = await openDatabase(settings, log);
      try {
        const pending = await pendingMigrations(knex);
        if (values.status !== true) {
          await migrateToLatest(knex, log);
          await ensurePartitions(knex, new Date());
          await server.migrateJobs(settings.databaseDirectUrl ?? url, log);
        }
        const state = await schemaState(knex);
        const report = values.status === true ? { state, pending } : { state, applied: pending };
        if (json) printJson(io, report);
        else printFields(io, report);
        return state === "current" ? 0 : 1;
      } finally {
        await close();
      }
    },
  }),

  verb({
    name: "doctor",
    summary: "check settings, database, keys, mail and what the outside sees",
    details: "Exit code 1 if anything fails.",
    async run({ io, json }) {
      const checks = await examine(io);
      if (json) printJson(io, checks);
      else
        for (const { status, name, message, fix } of checks) {
          io.out(`${status.padEnd(4)}  ${name.padEnd(12)}  ${message}\n`);
          if (fix !== undefined) io.out(`${" ".repeat(20)}${fix}\n`);
        }
      return checks.some(({ status }) => status === "fail") ? 1 : 0;
    },
  }),

  verb({
    name: "setup-link",
    summary: "print a link, good once and for an hour, that makes the first administrator",
    async run({ io, json, config }) {
      const url = await withOperator({ io, config }, ({ knex }) =>
        issueSetupLink(knex, config(), new Date()),
      );
      if (json) printJson(io, { setup_url: url, expires_in: 3600 });
      else io.out(`${url}\n`);
    },
  }),
];
