import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { directoryOf, INSTRUCTION_SETS, processorFlags } from "./build.mjs";

type Argon2 = typeof import("argon2");

const require = createRequire(import.meta.url);

/** What `node-gyp-build`, by which the package finds its binary, takes for the place to look at first. */
const PLACE = "ARGON2_PREBUILD";

/** What comes of the example of RFC 9106 §5.3. */
const TAG = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";

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

/**
 * Computes the example of RFC 9106 §5.3, so that no build serves that computes anything else.
 *
 * @throws Error where it does not come out.
 */
export async function assertRight(): Promise<void> {
  const bytes = (count: number, value: number) => Buffer.alloc(count, value);
  const tag = await argon2.hash(bytes(32, 1), {
    type: argon2.argon2id,
    memoryCost: 32,
    timeCost: 3,
    parallelism: 4,
    salt: bytes(16, 2),
    secret: bytes(8, 3),
    associatedData: bytes(12, 4),
    raw: true,
  });
  if (tag.toString("hex") !== TAG) throw new Error("argon2 computes something else here");
}
