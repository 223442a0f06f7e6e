import { startEmbeddedPostgres } from "../../src/database/embedded.ts";
import { createLogger } from "../../src/lib/log.ts";

/** A process that uses an embedded server until it is killed: `node hold-embedded.ts <dataDir>` prints the URL. */
const { url } = await startEmbeddedPostgres({
  dataDir: process.argv[2] ?? "",
  log: createLogger({ level: "silent" }),
});
process.stdout.write(`${url}\n`);
