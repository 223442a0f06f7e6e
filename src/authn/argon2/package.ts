import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { directoryOf, INSTRUCTION_SETS, processorFlags } from "./build.mjs";

type Argon2 = typeof import("argon2");

const require = createRequire(import.meta.url);

/** What `node-gyp-build`, by which the package finds its binary, takes for the place to look at first. */
const PLACE = "ARGON2_PREBUILD";

/** The `argon2` package, with the fastest of its builds that are here and that this processor can run. */
export const argon2 = load();

function load(): Argon2 {
  const flags = processorFlags();
  const set = INSTRUCTION_SETS.find((each) => flags.has(each) && existsSync(directoryOf(each)));
  if (set === undefined || process.env[PLACE] !== undefined) return require("argon2") as Argon2;
  process.env[PLACE] = directoryOf(set);
  try {
    return require("argon2") as Argon2;
  } catch {
    // Built for another C library, perhaps, where node_modules was copied.
  } finally {
    delete process.env[PLACE];
  }
  return require("argon2") as Argon2;
}
