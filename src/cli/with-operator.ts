import { createLogger } from "../lib/log.ts";
import type { Logger } from "../lib/log.ts";
import type { Io } from "./io.ts";
import { openOperator, type Operator } from "./operator.ts";
import type { Call } from "./verb.ts";

/** Opens what verbs need, does the work, and closes it again whatever happens. */
export async function withOperator<T>(
  call: Pick<Call, "config" | "io">,
  work: (operator: Operator) => Promise<T>,
): Promise<T> {
  const operator = await openOperator(call.config(), cliLog(call.io));
  try {
    return await work(operator);
  } finally {
    await operator.close();
  }
}

/** The log of the command line: what goes wrong, beside the output and not in it. */
export function cliLog(io: Io): Logger {
  return createLogger({ level: "warn", destination: { write: (line) => io.err(line) } });
}
