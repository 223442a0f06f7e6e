import { getClient } from "../clients/clients.ts";
import { isUuid } from "../lib/uuid.ts";
import { LogoutNotice } from "../models/logout-notice.ts";
import { printJson, printTable } from "./io.ts";
import { PAGING, printNext, readPaging } from "./paging.ts";
import { UsageError, verb, type Verb } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** `lintel logout-notice …`: what clients were told of sessions that ended (OIDC Back-Channel Logout). */
export const LOGOUT_VERBS: readonly Verb[] = [
  verb({
    name: "logout-notice list",
    summary:
      "list what a client was told of sessions that ended in the last 30 days, the latest first",
    words: ["client_id"],
    options: PAGING,
    async run({ io, values, words: [clientId = ""], json, config }) {
      const { after, limit } = readPaging(values, "logout-notice list");
      if (after !== undefined && !isUuid(after))
        throw new UsageError("--after must be the id of a notice.", "logout-notice list");
      const rows = await withOperator({ io, config }, async ({ knex }) => {
        const client = await getClient(knex, clientId);
        const page = LogoutNotice.query(knex)
          .where({ clientId: client.id })
          // Identifiers grow with time (RFC 9562 §5.7).
          .orderBy("id", "desc")
          .limit(limit);
        return after === undefined ? page : page.where("id", "<", after);
      });
      const shown = rows.map((row) => ({
        id: row.id,
        created_at: row.createdAt.toISOString(),
        sid: row.sid,
        status: row.status,
        attempts: row.attempts,
        delivered_at: row.deliveredAt?.toISOString() ?? null,
        last_error: row.lastError,
      }));
      if (json) return printJson(io, shown);
      printTable(
        io,
        ["id", "created", "status", "attempts", "error"],
        shown.map((row) => [
          row.id,
          row.created_at,
          row.status,
          String(row.attempts),
          row.last_error ?? "",
        ]),
      );
      return printNext(io, `logout-notice list ${clientId}`, shown.at(-1)?.id, shown.length, limit);
    },
  }),
];
