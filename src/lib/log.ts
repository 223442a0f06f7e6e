import { pino, type DestinationStream } from "pino";
import type { Logger } from "pino";

export type { Logger };

/** What never reaches the log, whatever object it is part of (security rule 20). */
const REDACTED = [
  "password",
  "secret",
  "token",
  "code",
  "cookie",
  "authorization",
  "email",
  "client_secret",
  "refresh_token",
  "access_token",
  "id_token",
  "code_verifier",
].flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);

/** A JSON logger, one object a line. Messages are constants; what varies goes into the object. */
export function createLogger(options: { level: string; destination?: DestinationStream }): Logger {
  const settings = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: REDACTED, censor: "[redacted]" },
  };
  return pino(settings, options.destination ?? standardOutput());
}

/** Lines are written together: when there are many, and else a moment later. The end of the process writes the rest. */
function standardOutput(): DestinationStream {
  return pino.destination({ sync: false, minLength: 4096, periodicFlush: 50 });
}
