import type { ConnectionNeeds } from "../federation/connections.ts";
import { createSafeFetch } from "../lib/fetch.ts";
import { createLogger, type Logger } from "../lib/log.ts";
import type { Call } from "./verb.ts";
import { withOperator } from "./with-operator.ts";

/** What identity providers may take to answer an operator, who waits. */
const PATIENCE = 10_000;

/** What refused requests are: an answer of the verb, and no line of the log beside it. */
const SILENT = createLogger({ level: "silent" });

/** Opens what verbs need that speak to identity providers, and closes it again. */
export async function withConnections<T>(
  call: Pick<Call, "config" | "io">,
  work: (needs: ConnectionNeeds & { log: Logger }) => Promise<T>,
): Promise<T> {
  const { issuers, mode, trustedOrigins } = call.config();
  const isOpen = mode !== "production";
  const fetch = createSafeFetch({
    allowLoopback: isOpen,
    allowHttp: isOpen,
    trustedOrigins,
    totalMs: PATIENCE,
    log: SILENT,
  });
  return withOperator(call, async ({ knex, seal }) =>
    work({ knex, seal: await seal(), fetch, issuers, log: SILENT }),
  );
}
