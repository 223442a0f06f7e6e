import { readFileSync } from "node:fs";
import { runCommand } from "./cli/run.ts";
import { startVerb } from "./cli/start-verb.ts";
import { withLeanEngine } from "./oidc/engine-source.ts";

/** The command line, `lintel`: one process for one verb. */
const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
const { version } = JSON.parse(manifest) as { version: string };

const args = process.argv.slice(2);
// The server's code is loaded by the verbs that need it, and by no other. Nor has a server the code of the other verbs.
const server = {
  run: async (environment: NodeJS.ProcessEnv, workers?: number) =>
    (await withLeanEngine(() => import("./main.ts"))).run({ ...environment }, workers),
};
const verbs =
  args[0] === "start"
    ? [startVerb(server)]
    : (await import("./cli/verbs.ts")).allVerbs({
        ...server,
        migrateJobs: async (url, log) => (await import("./jobs/worker.ts")).migrateJobs(url, log),
      });

// Whoever reads what is printed may have seen enough, as `head` has.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

process.exitCode = await runCommand(verbs, version, args, {
  environment: process.env,
  stdin: process.stdin,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
