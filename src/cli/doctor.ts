import { ConfigError, readConfig, type Config } from "../config.ts";
import { checkDatabase } from "./doctor-database.ts";
import { checkDiscovery } from "./doctor-discovery.ts";
import { checkMail } from "./doctor-mail.ts";
import { checkTls } from "./doctor-tls.ts";
import type { Io } from "./io.ts";
import { cliLog } from "./with-operator.ts";

/** What one look at the installation found, and what to do about it. */
export interface Check {
  readonly name: string;
  readonly status: "ok" | "warn" | "fail";
  readonly message: string;
  readonly fix?: string;
}

/**
 * Looks at everything that must be right before people can sign in. It changes nothing, and goes on after a failure as
 * far as that makes sense, so that one run says it all.
 */
export async function examine(io: Io): Promise<Check[]> {
  let config: Config;
  try {
    config = readConfig(io.environment);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((problem) => ({
      name: "settings",
      status: "fail",
      message: problem,
    }));
  }
  const settings = `${config.mode}, issuer ${config.issuer}`;
  return [
    { name: "settings", status: "ok", message: settings },
    ...(await checkDatabase(config, cliLog(io))),
    await checkMail(config),
    ...checkTls(config, new Date()),
    ...(await checkDiscovery(config)),
  ];
}
