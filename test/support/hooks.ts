import { fileURLToPath } from "node:url";
import type { RootHookObject } from "mocha";

import { withLeanEngine } from "../../src/oidc/engine-source.ts";
import { startTestPostgres, stopTestPostgres } from "./database.ts";

// mocha swallows what nobody waited for; a test that left such a thing behind has failed.
process.on("unhandledRejection", (reason) => {
  throw reason;
});

// As `lintel start` loads it.
await withLeanEngine(() => import("oidc-provider"));

/** What the engine printed: something was left to its defaults, or is about to change. */
const attentions: unknown[] = [];
for (const level of ["info", "warn", "error"] as const) {
  const print = console[level].bind(console);
  console[level] = (...words: unknown[]) => {
    if (/oidc-provider (NOTICE|WARNING)/.test(words.join(" "))) attentions.push(words);
    print(...words);
  };
}

/** Where Node keeps what it made of our TypeScript, for all the processes of a run. */
const COMPILED = fileURLToPath(
  new URL("../../node_modules/.cache/lintel-compiled", import.meta.url),
);

/** For `mocha --require test/support/hooks.ts`: what the whole run ends with. */
export const mochaHooks: RootHookObject = {
  afterEach() {
    const said = attentions.splice(0);
    if (said.length > 0) throw new Error(`the engine asks for attention: ${said.join("; ")}`);
  },
};

/** Files that run side by side share a server: the processes that mocha starts for them are told of this one's. */
export async function mochaGlobalSetup(): Promise<void> {
  if (!process.argv.includes("--parallel")) return;
  const { url } = await startTestPostgres();
  process.env["TEST_DATABASE_URL"] = url;
  process.env["NODE_COMPILE_CACHE"] ??= COMPILED;
}

/** After what the files themselves do last: hooks outside every `describe` come after those above. */
export async function mochaGlobalTeardown(): Promise<void> {
  await stopTestPostgres();
}
